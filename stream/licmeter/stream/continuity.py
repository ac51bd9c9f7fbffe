"""Notices when records of a partition were passed over, before a fence makes that a loss.

A fence says "everything up to here is counted", so batches must come in order and without a hole. Faust does not
promise that around a rebalance: it empties its queues, and seeks, while records are on their way, and a later batch may
be delivered first (seen with two workers, one of them killed: 5,923 reports passed over). Stock agents
that add up would count those reports later; a fence would refuse them.

So a batch is taken only if it begins at or before the expected offset. Otherwise the log itself is asked: if it has
no record in between (removed by retention, or taken by the markers of a transaction), the hole is real. If it has,
the batch is left alone and the partition is read again from the expected offset.
"""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["first_offset_from"]

#: How long the broker may take to show the next record; a healthy one needs some milliseconds.
READ_TIMEOUT_S: Final = 15.0


async def first_offset_from(bootstrap_servers: str, topic: str, partition: int, offset: int, fetch_bytes: int) -> int:
    """Return the offset of the first record at or after `offset`, read from the log by itself.

    Raises `TimeoutError` when there is none, or the broker does not answer.
    """
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # an offset that retention has removed
        max_poll_records=1,
        max_partition_fetch_bytes=fetch_bytes,
    )
    await consumer.start()
    try:
        consumer.assign([place])
        consumer.seek(place, offset)
        async with asyncio.timeout(READ_TIMEOUT_S):
            record = await consumer.getone(place)
    finally:
        await consumer.stop()
    found: int = record.offset
    return found
