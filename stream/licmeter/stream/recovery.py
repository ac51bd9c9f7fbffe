"""Recovery in bulk: a partition that is new to a worker is read from its changelog before Faust begins to.

Faust recovers one record at a time, some 100 µs each: two minutes and a half for the 900,000 records of ten million
remembered reports. Here records are written many at once, with the mark up to which the local copy is complete in the
same write, so a crash anywhere leaves a copy that is complete up to its mark. Faust then finds the mark near the end,
and reads what came after, as always; on any error it reads all of the rest. Standby replicas are left to it.
"""

from collections.abc import Sequence
from typing import Any, Final

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP
from rocksdict import WriteBatch

__all__ = ["BulkTable"]

_log = structlog.get_logger("licmeter.stream")

#: Records that are read and written together; others get a turn in between. Of large ones the bytes of a fetch are the
#: bound: 1 MiB for each partition.
BULK_RECORDS_MAX: Final = 2_000
#: How long the broker may take for the next records; then Faust is left to read the rest.
BULK_TIMEOUT_MS: Final = 15_000


class BulkTable(faust.Table):  # type: ignore[misc]
    """Faust's table; reads partitions that are newly assigned in bulk, before Faust's own recovery begins."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Take over what Faust assigns, and catch up with it."""
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
