"""Reads a compacted topic from its beginning to its present end: the latest value of each key."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from licmeter.runtime.errors import ServiceError

__all__ = ["read_compacted"]

#: How long the broker may take to hand over the next records.
READ_TIMEOUT_S: Final = 20.0


async def read_compacted(bootstrap_servers: str, topic: str) -> dict[bytes, bytes]:
    """Return the latest value of each key that was not deleted.

    Raises `ServiceError` when Kafka cannot be reached or the topic does not exist.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    try:
        await consumer.start()
        return await _read(consumer, topic)
    except (KafkaError, OSError, TimeoutError) as error:
        raise ServiceError(
            f"topic {topic} could not be read from Kafka at {bootstrap_servers}: {error or type(error).__name__}",
            service="kafka",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, topic: str) -> dict[bytes, bytes]:
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        await consumer._client.force_metadata_update()
        known = consumer._client.cluster.partitions_for_topic(topic) or ()
        partitions = [TopicPartition(topic, number) for number in known]
    if not partitions:
        raise KafkaError(f"there is no topic {topic}; `licmeter topics apply` creates it")
    consumer.assign(partitions)
    begin, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    open_partitions = {tp for tp in partitions if end[tp] > begin[tp]}
    latest: dict[bytes, bytes] = {}
    while open_partitions:
        batches = await asyncio.wait_for(consumer.getmany(*open_partitions, timeout_ms=1000), READ_TIMEOUT_S)
        for records in batches.values():
            for record in records:
                if record.value is None:
                    latest.pop(record.key, None)
                else:
                    latest[record.key] = record.value
        # The position, and not the last record, tells the end: the last records may have been compacted away.
        open_partitions = {tp for tp in open_partitions if await consumer.position(tp) < end[tp]}
    return latest
