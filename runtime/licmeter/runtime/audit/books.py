"""The rows of the log summed up by table, organization and day: small enough for memory, exact enough to find a change.

Every group has two sums: of what was surely counted when the audit began (`settled`), and of what came after (`open`),
which may be stored or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from licmeter.runtime.audit.tables import BREACHES, Row, Table
from licmeter.runtime.errors import UsageError
from licmeter.schemas.outcomes import BreachKind

__all__ = ["GROUPS_MAX", "DayBooks", "Group", "Sums"]

#: Organizations times days that an audit holds at once, some 500 bytes each.
GROUPS_MAX: Final = 1_000_000
#: Breaches whose identity holds no time: the same may come again, and the latest stays (decision 5).
_REPEATABLE: Final = frozenset({BreachKind.QUOTA_REACHED, BreachKind.GRACE_EXHAUSTED, BreachKind.OVERUSE_EXHAUSTED})
_WRAP: Final = 2**64

#: Table, organization (or `#partition`), and day since 1970.
Group = tuple[str, str, int]


@dataclass(slots=True)
class Sums:
    """What a table counts, and the sum of the rows' digests modulo 2^64."""

    figures: list[int]
    digest: int = 0

    def add(self, figures: tuple[int, ...], digest: int) -> None:
        """Add one row."""
        mine = self.figures
        for place, figure in enumerate(figures):
            mine[place] += figure
        self.digest = (self.digest + digest) % _WRAP

    def plus(self, other: "Sums | None") -> "Sums":
        """Return both together."""
        if other is None:
            return self
        figures = [a + b for a, b in zip(self.figures, other.figures, strict=True)]
        return Sums(figures, (self.digest + other.digest) % _WRAP)


@dataclass(slots=True)
class DayBooks:
    """Sums by group. `cut` is the last offset of the partition that is settled."""

    key: bytes
    cut: int = -1
    settled: dict[Group, Sums] = field(default_factory=dict)
    open: dict[Group, Sums] = field(default_factory=dict)
    rows: int = 0
    _latest: dict[str, tuple[Row | None, Row | None]] = field(default_factory=dict)

    def add(self, table: Table, row: Row, offset: int) -> None:
        """Take a row of the log."""
        self.rows += 1
        if table is BREACHES and row[5] in _REPEATABLE:
            settled, _ = self._latest.get(row[3], (None, None))
            self._latest[row[3]] = (row, None) if offset <= self.cut else (settled, row)
            return
        self._add(self.settled if offset <= self.cut else self.open, table, row)

    def end_partition(self) -> None:
        """Add the breaches of which only the latest counts."""
        for settled, later in self._latest.values():
            if settled is not None:
                self._add(self.settled, BREACHES, settled)
            if later is not None:
                self._add(self.open, BREACHES, later)
        self._latest.clear()

    def _add(self, sums: dict[Group, Sums], table: Table, row: Row) -> None:
        group = (table.name, table.group(row), table.day(row))
        found = sums.get(group)
        if found is None:
            if len(sums) >= GROUPS_MAX:
                raise UsageError(
                    f"the log has more than {GROUPS_MAX:,} organizations and days",
                    hint="--organization audits one at a time",
                )
            found = sums[group] = Sums([0] * len(table.sums))
        found.add(table.measure(row), table.digest(row, self.key))

    def groups(self, table: Table) -> Iterator[Group]:
        """Yield the groups of a table."""
        return (group for group in {*self.settled, *self.open} if group[0] == table.name)
