"""The devices: what is always the same in their reports, and what they keep for later."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from licmeter.producers.simulation.documents import project_id
from licmeter.producers.simulation.kinds import Kind
from licmeter.producers.simulation.wire import Counts, device_middle, device_tail, zero_counts
from licmeter.producers.simulation.world import scenario as plan
from licmeter.producers.simulation.world.accounts import SLOT_S, Caller
from licmeter.producers.simulation.world.load import counts_deck

__all__ = ["Device", "Group", "Stored", "build_groups", "new_identity"]

#: A skewed clock is off by this much, in either direction; the bound is a day, and a run takes less than another.
_SKEW_S: Final = 3 * 86_400


class Stored(NamedTuple):
    """A report that a device keeps: its number, its slot as the device sees it, and its counts."""

    number: int
    slot_s: int
    counts: Counts


@dataclass(slots=True)
class Group:
    """Devices of one sort; `project_id` None = they name the organization only."""

    organization_id: str
    key: bytes
    project_id: str | None
    plan: plan.DeviceGroup
    deck: list[Counts]
    zeros: list[Counts]
    devices: list["Device"] = field(default_factory=list)


@dataclass(slots=True)
class Device:
    """One installation. `fault` is set when its clock is so wrong that nothing it sends is accepted."""

    group: Group
    caller: Caller
    middle: bytes
    tails: tuple[bytes, bytes]
    clock_s: int = 0  # how far its clock is ahead
    fault: Kind | None = None
    offline: bool = False
    active_s: int | None = None
    #: Reports that were not sent, and sent ones whose answer was lost.
    spool: list[Stored] = field(default_factory=list)
    unanswered: list[Stored] = field(default_factory=list)

    def slot_of(self, slot_s: int) -> int:
        """Return the slot that its clock shows in the middle of a slot."""
        shown = slot_s + SLOT_S // 2 + self.clock_s
        return shown - shown % SLOT_S


def new_identity(random: Random, device: Device) -> None:
    """Give a device a client UUID of its own."""
    client_uuid = str(UUID(int=random.getrandbits(128), version=4))
    _identify(device, client_uuid)


def _identify(device: Device, client_uuid: str) -> None:
    group, caller = device.group, device.caller
    device.caller = Caller(client_uuid, caller.traits, caller.host, caller.instances)
    only = group.organization_id if group.project_id is None else None
    device.middle = device_middle(client_uuid, project_id=group.project_id, organization_id=only)


def build_groups(scenario: plan.WorldScenario, random: Random, *, now_s: int, ahead_s: int) -> Iterator[Group]:
    """Make all devices; `ahead_s` is how far the clocks of those are off that report from the future."""
    for organization in scenario.organizations:
        name = organization.organization_id
        for each in organization.devices:
            named = None if each.names_organization_only else project_id(name, each.project)
            zeros = zero_counts(tuple(each.features))
            group = Group(name, name.encode(), named, each, counts_deck(random, each), zeros)
            for _ in range(each.count):
                group.devices.append(_build(group, scenario, random, now_s=now_s, ahead_s=ahead_s))
            _clone(group.devices, scenario.clone_share, random)
            yield group


def _build(group: Group, scenario: plan.WorldScenario, random: Random, *, now_s: int, ahead_s: int) -> Device:
    each = group.plan
    traits = (each.product, each.version, each.edition, each.deployment_type)
    host = random.choice(each.hosts) if each.hosts else None
    caller = Caller("", traits, host, None if each.instances is None else random.randint(*each.instances))
    clock_s, fault = _clock(scenario.clocks, random, ahead_s)
    fields: dict[str, Any] = dict(zip(("product", "version", "edition", "deployment_type"), traits, strict=True))
    fields["instances"] = caller.instances
    fields["validation"] = None if host is None else {"kind": "domain", "value": host}
    # Reports are made for past slots, and sent now: so `sent_at` is now, on the device's clock.
    sent_s = None if fault is Kind.FUTURE_SLOT else now_s + clock_s
    tails = device_tail(fields, sent_s, 1), device_tail(fields, sent_s, 2)
    if fault is Kind.WRONG_CLOCK:
        clock_s = 0  # its slots are right, so that only one check can refuse them
    device = Device(group, caller, b"", tails, clock_s, fault)
    new_identity(random, device)
    return device


def _clock(clocks: plan.Clocks, random: Random, ahead_s: int) -> tuple[int, Kind | None]:
    drawn = random.random()
    if drawn < clocks.off_share:
        return random.choice((-1, 1)) * random.randint(1, clocks.off_seconds_max), None
    drawn -= clocks.off_share
    if drawn < clocks.skewed_share:
        return random.choice((-_SKEW_S, _SKEW_S)), Kind.WRONG_CLOCK
    return (ahead_s, Kind.FUTURE_SLOT) if drawn - clocks.skewed_share < clocks.ahead_share else (0, None)


def _clone(devices: Sequence[Device], share: float, random: Random) -> None:
    """Let some devices have the UUID of another one of their group: an image that was restored twice."""
    originals = [device for device in devices if random.random() >= share or device.fault is not None]
    if not originals:
        return
    kept = set(map(id, originals))
    for device in devices:
        if id(device) not in kept:
            _identify(device, random.choice(originals).caller.client_uuid)
