"""An audit from beginning to end: what was counted when it began, the log again, and what differs."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from licmeter.metering.organization import NOBODY
from licmeter.runtime.audit.books import DayBooks
from licmeter.runtime.audit.claims import CLICKHOUSE, TOPIC, Claim, Claims, Counters, by_partition, key_of, stale
from licmeter.runtime.audit.comparing import compare_whole, entry_of, note_beyond
from licmeter.runtime.audit.log import Log, Span
from licmeter.runtime.audit.recount import PartitionRecount
from licmeter.runtime.audit.report import AuditReport, Difference
from licmeter.runtime.audit.scene import OnProgress, Scene, read_counters, set_scene
from licmeter.runtime.audit.stored import Stored
from licmeter.runtime.audit.tail import compare_tail
from licmeter.schemas.topics import LICENSE_COUNTERS, USAGE_EVENTS

__all__ = ["audit"]

_POLL_S: Final = 0.5
#: How long states may take that were on their way when the audit began.
IN_FLIGHT_S: Final = 10.0


async def audit(
    log: Log, stored: Stored, *, key: bytes, only: str | None, wait_s: float, on_progress: OnProgress
) -> AuditReport:
    """Audit everything, or one organization; wait `wait_s` at most for a sink that is behind.

    `key` makes the digests of this audit: new each time, and printable. Raises `ServiceError` when Kafka or ClickHouse
    do not do their part.
    """
    began = time.monotonic()
    scene = Scene(log, stored, key, only, on_progress)
    await set_scene(scene, wait_s)
    in_tables = stored.counters(only)
    claims = by_partition(scene.published.values(), in_tables)
    books = DayBooks(key)
    for span in scene.whole:
        await _recount(scene, span, books, claims.pop(span.partition, []), {key_of(each): each for each in in_tables})
    await compare_whole(scene, books)
    for span in scene.tails:
        await compare_tail(scene, span, claims.pop(span.partition, []))
    for number, unread in sorted(claims.items()):
        for claim in unread:
            what = f"the state is of partition {number}, which {USAGE_EVENTS.name} does not have"
            entry_of(scene, claim.counters.organization_id).note(Difference(claim.where, what))
    await note_beyond(scene)
    report = scene.report
    report.records = sum(span.count for span in scene.spans.values())
    report.rows += books.rows
    report.seconds = time.monotonic() - began
    return report


async def _recount(
    scene: Scene, span: Span, books: DayBooks, waiting: list[Claim], in_tables: Mapping[tuple[str, str, int], Counters]
) -> None:
    """Count a partition, and hold the published states against the recount as it passes their offsets."""
    cut = books.cut = scene.cuts[span.partition]
    recount = PartitionRecount(span.partition, span.count, books, cut, scene.only)
    claims = Claims(scene.report, waiting)
    try:
        async for record in scene.records(span, "counting the log again"):
            if claims.next_offset is not None and claims.next_offset < record.offset:
                claims.judge(recount, record.offset)
            recount.count(record)
        books.end_partition()
        # A state that was published since the log was measured says more than was read; the next audit judges it.
        later = await _later(scene, span, claims)
        claims.judge(recount, None)
        scene.homes |= {name: span.partition for name in recount.tallies if name}
        _sum_up(scene, span, recount, later)
        await _note_stale(scene, recount, in_tables)
    finally:
        recount.close()


async def _later(scene: Scene, span: Span, claims: Claims) -> int:
    """Set aside states beyond what was read; those beyond the log's present end are of no log."""
    end = (await scene.log.spans(USAGE_EVENTS.name))[span.partition].end
    later = [claim for claim in claims.waiting if claim.counters.applied_offset >= span.end]
    claims.waiting = [claim for claim in claims.waiting if claim.counters.applied_offset < span.end]
    for claim in later:
        if claim.counters.applied_offset >= end:
            what = f"the state includes offset {claim.counters.applied_offset}, and the log ends before {end}"
            scene.report.of(claim.counters.organization_id).note(Difference(claim.where, what))
    return len(later)


def _sum_up(scene: Scene, span: Span, recount: PartitionRecount, later: int) -> None:
    uncounted = 0
    for name, tally in recount.tallies.items():
        entry = scene.report.of(name)
        entry.partition = span.partition if name else None
        entry.records += tally.records
        entry.uncounted += tally.records - tally.settled
        uncounted += tally.records - tally.settled
        state = recount.organizations[name]
        for outcome, count in (*state.outcomes.items(), ("granted", state.granted), ("refused", state.refused)):
            word = str(outcome)
            entry.outcomes[word] = entry.outcomes.get(word, 0) + count
    scene.report.partitions.append(
        {
            "partition": span.partition,
            "first_offset": span.begin,
            "end_offset": span.end,
            "counted_to": recount.cut,
            "uncounted": uncounted,
            "states_of_later_offsets": later,
        }
    )


async def _note_stale(
    scene: Scene, recount: PartitionRecount, in_tables: Mapping[tuple[str, str, int], Counters]
) -> None:
    """Note states that were not published though the worker had counted further, once those on their way are there."""
    published, deadline = scene.published, time.monotonic() + IN_FLIGHT_S
    found = list(stale(recount, published))
    while found and time.monotonic() < deadline:
        published = await read_counters(scene.log, scene.only, AuditReport())
        found = list(stale(recount, published))
        if found:
            await asyncio.sleep(_POLL_S)
    for name, item_id, how in found:
        entry_of(scene, name).note(Difference(TOPIC, how, f"item {item_id}" if item_id else "the organization"))
    silent = {(name, item_id) for name, item_id, _ in found}
    for name, item_id, how in stale(recount, in_tables):
        if (name, item_id) not in silent and _was_published(scene, recount, name, item_id):
            pending = LICENSE_COUNTERS.name in scene.behind
            place = (f"item {item_id}" if item_id else "the organization") if name != NOBODY else "nobody known"
            entry_of(scene, name).note(Difference(CLICKHOUSE, how, place, pending=pending))


def _was_published(scene: Scene, recount: PartitionRecount, name: str, item_id: str) -> bool:
    """Tell whether a state was on the topic when the sink was waited for."""
    key = (name, item_id, -1 if name else recount.partition)
    counters = scene.published.get(key)
    return counters is not None and counters.applied_offset >= recount.tallies[name].touched[item_id]
