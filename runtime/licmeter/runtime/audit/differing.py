"""Down to the single rows, for the groups whose sums differ: what the log asks for and what is stored, side by side.

Both are put into SQLite's temporary file, which sorts and joins them; a day may have more rows than memory.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from licmeter.runtime.audit.books import Group
from licmeter.runtime.audit.report import Difference
from licmeter.runtime.audit.tables import Row, Table

__all__ = ["ROWS_LISTED_MAX", "RowComparison"]

#: Rows that are listed of one group and kind of difference; the others are counted.
ROWS_LISTED_MAX: Final = 20

_TABLES: Final = """
CREATE TABLE expected (grp INTEGER, place TEXT, settled INTEGER, row TEXT,
                       PRIMARY KEY (grp, place, settled)) WITHOUT ROWID;
CREATE TABLE found (grp INTEGER, place TEXT, row TEXT, PRIMARY KEY (grp, place, row)) WITHOUT ROWID;
"""
_MISSING: Final = """
SELECT place, row FROM expected e WHERE grp = ? AND settled
AND NOT EXISTS (SELECT 1 FROM found f WHERE f.grp = e.grp AND f.place = e.place) ORDER BY place
"""
_FOREIGN: Final = """
SELECT place, row FROM found f WHERE grp = ?
AND NOT EXISTS (SELECT 1 FROM expected e WHERE e.grp = f.grp AND e.place = f.place) ORDER BY place
"""
_DIFFERS: Final = """
SELECT f.place, f.row, (SELECT max(row) FROM expected e WHERE e.grp = f.grp AND e.place = f.place) FROM found f
WHERE grp = ? AND EXISTS (SELECT 1 FROM expected e WHERE e.grp = f.grp AND e.place = f.place)
AND NOT EXISTS (SELECT 1 FROM expected e WHERE e.grp = f.grp AND e.place = f.place AND e.row = f.row) ORDER BY place
"""


class RowComparison:
    """Takes the rows of groups that are suspect, from both sides (the `Books` of a recount)."""

    def __init__(self, suspects: Iterable[Group]) -> None:
        self.suspects = {group: number for number, group in enumerate(suspects)}
        self._cut = -1
        self._rows = sqlite3.connect("")
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.executescript(_TABLES)

    def close(self) -> None:
        """Give the file back."""
        self._rows.close()

    def begin_partition(self, cut: int) -> None:
        """Take rows of another partition from now on; `cut` is its last settled offset."""
        self._cut = cut

    def add(self, table: Table, row: Row, offset: int) -> None:
        """Take a row of the log."""
        number = self.suspects.get((table.name, table.group(row), table.day(row)))
        if number is not None:
            values = (number, table.place(row), offset <= self._cut, _text(row))
            self._rows.execute("INSERT OR REPLACE INTO expected VALUES (?, ?, ?, ?)", values)

    def add_found(self, table: Table, rows: Iterable[Row]) -> None:
        """Take stored rows."""
        groups = ((self.suspects.get((table.name, table.group(row), table.day(row))), row) for row in rows)
        self._rows.executemany(
            "INSERT OR IGNORE INTO found VALUES (?, ?, ?)",
            ((number, table.place(row), _text(row)) for number, row in groups if number is not None),
        )

    def differences(
        self, table: Table, group: Group, *, where: str, day: str, behind: bool
    ) -> Iterator[tuple[str, Difference, int]]:
        """Yield the differences of a group: whose they are, what they are, and for how many rows each stands.

        `behind`: what is missing may still be on its way.
        """
        number = self.suspects[group]
        kinds = ((_MISSING, f"missing in {where}"), (_FOREIGN, f"in {where}, not in the log"), (_DIFFERS, ""))
        for query, said in kinds:
            pending, more = behind and query is _MISSING, 0
            for listed, (place, *rows) in enumerate(self._rows.execute(query, (number,))):
                if listed >= ROWS_LISTED_MAX:
                    more += 1
                    continue
                what = f"{said}: {_summary(table, rows[0])}" if said else f"differs: {_changes(table, *rows)}"
                yield _owner(table, rows[0]), Difference(table.name, what, _place(place), day, pending), 1
            if more:
                what = f"… and {more:,} more rows {said or 'that differ'}"
                yield _owner(table, None), Difference(table.name, what, "", day, pending), more


def _owner(table: Table, text: str | None) -> str:
    """Return the organization that a row names."""
    return "" if text is None else str(json.loads(text)[table.columns.index("organization_id")])


def _text(row: Row) -> str:
    return json.dumps([int(value) if isinstance(value, bool) else value for value in row], ensure_ascii=True)


def _place(place: str) -> str:
    """Take the zeros away by which places sort."""
    return ":".join(part.lstrip("0") or "0" for part in place.split(":")) if ":" in place else place


def _changes(table: Table, found: str, expected: str) -> str:
    pairs = zip(table.columns, json.loads(found), json.loads(expected), strict=True)
    return ", ".join(f"{name} {mine!r} ≠ {theirs!r} of the log" for name, mine, theirs in pairs if mine != theirs)


def _summary(table: Table, text: str) -> str:
    """Say of a row what tells it from others."""
    values = dict(zip(table.columns, json.loads(text), strict=True))
    told = ("client_uuid", "report_id", "auth_id", "kind", "feature", "quantity", "outcome", "reason", "item_id")
    return ", ".join(f"{name} {values[name]!r}" for name in told if values.get(name) not in (None, ""))
