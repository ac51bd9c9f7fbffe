"""Real engines for a test session, and a migrated database for each test.

What uses `clickhouse` runs twice: on chDB behind our endpoint, and on the server that LICMETER_CLICKHOUSE__URL names
(with …__USERNAME and …__PASSWORD). Without that variable the second half is skipped, with the reason.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget

__all__ = ["Engine", "clickhouse", "database", "embedded_clickhouse", "skip_without_server"]

_PREFIX = "LICMETER_CLICKHOUSE__"
#: Taken out of the environment, where every process that a test starts would find it.
_NAMED = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_PREFIX)}


def skip_without_server(item: pytest.Item) -> None:
    """Skip what needs a server when none is named; from a hook, whose place is one line for all in pytest's summary."""
    call = getattr(item, "callspec", None)
    if call is not None and call.params.get("clickhouse") == "server" and f"{_PREFIX}URL" not in _NAMED:
        pytest.skip(f"{_PREFIX}URL names no server to run these on as well")


@dataclass(frozen=True, slots=True)
class Engine:
    """A ClickHouse that answers, and who may use it."""

    url: str
    username: str = "default"
    password: str = field(default="", repr=False)

    def target(self, database: str) -> ClickHouseTarget:
        return ClickHouseTarget(self.url, database, self.username, self.password)

    def drop(self, database: str) -> None:
        client = self.target("default").connect()
        client.command(f"DROP DATABASE IF EXISTS {database}")
        client.close()


@pytest.fixture(scope="session")
def embedded_clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """The endpoint's process, for tests about itself: one process may open one chDB directory."""
    pytest.importorskip("chdb", reason="the extra `embedded` is not installed")
    with EmbeddedClickHouse(ClickHouseSettings(port=0), Path(tmp_path_factory.mktemp("clickhouse"))) as endpoint:
        yield endpoint


@pytest.fixture(scope="session", params=["embedded", "server"])
def clickhouse(request: pytest.FixtureRequest) -> Engine:
    """An engine that all tests share: nobody may stop it."""
    if request.param == "embedded":
        return Engine(request.getfixturevalue("embedded_clickhouse").url)
    return Engine(
        _NAMED[f"{_PREFIX}URL"], _NAMED.get(f"{_PREFIX}USERNAME", "default"), _NAMED.get(f"{_PREFIX}PASSWORD", "")
    )


@pytest.fixture
def database(clickhouse: Engine) -> Iterator[str]:
    """The name of a fresh database with the current schema, dropped after the test."""
    target = clickhouse.target(f"test_{uuid.uuid4().hex}")
    migrate(target)
    yield target.database
    clickhouse.drop(target.database)
