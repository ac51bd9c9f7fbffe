"""What a rebuild deletes from: the table, or the rows of all shards."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from licmeter.analytics.statistics.rollup import ROLLUP_TABLES, Span, rebuild

DISTRIBUTED = "Distributed('eu-1', 'licmeter', '{}_local', cityHash64(organization_id))"


class Shards:
    """Answers as a database whose tables have some engine, and keeps the statements."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self.commands: list[str] = []

    def query(self, query: str, *, parameters: Any = None, settings: Any = None) -> Any:
        if "system.tables" in query:
            rows: list[tuple[Any, ...]] = [(self._engine.format(parameters["table"]),)]
        elif "now64" in query:
            rows = [(datetime(2031, 3, 9, tzinfo=UTC),)]
        else:
            rows = [(date(2031, 3, 8),)]
        return SimpleNamespace(result_rows=rows)

    def command(self, cmd: str, *, parameters: Any = None, settings: Any = None) -> Any:
        self.commands.append(" ".join(cmd.split()))


@pytest.mark.parametrize(
    ("engine", "place"),
    [
        ("ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY day", "{}"),
        (DISTRIBUTED, "licmeter.{}_local ON CLUSTER 'eu-1'"),
    ],
    ids=["one-server", "shards"],
)
def test_what_is_out_of_date_is_deleted_where_the_rows_are(engine: str, place: str) -> None:
    shards = Shards(engine)
    rebuild(shards, Span(date(2031, 3, 8), date(2031, 3, 8)))
    deleted = [each.split(" WHERE ")[0] for each in shards.commands if each.startswith("DELETE")]
    assert deleted == [f"DELETE FROM {place.format(table)}" for table in ROLLUP_TABLES]
