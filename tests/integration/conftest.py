"""The real broker and the real engine, shared by all integration tests."""

from tests.integration.clickhouse_fixture import clickhouse, database
from tests.integration.kafka_fixture import kafka

__all__ = ["clickhouse", "database", "kafka"]
