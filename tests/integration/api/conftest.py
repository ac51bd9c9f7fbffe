"""A database with the history of some organizations, for all tests of a module."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, time

import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.rows import busy_weeks, example_day, write

SEED = 20_310_308


@pytest.fixture(scope="module")
def history(clickhouse: EmbeddedClickHouse) -> Iterator[ClickHouseTarget]:
    """The example day of `300417`, another one of `500100` with the same names of items, and weeks of `900001`."""
    target = ClickHouseTarget(clickhouse.url, database=f"test_{uuid.uuid4().hex}")
    migrate(target)
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    for records in (example_day(), example_day("500100", 1_000), busy_weeks(SEED, today)):
        write(target, records)
    yield target
    client = target.connect()
    client.command(f"DROP DATABASE {target.database}")
    client.close()
