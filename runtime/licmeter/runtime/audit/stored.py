"""What ClickHouse holds, as the audit asks for it: sums by group, single rows of a group, and counters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from licmeter.analytics.query import READ_SETTINGS
from licmeter.runtime.audit.books import Group, Sums
from licmeter.runtime.audit.tables import Row, Table
from licmeter.runtime.errors import ServiceError
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.sinks.target import ClickHouseTarget

__all__ = ["Cuts", "Stored"]

SETTLED: Final = 0
OPEN: Final = 1
#: Rows that no log explains, listed from one table.
BEYOND_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Cuts:
    """By partition: the first offset, the last settled one, and the first that was not read; others have none.

    `at_ms` is the arrival of the latest record that was read: what was said of later ones is no matter here.
    """

    begins: Mapping[int, int]
    settled: Mapping[int, int]
    ends: Mapping[int, int]
    at_ms: int
    only: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What the queries take."""
        numbers = sorted(self.settled)
        return {
            "partitions": numbers,
            "begins": [self.begins[number] for number in numbers],
            "settled": [self.settled[number] for number in numbers],
            "ends": [self.ends[number] for number in numbers],
            "at_ms": self.at_ms,
            "only": self.only or "",
        }

    def condition(self, table: Table) -> str:
        """Return which rows there are to look at."""
        words = ["({only:String} = '' OR organization_id = {only:String})"]
        if table.in_log:
            words.append(f"({_bin()}) IN ({SETTLED}, {OPEN})")
        else:
            words.append("toUnixTimestamp64Milli(at) <= {at_ms:Int64}")
        return " AND ".join(words)


def _bin() -> str:
    """Tell the settled rows from the open ones, and from those beyond what was read."""
    partitions = "toInt64(source_partition), {partitions:Array(Int64)}"
    return (
        f"multiIf(toInt64(source_offset) < transform({partitions}, {{begins:Array(Int64)}}, toInt64(0)), 2, "
        f"toInt64(source_offset) <= transform({partitions}, {{settled:Array(Int64)}}, toInt64(-1)), {SETTLED}, "
        f"toInt64(source_offset) < transform({partitions}, {{ends:Array(Int64)}}, toInt64(0)), {OPEN}, 2)"
    )


class Stored:
    """A connection to ClickHouse for reading; raises `ServiceError` when ClickHouse does not do its part."""

    def __init__(self, target: ClickHouseTarget) -> None:
        self._target = target
        with self.said():
            self.client = target.connect()

    def close(self) -> None:
        """Disconnect."""
        self.client.close()

    @contextmanager
    def said(self) -> Iterator[None]:
        """Say it as a `ServiceError` when ClickHouse could not answer."""
        try:
            yield
        except ServiceError:
            raise
        except Exception as error:
            raise ServiceError(
                f"ClickHouse at {self._target.url} could not answer: {error}",
                service="clickhouse",
                hint="is licmeter running? `licmeter up` starts everything",
            ) from error

    def query(self, text: str, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Run a query."""
        with self.said():
            found = self.client.query(text, parameters=dict(parameters), settings=dict(READ_SETTINGS))
            return list(found.result_rows)

    def stream(self, text: str, parameters: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        """Run a query with many rows, and yield them as they come."""
        with (
            self.said(),
            self.client.query_row_block_stream(
                text, parameters=dict(parameters), settings=dict(READ_SETTINGS)
            ) as blocks,
        ):
            for block in blocks:
                yield from block

    def sums(self, table: Table, cuts: Cuts, key: bytes) -> tuple[dict[Group, Sums], dict[Group, Sums]]:
        """Return the sums of settled and of open rows by group."""
        part = _bin() if table.in_log else str(SETTLED)
        figures = ", ".join(f"toInt64({sql})" for _, sql in table.sums)
        text = f"""
            SELECT {part} AS part, {table.group_sql} AS grp, toInt64({table.day_sql}) AS day, {figures},
                   sumWithOverflow({table.digest_sql()})
            FROM {table.source} WHERE {cuts.condition(table)} GROUP BY part, grp, day
        """  # noqa: S608
        settled: dict[Group, Sums] = {}
        opened: dict[Group, Sums] = {}
        for row in self.query(text, cuts.parameters | {"key": key.decode()}):
            group: Group = (table.name, row[1], row[2])
            (settled if row[0] == SETTLED else opened)[group] = Sums(list(row[3:-1]), row[-1])
        return settled, opened

    def rows(self, table: Table, group: Group, cuts: Cuts) -> Iterator[Row]:
        """Yield the rows of one group."""
        columns = ", ".join(sql for _, sql in (*table.numbers, *table.words))
        text = f"""
            SELECT {columns} FROM {table.source}
            WHERE {cuts.condition(table)} AND {table.group_sql} = {{grp:String}} AND {table.day_sql} = {{day:Int64}}
        """  # noqa: S608
        parameters = cuts.parameters | {"grp": group[1], "day": group[2]}
        return map(tuple, self.stream(text, parameters))

    def beyond(self, table: Table, ends: Mapping[int, int], only: str | None) -> list[Row]:
        """Return rows of offsets that the log has not, as far as it goes now; `BEYOND_MAX` at most."""
        columns = ", ".join(sql for _, sql in (*table.numbers, *table.words))
        text = f"""
            SELECT {columns} FROM {table.source}
            WHERE ({{only:String}} = '' OR organization_id = {{only:String}})
              AND toInt64(source_offset) >= transform(toInt64(source_partition), {{partitions:Array(Int64)}},
                                                      {{ends:Array(Int64)}}, toInt64(0))
            ORDER BY source_partition, source_offset LIMIT {BEYOND_MAX}
        """  # noqa: S608
        numbers = sorted(ends)
        parameters = {"partitions": numbers, "ends": [ends[number] for number in numbers], "only": only or ""}
        return [tuple(row) for row in self.query(text, parameters)]

    def counters(self, only: str | None) -> list[ItemCounters | OrganizationCounters]:
        """Return the counters that are stored."""
        found: list[ItemCounters | OrganizationCounters] = []
        kinds: tuple[tuple[str, type[ItemCounters] | type[OrganizationCounters]], ...] = (
            ("license_counters", ItemCounters),
            ("organization_counters", OrganizationCounters),
        )
        for table, kind in kinds:
            names = [name for name in kind.model_fields if name != "kind"]
            text = f"""
                SELECT {", ".join(names)} FROM {table} WHERE {{only:String}} = '' OR organization_id = {{only:String}}
            """  # noqa: S608
            for row in self.query(text, {"only": only or ""}):
                values = dict(zip(names, row, strict=True))
                values["updated_at"] = _utc(values["updated_at"])
                if values.get("percent") is not None:
                    values["percent"] = f"{values['percent']:.2f}"
                found.append(kind.model_validate(values))
        return found


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)
