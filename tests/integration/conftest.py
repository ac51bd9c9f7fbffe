"""The real broker and the real engines, shared by all integration tests."""

import pytest

from tests.integration.clickhouse_fixture import clickhouse, database, embedded_clickhouse, skip_without_server
from tests.integration.kafka_fixture import kafka

__all__ = ["clickhouse", "database", "embedded_clickhouse", "kafka"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    skip_without_server(item)
