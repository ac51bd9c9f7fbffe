"""The fleet: devices that send a scenario's records, one after the other, and book each of them.

A generator, so that two million records need no more memory than two thousand. What is drawn depends on the
seed, the run's name, the scenario and `now`, and on nothing else.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

from licmeter.producers.simulation.documents import changed_plan, organization_document, project_id
from licmeter.producers.simulation.invalid import InvalidRecords, Model
from licmeter.producers.simulation.kinds import ACCEPTED_KINDS, REJECT_REASONS, Kind
from licmeter.producers.simulation.ledger import Ledger
from licmeter.producers.simulation.scenario import DECK, OrganizationPlan, Scenario
from licmeter.producers.simulation.sites import Device, Site
from licmeter.producers.simulation.wire import DATA, HEAD, Counts, device_middle, instant_bytes, report_tail
from licmeter.schemas.catalog import catalog_event
from licmeter.schemas.outcomes import Outcome, RejectReason
from licmeter.schemas.reports import encode_event

__all__ = ["Emission", "Fleet"]

_SLOT_S: Final = 180
_SLOTS_A_DAY: Final = 480
#: Late reports: past the closing of the slot, and a day within the 30 days that are accepted.
_LATE_SLOTS_MIN: Final = 20
_LATE_SLOTS_MAX: Final = 29 * _SLOTS_A_DAY
#: Accepted reports held for repetition: some from far back, as each new one takes the place of any other.
_POOL: Final = 4_096
#: One in this many accepted reports goes into the pool.
_POOL_EVERY: Final = 4
#: The counts of a conflicting report; no good report counts that much.
_CONFLICTING_UNITS: Final = 9_999
#: A name that leaves room for a number within the 64 characters of an id, and needs no escape.
_RUN_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")


class Emission(NamedTuple):
    """A record in its place. `organization_id` is where it counts: "" for what names no known organization.

    `expected` is None for a catalog, which is no report and does not count as sent.
    """

    key: bytes | None
    value: bytes | None
    organization_id: str
    expected: Outcome | None
    reason: RejectReason | None = None


class _Accepted(NamedTuple):
    """What is kept of a report for sending it again: all up to its counts, and the counts."""

    device: Device
    head: bytes
    counts: bytes


class Fleet:
    """A scenario on its way. `emissions` may be taken once; `ledger` has booked whatever was taken."""

    def __init__(self, scenario: Scenario, *, now: datetime, seed: int, run: str) -> None:
        """Prepare the devices; raises `ValueError` for a naive `now` or a name that an id cannot hold."""
        if now.utcoffset() is None:
            raise ValueError("now must name its zone")
        if not _RUN_NAME.fullmatch(run):
            raise ValueError(f"a run's name has 1 to 40 letters, digits, dots, dashes: {run!r}")
        self.scenario = scenario
        self.ledger = Ledger()
        self._now = now.astimezone(UTC)
        self._run = run.encode()
        now_s = int(self._now.timestamp())
        slot_s = now_s - now_s % _SLOT_S
        self._random = Random(f"{seed}/{run}")  # noqa: S311 - a simulation must be repeatable
        self._slot = instant_bytes(slot_s)
        self._earlier_slot = instant_bytes(slot_s - _SLOT_S)
        self._late_slots = [
            instant_bytes(slot_s - back * _SLOT_S) for back in range(_LATE_SLOTS_MIN, _LATE_SLOTS_MAX + 1)
        ]
        self._tail, self._tail_again = report_tail(now_s, 1), report_tail(now_s, 2)
        self._sites = {plan.organization_id: Site.of(plan) for plan in scenario.organizations}
        self._devices = [device for plan in scenario.organizations for device in self._make_devices(plan)]
        self._invalid = InvalidRecords(self._random, now_s=now_s, slot_s=slot_s, organizations=tuple(self._sites))
        self._pool: list[_Accepted] = []
        self._accepted = 0

    def emissions(self) -> Iterator[Emission]:
        """Yield the catalogs, then the records in sending order."""
        for plan in self.scenario.organizations:
            yield self._catalog(plan)
        change = self.scenario.catalog_change
        change_at = -1 if change is None else change.before_report
        for number, kind in enumerate(self._kinds()):
            if number == change_at:
                yield self._changed_catalog()
            emission = self._make(kind, number)
            self.ledger.sent[emission.organization_id] += 1
            yield emission

    def _kinds(self) -> Iterator[Kind]:
        """Deal the kinds: every thousand records have their exact shares, in random order."""
        scenario = self.scenario
        deck = [kind for kind, share in scenario.mix.items() for _ in range(share)]
        deck += [Kind.FRESH] * (DECK - len(deck))
        large = {
            (2 * n + 1) * scenario.reports // (2 * scenario.large_payloads) for n in range(scenario.large_payloads)
        }
        for number in range(scenario.reports):
            place = number % DECK
            if place == 0:
                self._random.shuffle(deck)
            yield Kind.LARGE if number in large else deck[place]

    def _make(self, kind: Kind, number: int) -> Emission:
        if kind in ACCEPTED_KINDS:
            return self._report(kind, number)
        if kind is Kind.DUPLICATE or kind is Kind.CONFLICT:
            # Nothing to repeat yet: only among the first few records.
            return self._repetition(kind) if self._pool else self._report(Kind.FRESH, number)
        return self._refused(kind, number)

    def _report(self, kind: Kind, number: int) -> Emission:
        device = self._any_device()
        site = device.site
        if site.paused(self.ledger):
            kind = Kind.ZERO
        counts = self._counts(kind, site)
        head = b"".join((HEAD, b"%b-%x" % (self._run, number), device.middle, self._slot_of(kind), DATA))
        outcome = self.ledger.accept(site.organization_id, device.project_id, counts.by_feature)
        self.ledger.kinds[kind] += 1
        self._accepted += 1
        if self._accepted % _POOL_EVERY == 1:
            self._remember(_Accepted(device, head, counts.encoded))
        return Emission(site.key, head + counts.encoded + self._tail, site.organization_id, outcome)

    def _counts(self, kind: Kind, site: Site) -> Counts:
        if kind is Kind.ZERO:
            choices = site.zeros
        elif kind is Kind.MULTI_FEATURE:
            choices = site.multiples
        else:
            choices = site.singles
        return choices[int(self._random.random() * len(choices))]

    def _slot_of(self, kind: Kind) -> bytes:
        if kind is Kind.LATE:
            return self._late_slots[int(self._random.random() * len(self._late_slots))]
        return self._earlier_slot if kind is Kind.OUT_OF_ORDER else self._slot

    def _remember(self, accepted: _Accepted) -> None:
        if len(self._pool) < _POOL:
            self._pool.append(accepted)
        else:
            self._pool[int(self._random.random() * _POOL)] = accepted

    def _repetition(self, kind: Kind) -> Emission:
        device, head, counts = self._random.choice(self._pool)
        site = device.site
        self.ledger.kinds[kind] += 1
        if kind is Kind.DUPLICATE:
            self.ledger.repeat(site.organization_id)
            return Emission(site.key, head + counts + self._tail_again, site.organization_id, Outcome.DUPLICATE)
        other = b'{"%b":%d}' % (site.features[0].encode(), _CONFLICTING_UNITS)
        reason = REJECT_REASONS[kind]
        self.ledger.refuse(site.organization_id, reason)
        return Emission(site.key, head + other + self._tail_again, site.organization_id, Outcome.REJECTED, reason)

    def _refused(self, kind: Kind, number: int) -> Emission:
        device = self._any_device()
        site = device.site
        model = Model(
            organization_id=site.organization_id,
            client_uuid=device.client_uuid,
            report_id=b"%b-%x" % (self._run, number),
            middle=device.middle,
            slot=self._slot,
            feature=self._random.choice(site.features),
        )
        if kind is Kind.LARGE:
            record = self._invalid.large(model, self.scenario.large_payload_bytes)
        else:
            record = self._invalid.make(kind, model)
        reason = REJECT_REASONS[kind]
        self.ledger.kinds[kind] += 1
        self.ledger.refuse(record.owner, reason)
        return Emission(record.key, record.value, record.owner, Outcome.REJECTED, reason)

    def _any_device(self) -> Device:
        return self._devices[int(self._random.random() * len(self._devices))]

    def _make_devices(self, plan: OrganizationPlan) -> Iterator[Device]:
        site = self._sites[plan.organization_id]
        for number in range(plan.devices):
            project = plan.projects[number % len(plan.projects)]
            client_uuid = str(UUID(int=self._random.getrandbits(128), version=4))
            project_name = project_id(plan.organization_id, project.name)
            middle = device_middle(
                client_uuid,
                project_id=None if project.as_default else project_name,
                organization_id=plan.organization_id if project.as_default else None,
            )
            yield Device(site, project_name, client_uuid, middle)

    def _catalog(self, plan: OrganizationPlan) -> Emission:
        document = organization_document(plan, self._now)
        self.ledger.adopt(document)
        event_id = f"{self._run.decode()}-c{self.ledger.catalogs}"
        event = catalog_event(document, event_id=event_id, source="licmeter-simulation", time=self._now)
        return Emission(plan.organization_id.encode(), encode_event(event), plan.organization_id, None)

    def _changed_catalog(self) -> Emission:
        change = self.scenario.catalog_change
        assert change is not None
        plan = next(p for p in self.scenario.organizations if p.organization_id == change.organization_id)
        return self._catalog(changed_plan(plan, change))
