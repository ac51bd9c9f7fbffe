"""ClickHouse without a server: chDB behind ClickHouse's HTTP interface, for development, tests and demonstrations."""

from licmeter.runtime.clickhouse.embedded import EmbeddedClickHouse

__all__ = ["EmbeddedClickHouse"]
