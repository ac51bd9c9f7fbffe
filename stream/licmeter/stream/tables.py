"""The state tables: Faust's, with RocksDB below and a changelog topic behind; written a batch at a time.

Faust gives recovery, standby replicas and assignment. Its way of writing (`table[key] = value`) is not used: it
sends each change on its own, does not wait for the broker, and changes the local copy first. Here the changelog
comes first, so the local copy is never ahead of what another worker would recover.

The local copy knows up to which changelog offset it is complete. Faust moves that mark to whatever offset its
own write got. That skips what others wrote before it: after a pause this worker may write a last record behind
those of the new owner, and would never read theirs. So the mark moves only over offsets without a gap.

Faust recovers one record at a time, some 100 µs each: two minutes and a half for the 900,000 records of ten million
reports. So a partition that is new here is read in bulk first, as it is assigned; Faust finds the mark near the end,
and reads what came after, as always. Standby replicas are left to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP
from rocksdict import WriteBatch

from licmeter.schemas.topics import changelog_name
from licmeter.stream.kafka import KafkaWriter
from licmeter.stream.outputs import OutputRecord
from licmeter.stream.store import CATALOGS, FACTS, SEEN, TABLES, Change

__all__ = ["FaustStore", "make_tables"]

_log = structlog.get_logger("licmeter.stream")

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
#: Records that are read in bulk and written together; others get a turn in between. Of large ones the bytes of a fetch
#: are the bound: 1 MiB for each partition.
BULK_RECORDS_MAX: Final = 2_000
#: How long the broker may take for the next records; then Faust is left to read the rest.
BULK_TIMEOUT_MS: Final = 15_000


def make_tables(app: faust.App, partitions: int) -> dict[str, faust.Table]:
    """Declare the tables; the changelog topics are made by `licmeter topics apply`."""
    return {name: _make_table(app, name, partitions) for name in TABLES}


def _make_table(app: faust.App, name: str, partitions: int) -> faust.Table:
    buffered = _RECOVERY_BUFFER.get(name, _RECOVERY_BUFFER_SMALL)
    table = _Table(
        app,
        name=name,
        beacon=app.tables.beacon,
        partitions=partitions,
        schema=faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
        key_type=bytes,
        value_type=bytes,
        options=dict(_ROCKSDB),  # its own copy: Faust takes keys out of it
        recovery_buffer_size=buffered,
        standby_buffer_size=buffered,
    )
    assert table.changelog_topic_name == changelog_name(name)
    return app.tables.add(table)


class _Table(faust.Table):  # type: ignore[misc]
    """Faust's table; reads partitions that are newly assigned in bulk, before Faust's own recovery begins."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        new = {tp for tp in newly_assigned if tp.topic == self.changelog_topic_name}
        new -= self.app.assignor.assigned_standbys()
        if not new:
            return
        try:
            await self._catch_up(new, generation_id)
        except (KafkaError, OSError) as error:
            _log.warning("bulk_recovery_failed", table=self.name, error=repr(error))

    async def _catch_up(self, new: set[TP], generation_id: int) -> None:
        """Read the changelog up to its present end, unless another rebalance begins."""
        servers = [f"{url.host}:{url.port}" for url in self.app.conf.broker_consumer]
        consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        try:
            remaining = await self._seek(consumer, new)
            while remaining and generation_id == self.app.consumer_generation_id and not self.app.should_stop:
                fetched = await consumer.getmany(timeout_ms=BULK_TIMEOUT_MS, max_records=BULK_RECORDS_MAX)
                for partition, records in fetched.items():
                    self._apply(partition.partition, records)
                    if records[-1].offset + 1 >= remaining.get(partition, 0):
                        remaining.pop(partition, None)
                        consumer.pause(partition)
                if not fetched:
                    break  # the last records may have been compacted away
        finally:
            await consumer.stop()

    async def _seek(self, consumer: AIOKafkaConsumer, new: set[TP]) -> dict[TopicPartition, int]:
        """Go to where the local copy ends; return where the changelogs end that have more."""
        partitions = [TopicPartition(tp.topic, tp.partition) for tp in new]
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        remaining = {}
        for partition in partitions:
            mark = self.data.persisted_offset(TP(*partition))
            start = max(begins[partition], -1 if mark is None else mark + 1, 0)
            if start < ends[partition]:
                remaining[partition] = ends[partition]
                consumer.seek(partition, start)
            else:
                consumer.pause(partition)
        return remaining

    def _apply(self, partition: int, records: Sequence[Any]) -> None:
        """Write records and the mark behind them in one step."""
        batch = WriteBatch(raw_mode=True)
        for record in records:
            if record.value is None:
                batch.delete(record.key)
            else:
                batch.put(record.key, record.value)
        batch.put(self.data.offset_key, str(records[-1].offset).encode())
        self.data._db_for_partition(partition).write(batch)


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
