"""Day by day, what the log asks for against what is stored; and row by row where a day differs."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from licmeter.runtime.audit.books import DayBooks, Group, Sums
from licmeter.runtime.audit.differing import RowComparison
from licmeter.runtime.audit.log import Span
from licmeter.runtime.audit.messages import message_rows
from licmeter.runtime.audit.recount import PartitionRecount
from licmeter.runtime.audit.report import Difference, OrganizationAudit
from licmeter.runtime.audit.scene import Scene
from licmeter.runtime.audit.tables import BREACHES, MESSAGES, TABLES, Row, Table
from licmeter.schemas.topics import LICENSE_ALERTS, USAGE_ATTRIBUTED, USAGE_EVENTS, USAGE_REJECTED

__all__ = ["Again", "Comparison", "compare_whole", "day_word", "entry_of", "note_beyond"]

_EPOCH: Final = date(1970, 1, 1)
#: By table: the topic that the sink writes it from. What is on a topic is not behind.
_SOURCES: Final = {
    "usage_attributed": USAGE_ATTRIBUTED.name,
    "authorizations": USAGE_ATTRIBUTED.name,
    "usage_rejected": USAGE_REJECTED.name,
    "breaches": LICENSE_ALERTS.name,
}

#: Reads a partition again, and gives the rows of the log to a comparison.
Again = Callable[[Span, RowComparison], Awaitable[None]]
_Sums = dict[Group, Sums]


def day_word(day: int) -> str:
    """Return a day since 1970 as a date."""
    try:
        return (_EPOCH + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day}"


def entry_of(scene: Scene, name: str) -> OrganizationAudit:
    """Return the entry to which an organization's findings go: its own if the log knows it."""
    if scene.only is not None:
        return scene.report.of(scene.only)
    return scene.report.of(name if name in scene.homes else "")


async def compare_whole(scene: Scene, books: DayBooks) -> None:
    """Compare the partitions of which the log is whole."""
    comparison = Comparison(scene, scene.whole, books, _count_again(scene))
    for table in TABLES:
        comparison.compare(table, *scene.stored.sums(table, scene.sql_cuts(scene.whole), scene.key))
    found = DayBooks(scene.key, cut=0)
    async for row in message_rows(scene, first=True):
        found.add(MESSAGES, row, 0)
    comparison.compare(MESSAGES, found.settled, {})
    await comparison.compare_rows()


def _count_again(scene: Scene) -> Again:
    async def again(span: Span, rows: RowComparison) -> None:
        recount = PartitionRecount(span.partition, span.count, rows, scene.cuts[span.partition], scene.only)
        try:
            async for record in scene.records(span, "reading row by row"):
                recount.count(record)
        finally:
            recount.close()

    return again


@dataclass(slots=True)
class Comparison:
    """Of some partitions: their books, and how to read them again where sums differ.

    `suspects` are the tables with groups that differ, and what is stored of them.
    """

    scene: Scene
    spans: Sequence[Span]
    books: DayBooks
    again: Again
    suspects: list[tuple[Table, list[Group], _Sums]] = field(default_factory=list)

    def compare(self, table: Table, settled: _Sums, opened: _Sums) -> None:
        """Compare a table's groups with what is stored; those that differ are suspect."""
        suspects = []
        for group in sorted({*self.books.groups(table), *settled, *opened}):
            if not table.in_log and self.scene.tails and group[1] not in self.scene.homes:
                continue  # of a partition whose head is gone, where breaches cannot be counted again
            wanted, later = self.books.settled.get(group), self.books.open.get(group)
            found, found_later = settled.get(group), opened.get(group)
            if wanted is not None:
                entry = entry_of(self.scene, group[1])
                entry.days += 1
                entry.rows += wanted.figures[0]
            if table.in_log:
                same = found == wanted and found_later in (None, later)
            else:
                # A breach does not say of which offset it is, so some open ones may be among the stored.
                same = found == wanted or (later is not None and found == later.plus(wanted))
            if not same:
                suspects.append(group)
        if suspects:
            self.suspects.append((table, suspects, settled))

    async def compare_rows(self) -> None:
        """Read the partitions of the suspect groups a second time, and take single rows this time."""
        groups = [group for _, found, _ in self.suspects for group in found]
        if not groups:
            return
        rows, partitions = RowComparison(groups), {self._home(group[1]) for group in groups}
        self.scene.again()
        try:
            for span in self.spans:
                if span.partition in partitions or None in partitions:
                    rows.begin_partition(self.scene.cuts[span.partition])
                    await self.again(span, rows)
            for table, suspects, settled in self.suspects:
                if table is MESSAGES:
                    async for row in message_rows(self.scene, first=False):
                        rows.add_found(table, [row])
                for group in suspects:
                    if table is not MESSAGES:
                        rows.add_found(table, self._stored_rows(table, group))
                    self._note(table, rows, group, self.books.settled.get(group), settled.get(group))
        finally:
            rows.close()

    def _home(self, name: str) -> int | None:
        """Return the partition of a group; None = any: what names no organization counts wherever it stands."""
        return int(name[1:]) if name.startswith("#") else self.scene.homes.get(name)

    def _stored_rows(self, table: Table, group: Group) -> Iterator[Row]:
        """Yield the stored rows of a group, without breaches of records that came after the audit began."""
        home, last_ms = self.scene.homes.get(group[1]), self.scene.last_ms
        for row in self.scene.stored.rows(table, group, self.scene.sql_cuts(self.spans)):
            if table is not BREACHES or home is None or row[2] <= last_ms.get(home, 0):
                yield row

    def _note(self, table: Table, rows: RowComparison, group: Group, wanted: Sums | None, found: Sums | None) -> None:
        where = "license.alerts" if table is MESSAGES else "ClickHouse"
        behind, day = _SOURCES.get(table.name) in self.scene.behind, day_word(group[2])
        headed = False
        for owner, difference, count in rows.differences(table, group, where=where, day=day, behind=behind):
            entry = entry_of(self.scene, owner or group[1])
            if not headed:
                headed = True
                figures = _figures(table, group, wanted, found)
                entry.note(Difference(table.name, figures, "", day, difference.pending), 0)
            entry.note(difference, count)


def _figures(table: Table, group: Group, wanted: Sums | None, found: Sums | None) -> str:
    """Say the figures of a day that differ; rows alone may, too."""
    zeros = [0] * len(table.sums)
    pairs = zip(table.sums, found.figures if found else zeros, wanted.figures if wanted else zeros, strict=True)
    told = [f"{name} {mine:,} ≠ {theirs:,} of the log" for (name, _), mine, theirs in pairs if mine != theirs]
    name = f"partition {group[1][1:]}" if group[1].startswith("#") else f"organization {group[1]}"
    return f"{name}: {', '.join(told) or 'equal sums of rows that differ'}"


async def note_beyond(scene: Scene) -> None:
    """Note stored rows of offsets that the log has not reached: nobody can have counted them."""
    ends = {number: span.end for number, span in (await scene.log.spans(USAGE_EVENTS.name)).items()}
    for table in TABLES:
        if not table.in_log:
            continue
        for row in scene.stored.beyond(table, ends, scene.only):
            owner = row[table.columns.index("organization_id")]
            what = f"in ClickHouse, at an offset that the log has not reached (organization {owner})"
            place = f"{row[0]}:{row[1]}"
            entry_of(scene, owner).note(Difference(table.name, what, place, day_word(table.day(row))))
