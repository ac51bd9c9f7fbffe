"""One batch of records: what goes out, and what must be written for it. No IO, no clock.

Everything here is a function of the records and of the state at their offsets, so the same records give the
same rows again, whatever batch they come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from licmeter.metering.decoding import CatalogChange, Event, Refused, decode, key_organization
from licmeter.metering.limits import Limits
from licmeter.metering.meter import count_refused, meter_report
from licmeter.metering.organization import OrganizationState
from licmeter.metering.report import Report
from licmeter.metering.slots import is_late
from licmeter.schemas.outcomes import Outcome, RejectReason
from licmeter.stream.partition import PartitionState

__all__ = ["BatchResult", "InputRecord", "Reject", "process_batch"]

_DAY_MS: Final = 86_400_000


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
    """What a batch leads to. `rows` have the columns of `schemas.attribution`."""

    partition: int
    first_offset: int
    last_offset: int
    skipped: int = 0
    rows: list[tuple[object, ...]] = field(default_factory=list)
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
        if isinstance(event, Report):
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
    else:
        _reject(record, event, result)
        count_refused(owner, record.received_ms)


def _apply_report(
    record: InputRecord, report: Report, owner: OrganizationState, state: PartitionState, result: BatchResult
) -> None:
    decision = meter_report(report, owner, state.seen)
    if decision.reason is not None:
        _reject(record, Refused(decision.reason, decision.detail), result)
        return
    result.outcomes[decision.outcome] += 1
    if decision.outcome is not Outcome.DUPLICATE:
        day = record.received_ms // _DAY_MS
        entries = result.accepted.setdefault(day, {}).setdefault(owner.organization_id, bytearray())
        entries += report.identity()
        entries += report.content()
        items = result.touched_items.setdefault(owner.organization_id, set())
        items.update(line.item_id for line in decision.lines if line.item_id)
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    for number, line in enumerate(decision.lines):
        result.rows.append(
            (
                owner.organization_id,
                decision.project_id,
                line.item_id,
                report.client_uuid,
                report.report_id,
                report.slot_s,
                line.feature,
                decision.outcome.value,
                report.usage_kind,
                line.quantity,
                line.in_quota,
                line.in_grace,
                line.over,
                report.instances or 1,  # I3: nothing declared is one
                late,
                line.in_expiry_grace,
                report.received_ms,
                state.partition,
                record.offset,
                number,
            )
        )


def _apply_catalog(record: InputRecord, change: CatalogChange, state: PartitionState, result: BatchResult) -> None:
    document = change.document
    organization_id = document.organization_id
    owner = state.organization(organization_id) or state.create(organization_id, record.offset)
    owner.adopt(document, record.offset)
    owner.updated_ms = record.received_ms
    result.touched[organization_id] = owner
    result.touched_items.setdefault(organization_id, set()).update(document.items)
    result.documents[organization_id, record.offset] = document.model_dump_json(exclude_defaults=True).encode()


def _reject(record: InputRecord, refused: Refused, result: BatchResult) -> None:
    result.outcomes[Outcome.REJECTED] += 1
    result.rejects.append(Reject(record, refused.reason, refused.detail))
