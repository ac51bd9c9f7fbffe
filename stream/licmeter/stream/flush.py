"""The flush protocol: how a batch becomes durable so that a crash anywhere counts nothing twice and loses nothing.

1. Outputs are sent, and the broker has them. A crash from here on repeats them, byte for byte.
2. Facts (documents, accepted reports, seats, notices, slots) are written. They count only once a fence covers them.
3. The organizations' records are written: each is its fence and its counters in one, so each organization goes
   from "nothing of this batch" to "all of this batch" in one step.
4. Documents and facts that no record refers to any more are deleted.
5. The record of NOBODY is written, on its own and last: it is the fence of whatever belongs to no known
   organization, also of a catalog that makes an organization known. Before the organization itself is durable it
   must not cover that catalog.
6. The caller confirms the offset.

Before each write the caller's `still_mine` is asked. A worker that stalls behind the answer and writes late
does no harm: what it writes is what the new owner writes for the same events, under keys of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from licmeter.metering.organization import NOBODY, OrganizationState
from licmeter.schemas import topics
from licmeter.stream.batch import BatchResult
from licmeter.stream.errors import FlushAbandonedError
from licmeter.stream.outputs import Outputs, output_records
from licmeter.stream.partition import PartitionState
from licmeter.stream.segments import encode_segment, segment_key
from licmeter.stream.store import CATALOGS, FACTS, ORGANIZATIONS, SEEN, SLOTS, Change, record_key, record_prefix

__all__ = ["flush"]


async def flush(result: BatchResult, state: PartitionState, outputs: Outputs, still_mine: Callable[[], bool]) -> None:
    """Make a batch durable; raises `FlushAbandonedError` when the partition was taken away."""
    # What waits for the broker side by side waits once; nothing within a step depends on the rest of it.
    sent = output_records(result, topics.USAGE_EVENTS.name)
    await _all(outputs.send(topic, state.partition, records) for topic, records in sent)
    for step in _steps(result, state):
        writes = [(table, changes) for table, changes in step() if changes]
        if writes and not still_mine():
            raise FlushAbandonedError(f"partition {state.partition}, offsets up to {result.last_offset}")
        await _all(state.store.write(table, changes) for table, changes in writes)
    state.written(result.touched.values())


async def _all(waiting: Iterable[Awaitable[None]]) -> None:
    """Return when all have ended; raises the first error, and only then, so that nothing goes on behind it."""
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        if outcome is not None:
            raise outcome


Step = Callable[[], Iterable[tuple[str, list[Change]]]]


def _steps(result: BatchResult, state: PartitionState) -> list[Step]:
    """Return what is written, in this order; each step is computed when those before it are durable."""
    known = [organization for organization in result.touched.values() if organization.organization_id != NOBODY]
    nobody = [organization for organization in result.touched.values() if organization.organization_id == NOBODY]
    return [
        lambda: [
            (CATALOGS, _catalogs(result)),
            (SEEN, _segments(result)),
            (FACTS, _facts(result, state)),
            (SLOTS, state.slots.changes(result.touched, result.last_offset)),
        ],
        lambda: [(ORGANIZATIONS, _organizations(known, state))],
        lambda: [(CATALOGS, _superseded_catalogs(result, state))],
        lambda: [(ORGANIZATIONS, _organizations(nobody, state))],
        lambda: [(FACTS, _superseded_facts(result, state))],
    ]


def _facts(result: BatchResult, state: PartitionState) -> list[Change]:
    return [
        change
        for name, organization in result.touched.items()
        for change in state.facts(name).changes(organization, result.last_offset)
    ]


def _superseded_facts(result: BatchResult, state: PartitionState) -> list[Change]:
    return [
        change
        for name in result.touched
        if (log := state.facts(name)).base_offset >= 0
        for change in log.superseded(name, (key for key, _ in state.store.items(FACTS, record_prefix(name))))
    ]


def _catalogs(result: BatchResult) -> list[Change]:
    return [(record_key(*place), document) for place, document in result.documents.items()]


def _superseded_catalogs(result: BatchResult, state: PartitionState) -> list[Change]:
    changes: list[Change] = []
    for organization_id in dict.fromkeys(name for name, _ in result.documents):
        current = record_key(organization_id, result.touched[organization_id].catalog_offset or 0)
        known = {key for key, _ in state.store.items(CATALOGS, record_prefix(organization_id))}
        known |= {record_key(*place) for place in result.documents if place[0] == organization_id}
        changes += [(key, None) for key in sorted(known) if key < current]
    return changes


def _segments(result: BatchResult) -> list[Change]:
    segments = {day: encode_segment(groups) for day, groups in result.accepted.items()}
    return [
        (segment_key(day, result.first_offset, result.last_offset, segment), segment)
        for day, segment in segments.items()
    ]


def _organizations(organizations: list[OrganizationState], state: PartitionState) -> list[Change]:
    """Write the new records, then delete the ones they replace: never the other way round."""
    changes: list[Change] = []
    for organization in organizations:
        key = record_key(organization.organization_id, organization.applied_offset)
        changes.append((key, organization.to_bytes()))
        changes += [(old, None) for old in state.superseded(organization.organization_id) if old != key]
    return changes
