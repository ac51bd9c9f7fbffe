"""One batch of records: what goes out, and what must be written for it. No IO, no clock.

Everything here is a function of the records and of the state at their offsets, so the same records give the
same rows again, whatever batch they come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import AuthDecision, meter_authorization
from licmeter.metering.breaches import BreachFact
from licmeter.metering.decoding import CatalogChange, Event, decode, key_organization
from licmeter.metering.limits import Limits
from licmeter.metering.meter import count_refused, meter_report
from licmeter.metering.organization import OrganizationState
from licmeter.metering.report import Report
from licmeter.metering.slots import is_late
from licmeter.schemas.outcomes import AuthOutcome, Outcome, RejectReason
from licmeter.schemas.seat_rows import EXPIRES_MS_MAX
from licmeter.schemas.verdicts import Verdict
from licmeter.stream.partition import PartitionState
from licmeter.stream.verdicts import verdict_of

__all__ = ["BatchResult", "InputRecord", "Reject", "process_batch"]

_DAY_MS: Final = 86_400_000

SeatIdentity = tuple[str, str, str, int, str]  # organization, item, client, first contact, project


class InputRecord(NamedTuple):
    """A record of `usage.events`; `received_ms` is the broker's clock."""

    offset: int
    received_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Reject(NamedTuple):
    """A record that goes to the rejects, and why."""

    record: InputRecord
    reason: RejectReason
    detail: str


@dataclass(slots=True)
class BatchResult:
    """What a batch leads to.

    `rows` have the columns of `schemas.attribution`, `authorizations` those of `schemas.authorization_rows`. `seats`
    have the identity of `schemas.seat_rows`, and then since, last contact and end.
    """

    partition: int
    first_offset: int
    last_offset: int
    skipped: int = 0
    rows: list[tuple[object, ...]] = field(default_factory=list)
    authorizations: list[tuple[object, ...]] = field(default_factory=list)
    seats: dict[SeatIdentity, tuple[int, int, int]] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    breaches: list[BreachFact] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    touched: dict[str, OrganizationState] = field(default_factory=dict)
    touched_items: dict[str, set[str]] = field(default_factory=dict)
    documents: dict[tuple[str, int], bytes] = field(default_factory=dict)
    accepted: dict[int, dict[str, bytearray]] = field(default_factory=dict)  # day, organization: packed entries
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


def process_batch(records: Sequence[InputRecord], state: PartitionState, limits: Limits) -> BatchResult:
    """Compute a batch. `state` is changed; it is in the store only after the flush."""
    result = BatchResult(state.partition, records[0].offset, records[-1].offset)
    events: list[tuple[InputRecord, Event, OrganizationState]] = []
    identities: list[bytes] = []
    for record in records:
        # Decoding is most of the work, so what is surely behind the fence is left out first.
        owner = _owner(record, state)
        if record.offset <= owner.applied_offset:
            result.skipped += 1
            continue
        event = decode(record.key, record.value, record.received_ms, limits)
        if isinstance(event, (Report, Authorization)):
            identities.append(event.identity())
        events.append((record, event, owner))
    state.seen.prefetch(identities)
    for record, event, owner in events:
        # A catalog earlier in this batch may have made the organization known.
        _apply(record, event, _owner(record, state) if result.documents else owner, state, result)
    for organization in result.touched.values():
        organization.applied_offset = result.last_offset
    return result


def _owner(record: InputRecord, state: PartitionState) -> OrganizationState:
    """Return who counts a record: its organization, if a catalog had named it before, else nobody."""
    organization_id = key_organization(record.key)
    known = state.organization(organization_id) if organization_id else None
    if known is None or record.offset < known.created_offset:
        return state.nobody()
    return known


def _apply(
    record: InputRecord, event: Event, owner: OrganizationState, state: PartitionState, result: BatchResult
) -> None:
    if isinstance(event, CatalogChange):
        _apply_catalog(record, event, state, result)
        return
    result.touched[owner.organization_id] = owner
    if isinstance(event, Report):
        _apply_report(record, event, owner, state, result)
    elif isinstance(event, Authorization):
        _apply_authorization(record, event, owner, state, result)
    else:
        _reject(record, event.reason, event.detail, result)
        result.breaches += count_refused(
            owner,
            record.received_ms,
            reason=event.reason,
            organization_id=key_organization(record.key) or "",
            client_uuid=event.client_uuid,
            project_id=event.project_id,
            late=event.late,
        )


