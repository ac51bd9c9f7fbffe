"""A partition whose head is gone: the log is kept for 35 days, and the counters go back to the beginning.

So the absolute counters cannot be counted again. What can be held against what:

- every record that is still there against its rows: it must have become something, and what its rows say of it must
  be what it says (client, report, slot, units by feature); refusals that need no state must be the same ones;
- the counters against the sums of all rows, which are kept for 400 days.

What cannot be told: whether an item was the right one, and whether a report from before the head was counted at all.
"""

from collections.abc import Iterator
from typing import Any, Final

from licmeter.metering.authorization import Authorization
from licmeter.metering.decoding import CatalogChange, decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.runtime.audit.books import DayBooks
from licmeter.runtime.audit.claims import Claim
from licmeter.runtime.audit.comparing import Comparison, entry_of
from licmeter.runtime.audit.differing import RowComparison
from licmeter.runtime.audit.log import Span
from licmeter.runtime.audit.recount import Books
from licmeter.runtime.audit.report import Difference
from licmeter.runtime.audit.row_sums import compare_sums
from licmeter.runtime.audit.scene import Scene
from licmeter.runtime.audit.tail_tables import (
    AUTHORIZATIONS_TAIL,
    REJECTED_TAIL,
    TAILS,
    USAGE_TAIL,
    rejected_tail,
    request_tail,
    usage_tail,
)
from licmeter.schemas.outcomes import RejectReason

__all__ = ["compare_tail"]

#: Refusals that rest on what was there before.
_OF_STATE: Final = frozenset({RejectReason.UNKNOWN_PROJECT, RejectReason.PROJECT_DISABLED, RejectReason.CONFLICT})
_VERDICTS: Final = """
SELECT offset, kind FROM (
    SELECT organization_id, source_offset AS offset, toString(outcome) AS kind FROM usage_attributed
    WHERE source_partition = {partition:Int64} AND line = 0
    UNION ALL
    SELECT organization_id, source_offset, concat('request ', outcome) FROM authorizations
    WHERE source_partition = {partition:Int64}
    UNION ALL
    SELECT organization_id, source_offset, concat('rejected ', reason) FROM usage_rejected
    WHERE source_partition = {partition:Int64} AND source_topic = 'usage.events'
) WHERE toInt64(offset) >= {begin:Int64} AND toInt64(offset) < {end:Int64}
  AND ({only:String} = '' OR organization_id = {only:String})
ORDER BY offset
"""


async def compare_tail(scene: Scene, span: Span, claims: list[Claim]) -> None:
    """Compare what is comparable, and say so."""
    scene.report.notes.append(
        f"partition {span.partition}: the log begins at offset {span.begin:,}, so counters cannot be counted again "
        "from nothing. Compared are its records one by one with their rows, and the counters with the sums of all rows."
    )
    for claim in claims:
        if claim.counters.organization_id:
            scene.homes[claim.counters.organization_id] = span.partition
    books = DayBooks(scene.key, cut=scene.cuts[span.partition])
    await _Tail(scene, span, books, noting=True).read("reading the log")
    scene.report.partitions.append(
        {
            "partition": span.partition,
            "first_offset": span.begin,
            "end_offset": span.end,
            "counted_to": scene.cuts[span.partition],
            "uncounted": max(0, span.end - 1 - scene.cuts[span.partition]),
            "states_of_later_offsets": 0,
        }
    )

    async def again(_: Span, rows: RowComparison) -> None:
        await _Tail(scene, span, rows, noting=False).read("reading row by row")

    comparison = Comparison(scene, [span], books, again)
    for table in TAILS:
        comparison.compare(table, *scene.stored.sums(table, scene.sql_cuts([span]), scene.key))
    await comparison.compare_rows()
    scene.report.rows += books.rows
    compare_sums(scene, span, claims)


class _Tail:
    """Reads the records of a tail beside what became of them, both in the order of offsets."""

    def __init__(self, scene: Scene, span: Span, books: Books, *, noting: bool) -> None:
        self._scene = scene
        self._span = span
        self._books = books
        self._noting = noting
        self._cut = scene.cuts[span.partition]
        parameters = {"partition": span.partition, "begin": span.begin, "end": span.end, "only": scene.only or ""}
        self._verdicts: Iterator[Any] = scene.stored.stream(_VERDICTS, parameters)
        self._next: Any = next(self._verdicts, None)

    async def read(self, what: str) -> None:
        """Give the rows that the records ask for to the books; note records without rows, and rows without records."""
        async for record in self._scene.records(self._span, what):
            kinds = self._kinds(record.offset)
            name = key_organization(record.key)
            if self._scene.only in (None, name):
                self._record(record, name, kinds)
        self._kinds(self._span.end)

    def _kinds(self, offset: int) -> list[str]:
        """Return what became of the record at an offset; those before it, that no record has, are noted."""
        while self._next is not None and self._next[0] < offset:
            self._note(None, "in ClickHouse, not in the log", self._next[0], pending=False)
            self._next = next(self._verdicts, None)
        kinds = []
        while self._next is not None and self._next[0] == offset:
            kinds.append(self._next[1])
            self._next = next(self._verdicts, None)
        return kinds

    def _note(self, name: str | None, what: str, offset: int, *, pending: bool) -> None:
        if self._noting:
            place = f"{self._span.partition}:{offset}"
            entry_of(self._scene, name or "").note(Difference("ClickHouse", what, place, pending=pending))

    def _record(self, record: Any, name: str | None, kinds: list[str]) -> None:
        event = decode(record.key, record.value, record.timestamp, DEFAULT_LIMITS)
        if isinstance(event, CatalogChange):
            if kinds:
                self._note(name, f"a catalog change has a row: {', '.join(kinds)}", record.offset, pending=False)
            return
        settled = record.offset <= self._cut
        if self._noting:
            self._tally(name, settled=settled)
        if not kinds:
            if settled:
                self._note(name, "no row says what became of it", record.offset, pending=bool(self._scene.behind))
            return
        kind, wanted = kinds[0], _wanted(event)
        if len(kinds) > 1 or not kind.startswith(wanted):
            found = ", ".join(kinds)
            self._note(name, f"it is stored as {found} ≠ {' or '.join(wanted)}", record.offset, pending=False)
            return
        place = (self._span.partition, record.offset)
        if kind.startswith("rejected "):
            self._books.add(REJECTED_TAIL, rejected_tail(record, name), record.offset)
        elif isinstance(event, Report):
            for row in usage_tail(event, place, again=kind == "duplicate"):
                self._books.add(USAGE_TAIL, row, record.offset)
        elif isinstance(event, Authorization):
            self._books.add(AUTHORIZATIONS_TAIL, request_tail(event, place), record.offset)

    def _tally(self, name: str | None, *, settled: bool) -> None:
        entry = entry_of(self._scene, name or "")
        entry.whole, entry.records = False, entry.records + 1
        entry.partition = self._span.partition if entry.organization_id else None
        entry.uncounted += not settled


def _wanted(event: Report | Authorization | Refused) -> tuple[str, ...]:
    """Return how what became of an event may begin."""
    if isinstance(event, Refused):
        return (f"rejected {event.reason.value}",)
    refused = tuple(f"rejected {reason.value}" for reason in sorted(_OF_STATE))
    answers = ("request ",) if isinstance(event, Authorization) else ("charged", "uncharged", "duplicate")
    return answers + refused
