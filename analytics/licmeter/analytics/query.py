"""A query is a value: `to_sql()` gives the text and its parameters, and nothing else touches the database.

Every query is bound to one organization (domain, Q11), and runs with FINAL: rows are written at least once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final, Protocol

__all__ = ["ALWAYS", "READ_SETTINGS", "Period", "Query", "Row", "Rows", "run"]

#: What every reader sets (docs/decisions/0005-clickhouse-rows.md).
READ_SETTINGS: Final[Mapping[str, Any]] = {"final": 1, "do_not_merge_across_partitions_select_final": 1}

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days in UTC, both included; None is open (domain, Q6)."""

    first: date | None = None
    last: date | None = None

    def condition(self, column: str, parameters: dict[str, Any]) -> str:
        """Return a condition on a column of instants, and add its parameters."""
        conditions = []
        if self.first is not None:
            parameters["first_day"] = self.first
            conditions.append(f"toDate({column}) >= {{first_day:Date}}")
        if self.last is not None:
            parameters["last_day"] = self.last
            conditions.append(f"toDate({column}) <= {{last_day:Date}}")
        return " AND ".join(conditions) or "true"


#: All history.
ALWAYS: Final = Period()


class Query(Protocol):
    """One question to the database."""

    columns: ClassVar[Sequence[str]]

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""


class Client(Protocol):
    """What is needed of a clickhouse-connect client."""

    def query(self, query: str, parameters: Any = ..., settings: Any = ...) -> Any:
        """Run a query."""


def run(client: Client, query: Query) -> Rows:
    """Run a query; raises clickhouse-connect's errors."""
    text, parameters = query.to_sql()
    result = client.query(text, parameters=parameters, settings=dict(READ_SETTINGS))
    return list(_rows(query.columns, result.result_rows))


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[Row]:
    for row in rows:
        yield {name: _utc(value) for name, value in zip(columns, row, strict=True)}


def _utc(value: Any) -> Any:
    """Instants come back without a zone; all of them are UTC (T1)."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
