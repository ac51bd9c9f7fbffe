"""The state tables: Faust's, with RocksDB below and a changelog topic behind; written a batch at a time.

Faust gives recovery, standby replicas and assignment. Its way of writing (`table[key] = value`) is not used: it
sends each change on its own, does not wait for the broker, and changes the local copy first. Here the changelog
comes first, so the local copy is never ahead of what another worker would recover.

The local copy knows up to which changelog offset it is complete. Faust moves that mark to whatever offset its
own write got. That skips what others wrote before it: after a pause this worker may write a last record behind
those of the new owner, and would never read theirs. So the mark moves only over offsets without a gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import faust
from faust.types import TP
from rocksdict import WriteBatch

from licmeter.schemas.topics import changelog_name
from licmeter.stream.kafka import KafkaWriter
from licmeter.stream.outputs import OutputRecord
from licmeter.stream.store import CATALOGS, FACTS, SEEN, TABLES, Change

__all__ = ["FaustStore", "make_tables"]

#: For each table and partition, of which a worker has 24: two write buffers and a cache, so 3 MiB at most. A write
#: buffer is memory that fills before it goes to disk; what is read again is mostly in the system's own cache.
_ROCKSDB: Final[Mapping[str, Any]] = {
    "driver": "rocksdict",
    "write_buffer_size": 1024 * 1024,
    "max_write_buffer_number": 2,
    "block_cache_size": 1024 * 1024,
    "bloom_filter_size": 10,
    "max_open_files": 256,
}

#: Records that recovery holds before it writes them together, by table. A record of `seen` has up to 480 KB, one of
#: `facts` or `catalogs` several MB, so of these are few: with 10,000 all ten million reports were held at once.
_RECOVERY_BUFFER: Final = {SEEN: 16, FACTS: 16, CATALOGS: 16}
_RECOVERY_BUFFER_SMALL: Final = 500  # records of some hundred bytes, each in an event of 2 KB


def make_tables(app: faust.App, partitions: int) -> dict[str, faust.Table]:
    """Declare the tables; the changelog topics are made by `licmeter topics apply`."""
    return {name: _make_table(app, name, partitions) for name in TABLES}


def _make_table(app: faust.App, name: str, partitions: int) -> faust.Table:
    buffered = _RECOVERY_BUFFER.get(name, _RECOVERY_BUFFER_SMALL)
    table = app.Table(
        name,
        partitions=partitions,
        schema=faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
        key_type=bytes,
        value_type=bytes,
        options=dict(_ROCKSDB),  # its own copy: Faust takes keys out of it
        recovery_buffer_size=buffered,
        standby_buffer_size=buffered,
    )
    assert table.changelog_topic_name == changelog_name(name)
    return table


class FaustStore:
    """One partition of the tables (a `PartitionStore`)."""

    def __init__(self, tables: Mapping[str, faust.Table], partition: int, writer: KafkaWriter) -> None:
        self._tables = tables
        self._partition = partition
        self._writer = writer

    def _db(self, table: str) -> Any:
        return self._tables[table].data._db_for_partition(self._partition)

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return a record, or None."""
        value: bytes | None = self._db(table).get(key)
        return value

    def items(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Return records by key, those with a prefix."""
        offset_key = self._tables[table].data.offset_key
        for key, value in self._db(table).items(from_key=prefix or None):
            if not key.startswith(prefix):
                return
            if key != offset_key:
                yield key, value

    async def write(self, table: str, changes: Sequence[Change]) -> None:
        """Write to the changelog, wait for the broker, then to the local copy."""
        topic = changelog_name(table)
        stored = await self._writer.append(topic, self._partition, (OutputRecord(*change) for change in changes))
        store = self._tables[table].data
        batch = WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        complete_to = store.persisted_offset(TP(topic, self._partition))
        if stored.contiguous and stored.first == (-1 if complete_to is None else complete_to) + 1:
            batch.put(store.offset_key, str(stored.last).encode())
        self._db(table).write(batch)

    def forget(self, table: str, below: bytes) -> None:
        """Delete all records whose keys are below one, in the local copy."""
        self._db(table).delete_range(b"\0", below)
