"""Writes batches into ClickHouse over HTTP: one insert for each table, one record batch for each insert.

Every write may be repeated: the tables replace rows of the same identity.
"""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.asyncclient import AsyncClient

from licmeter.sinks.target import ClickHouseTarget

__all__ = ["ClickHouseWriter"]

_SETTINGS: Final[Mapping[str, object]] = {
    # Our batches are large already, and an acknowledged insert must be in the table.
    "async_insert": 0,
    # One month of rejects after the other in one batch must not make it impossible to write.
    "max_partitions_per_insert_block": 0,
    # Never drop a batch because it looks like an earlier one: identity is the tables' business.
    "insert_deduplicate": 0,
    # An insert into a Distributed table (`variants`) is acknowledged when the shards have it, not when it is queued.
    "distributed_foreground_insert": 1,
}


class ClickHouseWriter:
    """A connection that is opened when it is first needed, and anew after each failure."""

    def __init__(self, target: ClickHouseTarget) -> None:
        self._target = target
        self._client: AsyncClient | None = None

    async def write(self, tables: Mapping[str, pa.RecordBatch]) -> None:
        """Insert all tables; raises whatever the client raises, and then some of them may be written."""
        try:
            if self._client is None:
                self._client = await self._target.connect_async(**_SETTINGS)
            for name, batch in tables.items():
                await self._client.insert_arrow(name, batch)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
