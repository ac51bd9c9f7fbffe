"""A real engine for a test session, and a migrated database for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget

__all__ = ["clickhouse", "database"]


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """The endpoint, shared by all tests: one process may open one chDB directory."""
    pytest.importorskip("chdb", reason="the extra `embedded` is not installed")
    with EmbeddedClickHouse(ClickHouseSettings(port=0), Path(tmp_path_factory.mktemp("clickhouse"))) as endpoint:
        yield endpoint


@pytest.fixture
def database(clickhouse: EmbeddedClickHouse) -> Iterator[str]:
    """The name of a fresh database with the current schema, dropped after the test."""
    target = ClickHouseTarget(clickhouse.url, database=f"test_{uuid.uuid4().hex}")
    migrate(target)
    yield target.database
    client = target.connect()
    client.command(f"DROP DATABASE {target.database}")
    client.close()