def _apply_report(
    record: InputRecord, report: Report, owner: OrganizationState, state: PartitionState, result: BatchResult
) -> None:
    decision = meter_report(report, owner, state.seen, state.slots)
    if owner.contacts:
        _note_seats(owner, result)
    if decision.breaches:
        result.breaches += decision.breaches
    if decision.reason is not None:
        _reject(record, decision.reason, decision.detail, result)
        return
    outcome, organization_id = decision.outcome, owner.organization_id
    result.outcomes[outcome] += 1
    if outcome is not Outcome.DUPLICATE:
        _remember(record, report, organization_id, result)
    items = result.touched_items.get(organization_id)
    if items is None:
        items = result.touched_items[organization_id] = set()
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    for number, line in enumerate(decision.lines):
        if line.item_id:
            items.add(line.item_id)
        result.rows.append(
            (
                organization_id,
                decision.project_id,
                line.item_id,
                report.client_uuid,
                report.report_id,
                report.slot_s,
                line.feature,
                outcome,
                report.usage_kind,
                line.quantity,
                line.in_quota,
                line.in_grace,
                line.over,
                line.tier,
                line.exceptions,
                report.instances or 1,  # I3: nothing declared is one
                late,
                line.in_expiry_grace,
                report.received_ms,
                state.partition,
                record.offset,
                number,
            )
        )


def _remember(record: InputRecord, event: Report | Authorization, organization_id: str, result: BatchResult) -> None:
    """Put an accepted event into the segments of the duplicate memory."""
    day = record.received_ms // _DAY_MS
    by_organization = result.accepted.get(day)
    if by_organization is None:
        by_organization = result.accepted[day] = {}
    entries = by_organization.get(organization_id)
    if entries is None:
        entries = by_organization[organization_id] = bytearray()
    entries += event.identity()
    entries += event.content()


def _apply_authorization(
    record: InputRecord, request: Authorization, owner: OrganizationState, state: PartitionState, result: BatchResult
) -> None:
    decision = meter_authorization(request, owner, state.seen, state.slots)
    if owner.contacts:
        _note_seats(owner, result)
    result.breaches += decision.breaches
    result.verdicts.append(verdict_of(request, decision, state.partition, record.offset))
    if decision.reason is not None:
        _reject(record, decision.reason, decision.detail, result)
        return
    if decision.outcome is not AuthOutcome.DUPLICATE:
        _remember(record, request, owner.organization_id, result)
    if decision.item_id:
        result.touched_items.setdefault(owner.organization_id, set()).add(decision.item_id)
    result.authorizations.append(_authorization_row(request, decision, state.partition, record.offset))


def _authorization_row(
    request: Authorization, decision: AuthDecision, partition: int, offset: int
) -> tuple[object, ...]:
    data = request.data
    return (
        request.organization_id,
        decision.project_id,
        decision.item_id,
        request.client_uuid,
        request.auth_id,
        request.at_ms,
        decision.outcome,
        decision.code or "",
        decision.code.number if decision.code else 0,
        decision.agrees,
        data.charge_way,
        data.feature or "",
        data.product or "",
        data.version or "",
        data.edition or "",
        data.deployment_type or "",
        data.requested_instances,
        decision.local_expires_ms or 0,
        request.received_ms,
        partition,
        offset,
    )


def _note_seats(owner: OrganizationState, result: BatchResult) -> None:
    """Note the seats that an event was a contact with, before a later one of the batch can replace them."""
    for item_id, client_uuid, project_id, at_ms in owner.contacts:
        seat = owner.seats[item_id].seats.get(client_uuid)
        if seat is None:
            continue  # it ended so long before other contacts of the item that it was forgotten already
        identity = (owner.organization_id, item_id, client_uuid, seat.first_ms, project_id)
        # An authorization's clock may be behind that of the contact which took the seat.
        since_ms, end_ms = max(at_ms, seat.first_ms), min(seat.expires_ms, EXPIRES_MS_MAX)
        known = result.seats.get(identity)
        if known is not None:
            result.seats[identity] = (min(known[0], since_ms), max(known[1], at_ms), end_ms)
        else:
            result.seats[identity] = (since_ms, max(at_ms, seat.first_ms), end_ms)
    owner.contacts.clear()


def _apply_catalog(record: InputRecord, change: CatalogChange, state: PartitionState, result: BatchResult) -> None:
    document = change.document
    organization_id = document.organization_id
    owner = state.organization(organization_id) or state.create(organization_id, record.offset)
    owner.adopt(document, record.offset)
    owner.updated_ms = record.received_ms
    result.touched[organization_id] = owner
    result.touched_items.setdefault(organization_id, set()).update(document.items)
    result.documents[organization_id, record.offset] = document.model_dump_json(exclude_defaults=True).encode()


def _reject(record: InputRecord, reason: RejectReason, detail: str, result: BatchResult) -> None:
    result.outcomes[Outcome.REJECTED] += 1
    result.rejects.append(Reject(record, reason, detail))
