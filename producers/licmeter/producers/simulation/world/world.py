"""A world of devices over some hours or days that end now, slot by slot; and its books.

A generator: it holds the devices, what they have stored, and the slots for which stored reports are still to come.
What is drawn depends on seed, scenario, run name and `now` alone. Slots lie in the past, and all of it is sent now, so
that the broker's clock decides nothing: see `docs/simulate.md`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from licmeter.producers.simulation.invalid import InvalidRecords
from licmeter.producers.simulation.kinds import REJECT_REASONS, Kind
from licmeter.producers.simulation.wire import DATA, HEAD, instant_bytes
from licmeter.producers.simulation.world import scenario as plan
from licmeter.producers.simulation.world.accounts import SLOT_S
from licmeter.producers.simulation.world.bad import BadClients, conflicting_counts
from licmeter.producers.simulation.world.devices import Device, Stored, build_groups, new_identity
from licmeter.producers.simulation.world.documents import world_document
from licmeter.producers.simulation.world.incidents import Incidents
from licmeter.producers.simulation.world.ledger import WorldLedger
from licmeter.producers.simulation.world.load import chosen, load_factor
from licmeter.producers.simulation.world.records import PASSABLE, Transport, What, WorldRecord
from licmeter.schemas.authorizations import authorization
from licmeter.schemas.catalog import LicenseKey, Organization, catalog_event
from licmeter.schemas.outcomes import Outcome, RejectReason
from licmeter.schemas.reports import encode_event

__all__ = ["AUTHORIZATION_AGE_S", "RUN_S_MAX", "World"]

_DAY_S: Final = 86_400
#: Requests are made online, and refused when they are a day old (decision 8, G2). Starts before this are without one.
AUTHORIZATION_AGE_S: Final = 12 * 3_600
#: How long sending may take: with the age of requests less than the shortest period of activity, a day.
RUN_S_MAX: Final = 8 * 3_600
#: Clocks are off by 240 s at most, so reports of a slot come from the one before to the one after it.
_SETTLED_SLOTS: Final = 2
_RUN_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")


class World:
    """A scenario on its way. `records` may be taken once; `ledger` has booked whatever was taken."""

    def __init__(
        self,
        scenario: plan.WorldScenario,
        *,
        now: datetime,
        run: str,
        seed: int | None = None,
        transport: Transport = Transport.KAFKA,
        catalogs: bool = True,
        license_keys: Mapping[str, LicenseKey] | None = None,
    ) -> None:
        """Prepare the devices; raises `ValueError` for a naive `now` or a name that an id cannot hold.

        `catalogs`: license documents are sent, too, and changed on the way; otherwise they are in force already.
        """
        if now.utcoffset() is None:
            raise ValueError("now must name its zone")
        if not _RUN_NAME.fullmatch(run):
            raise ValueError(f"a run's name has 1 to 40 letters, digits, dots, dashes: {run!r}")
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.run = run
        now_s = int(now.timestamp())
        self.end_s = now_s - now_s % SLOT_S
        self.slots = max(1, round(scenario.duration_hours * 3_600) // SLOT_S)
        self.begin_s = self.end_s - self.slots * SLOT_S
        self.slots_done = 0
        self.starts_unasked = 0
        self.reports_lost = 0
        self.ledger = WorldLedger(self.end_s)
        self._random = random = Random(f"{self.seed}/{run}")  # noqa: S311 - a simulation must be repeatable
        self._run = run.encode()
        self.now = datetime.fromtimestamp(now_s, UTC)
        self._catalogs = catalogs
        self._keys = license_keys or {}
        ahead_s = self.slots * SLOT_S + 2 * _DAY_S
        self._groups = list(build_groups(scenario, random, now_s=now_s, ahead_s=ahead_s))
        self._curves = {each.organization_id: each.load or scenario.load for each in scenario.organizations}
        self._incidents = Incidents(scenario, random)
        names = tuple(self._curves)
        self._bad = BadClients(
            scenario.bad_clients,
            InvalidRecords(random, now_s=now_s, slot_s=self.end_s, organizations=names),
            random,
            passable=PASSABLE[transport],
            large_bytes=scenario.large_payload_bytes,
        )
        self._slot_texts: dict[int, bytes] = {}
        self._awaited: dict[int, dict[str, int]] = {}
        self._settled_s = self.begin_s - _DAY_S
        self._number = 0
        self._quotas: dict[str, dict[str, int | None]] = {name: {} for name in self._curves}
        self._changes = sorted(
            ((self.end_s - round(change.hours_ago * 3_600), each, change) for each, change in _changes(scenario)),
            key=lambda entry: entry[0],
            reverse=True,
        )

    @property
    def devices(self) -> Counter[str]:
        """How many devices each organization has."""
        devices = Counter[str]()
        for group in self._groups:
            devices[group.organization_id] += len(group.devices)
        return devices

    @property
    def left_out(self) -> tuple[Kind, ...]:
        """The kinds of bad records that cannot travel this way."""
        return self._bad.left_out

    @property
    def unsent(self) -> int:
        """Reports that are still stored on devices, which are offline to the end."""
        return sum(len(device.spool) for group in self._groups for device in group.devices)

    def documents(self) -> list[Organization]:
        """Return the license documents as they are at the beginning."""
        return [self._document(each) for each in self.scenario.organizations]

    def records(self, limit: int | None = None) -> Iterator[WorldRecord]:
        """Yield the catalogs, then what the devices send; at most `limit` records beside the catalogs."""
        sent, count = self.ledger.sent, 0
        for record in self._all():
            if record.what is not What.CATALOG:
                sent[record.organization_id] += 1
                count += 1
            yield record
            if count == limit:
                return

    def _all(self) -> Iterator[WorldRecord]:
        for organization in self.scenario.organizations:
            yield from self._catalog(organization, self.begin_s)
        for slot in range(self.slots):
            yield from self._in_slot(slot, self.begin_s + slot * SLOT_S)
            self.slots_done = slot + 1

    def _in_slot(self, slot: int, slot_s: int) -> Iterator[WorldRecord]:
        incidents = self._incidents
        if slot == 0 or slot_s % _DAY_S == 0:
            incidents.plan_day(slot, self._groups)
        while self._catalogs and self._changes and self._changes[-1][0] <= slot_s:
            _, organization, change = self._changes.pop()
            self._quotas[organization.organization_id][change.item_id] = change.quota
            yield from self._catalog(organization, slot_s)
        for device in incidents.reinstalled(slot):
            self._reinstall(device)
        incidents.lost(slot)
        for device in incidents.returned(slot):
            yield from self._start(device, slot_s)
        loads = {name: load_factor(curve, slot_s) for name, curve in self._curves.items()}
        for group in self._groups:
            share = group.plan.busy_share * loads[group.organization_id]
            for device in chosen(self._random, group.devices, share):
                yield from self._work(device, slot_s)
        self._settled_s = slot_s - _SETTLED_SLOTS * SLOT_S
        self.ledger.settle(self._settled_s, self._awaited.get(self._settled_s, ()))

    def _work(self, device: Device, slot_s: int) -> Iterator[WorldRecord]:
        """Let a device do something in a slot, and report it, or keep the report."""
        random, scenario, group = self._random, self.scenario, device.group
        contact = scenario.contact_share > 0 and random.random() < scenario.contact_share
        choices = group.zeros if contact else group.deck
        report = Stored(self._next(), device.slot_of(slot_s), choices[int(random.random() * len(choices))])
        if device.offline:
            self._store(device, report)
            return
        gap_s = scenario.authorizations.session_gap_minutes * 60
        if device.active_s is None or slot_s - device.active_s > gap_s:
            yield from self._start(device, slot_s)
        device.active_s = slot_s
        kind = Kind.ZERO if contact else Kind.MULTI_FEATURE if len(report.counts.by_feature) > 1 else Kind.FRESH
        sent = self._send(device, report, kind, slot_s)
        yield sent
        if sent.expected is not Outcome.REJECTED:
            yield from self._repeat(device, report, slot_s)
        bad = self._bad.draw()
        if bad is not None:
            yield self._spoil(device, bad, report, sent, slot_s)

    def _start(self, device: Device, slot_s: int) -> Iterator[WorldRecord]:
        """Initialize: ask for leave, and send what is left from earlier sessions (L2)."""
        device.active_s = slot_s
        if self.scenario.authorizations.enabled:
            if slot_s >= self.end_s - AUTHORIZATION_AGE_S:
                yield self._ask(device, slot_s)
            else:
                self.starts_unasked += 1
        spool, device.spool = device.spool, []
        for report in spool:
            self._release(device, report)
            yield self._send(device, report, Kind.LATE, slot_s, again=True)
            self._forget(report.slot_s)
        unanswered, device.unanswered = device.unanswered, []
        for report in unanswered:
            yield self._duplicate(device, report, slot_s)

    def _repeat(self, device: Device, report: Stored, slot_s: int) -> Iterator[WorldRecord]:
        repeats = self.scenario.repeats
        if repeats.resubmitted_share and self._random.random() < repeats.resubmitted_share:
            yield self._duplicate(device, report, slot_s)
        if repeats.lost_answer_share and self._random.random() < repeats.lost_answer_share:
            device.unanswered.append(report)

    def _send(self, device: Device, report: Stored, kind: Kind, slot_s: int, *, again: bool = False) -> WorldRecord:
        group, ledger = device.group, self.ledger
        if device.fault is None:
            counts = report.counts.by_feature
            outcome, reason = ledger.report(
                group.organization_id, group.project_id, device.caller, report.slot_s, counts
            )
        else:
            kind, outcome, reason = device.fault, Outcome.REJECTED, REJECT_REASONS[device.fault]
            ledger.refuse(group.organization_id, reason)
        ledger.kinds[kind] += 1
        value = self._value(device, report, report.counts.encoded, device.tails[again])
        return WorldRecord(group.key, value, group.organization_id, slot_s + SLOT_S, What.REPORT, kind, outcome, reason)

    def _duplicate(self, device: Device, report: Stored, slot_s: int) -> WorldRecord:
        name = device.group.organization_id
        self.ledger.repeat(name)
        self.ledger.kinds[Kind.DUPLICATE] += 1
        value = self._value(device, report, report.counts.encoded, device.tails[1])
        kind, outcome = Kind.DUPLICATE, Outcome.DUPLICATE
        return WorldRecord(device.group.key, value, name, slot_s + SLOT_S, What.REPORT, kind, outcome)

    def _spoil(self, device: Device, kind: Kind, report: Stored, sent: WorldRecord, slot_s: int) -> WorldRecord:
        """Send a bad record after a good one; what contradicts it needs one that was accepted."""
        if kind is Kind.CONFLICT and sent.expected is Outcome.REJECTED:
            kind = Kind.UNKNOWN_PROJECT
        key, owner = sent.key, sent.organization_id
        if kind is Kind.CONFLICT:
            value: bytes | None = self._value(device, report, conflicting_counts(device), device.tails[1])
        else:
            report_id = b"%b-%x" % (self._run, self._next())
            key, value, owner = self._bad.make(kind, device, report_id, self._slot_text(report.slot_s))
        reason = REJECT_REASONS[kind]
        self.ledger.refuse(owner, reason)
        self.ledger.kinds[kind] += 1
        return WorldRecord(key, value, owner, slot_s + SLOT_S, What.REPORT, kind, Outcome.REJECTED, reason)

    def _ask(self, device: Device, slot_s: int) -> WorldRecord:
        """Ask for leave to run, at some instant of the slot on the device's clock."""
        group, caller = device.group, device.caller
        at_s = slot_s + int(self._random.random() * SLOT_S) + (device.clock_s if device.fault is None else 3 * _DAY_S)
        names = ("product", "version", "edition", "deployment_type")
        data: dict[str, Any] = {name: trait for name, trait in zip(names, caller.traits, strict=True) if trait}
        if caller.instances is not None:
            data["requested_instances"] = caller.instances
        if caller.host is not None:
            data["validation"] = {"kind": "domain", "value": caller.host}
        event = authorization(
            auth_id=f"{self.run}-a{self._next():x}",
            client_uuid=caller.client_uuid,
            at=datetime.fromtimestamp(at_s, UTC),
            project_id=group.project_id,
            organization_id=group.organization_id if group.project_id is None else None,
            **data,
        )
        record = WorldRecord(group.key, encode_event(event), group.organization_id, slot_s, What.AUTHORIZATION)
        if device.fault is not None:
            self.ledger.refuse(group.organization_id, RejectReason.CLOCK_SKEW)
            return record._replace(expected=Outcome.REJECTED, reason=RejectReason.CLOCK_SKEW)
        granted = self.ledger.request(group.organization_id, group.project_id, caller, at_s)
        return record._replace(granted=granted)

    def _reinstall(self, device: Device) -> None:
        """Lose what was stored, and come back as another device (V8)."""
        for report in device.spool:
            self._release(device, report)
            self._forget(report.slot_s)
        self.reports_lost += len(device.spool)
        device.spool, device.unanswered, device.active_s = [], [], None
        new_identity(self._random, device)

    def _store(self, device: Device, report: Stored) -> None:
        device.spool.append(report)
        waiting = self._awaited.setdefault(report.slot_s, {})
        client = device.caller.client_uuid
        waiting[client] = waiting.get(client, 0) + 1

    def _release(self, device: Device, report: Stored) -> None:
        """Expect a stored report no longer: it is about to be sent, or lost."""
        waiting, client = self._awaited[report.slot_s], device.caller.client_uuid
        if waiting[client] > 1:
            waiting[client] -= 1
        else:
            del waiting[client]

    def _forget(self, slot_s: int) -> None:
        """Let the books forget a slot for which nothing more is to come."""
        if not self._awaited[slot_s]:
            del self._awaited[slot_s]
            if slot_s <= self._settled_s:
                self.ledger.settle(slot_s, ())

    def _value(self, device: Device, report: Stored, counts: bytes, tail: bytes) -> bytes:
        report_id = b"%b-%x" % (self._run, report.number)
        return b"".join((HEAD, report_id, device.middle, self._slot_text(report.slot_s), DATA, counts, tail))

    def _slot_text(self, slot_s: int) -> bytes:
        text = self._slot_texts.get(slot_s)
        if text is None:
            text = self._slot_texts[slot_s] = instant_bytes(slot_s)
        return text

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _catalog(self, organization: plan.Organization, at_s: int) -> Iterator[WorldRecord]:
        document = self._document(organization)
        self.ledger.adopt(document)
        if self._catalogs:
            event_id = f"{self.run}-c{self.ledger.catalogs}"
            event = catalog_event(document, event_id=event_id, source="licmeter simulate", time=self.now)
            name = organization.organization_id
            yield WorldRecord(name.encode(), encode_event(event), name, at_s, What.CATALOG)

    def _document(self, organization: plan.Organization) -> Organization:
        name = organization.organization_id
        return world_document(organization, self.end_s, quotas=self._quotas[name], license_key=self._keys.get(name))


def _changes(scenario: plan.WorldScenario) -> Iterator[tuple[plan.Organization, plan.CatalogChange]]:
    for organization in scenario.organizations:
        for change in organization.changes:
            yield organization, change
