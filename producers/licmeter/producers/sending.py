"""Sends many events to Kafka: in batches, in order within a partition, each confirmed by the broker.

The partition is that of Java's and aiokafka's default partitioner (murmur2 of the key), as every producer of
`usage.events` must choose it: the events of one organization have one order.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from licmeter.producers.errors import SendError
from licmeter.schemas.topics import EVENT_BYTES_MAX, USAGE_EVENTS

__all__ = ["OffsetSpan", "send_events"]

#: Batches of one partition that wait for their confirmation; more would only sit in memory.
BATCHES_IN_FLIGHT_MAX: Final = 8
BATCH_BYTES_MAX: Final = 512 * 1024
REQUEST_TIMEOUT_MS: Final = 30_000

KeyValue = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class OffsetSpan:
    """Where confirmed events are stored, without a gap: offsets `first` to `last` of a partition."""

    partition: int
    first: int
    last: int


@dataclass
class _Partition:
    batch: Any = None
    waiting: list[tuple[asyncio.Future[Any], int]] = field(default_factory=list)


async def send_events(
    bootstrap_servers: str,
    events: Iterable[KeyValue],
    on_sent: Callable[[int], None] | None = None,
    *,
    topic: str = USAGE_EVENTS.name,
) -> list[OffsetSpan]:
    """Send (key, value) pairs; return where they are stored once all are confirmed (acks=all, idempotent).

    `on_sent` is told of each number of events that were confirmed. Raises `SendError` when the broker is not there,
    does not know the topic, or refuses.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=EVENT_BYTES_MAX,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    sender = _Sender(producer, topic, on_sent)
    try:
        await producer.start()
        await sender.send(events)
    except (KafkaError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise SendError(f"Kafka at {bootstrap_servers}, topic {topic}: {reason}", sent=sender.sent) from error
    finally:
        await producer.stop()
    return sender.spans


class _Sender:
    def __init__(self, producer: AIOKafkaProducer, topic: str, on_sent: Callable[[int], None] | None) -> None:
        self._producer = producer
        self._topic = topic
        self._on_sent = on_sent or (lambda _: None)
        self._partitions: dict[int, _Partition] = {}
        self._places: dict[bytes | None, int] = {}
        self.sent = 0
        self.spans: list[OffsetSpan] = []

    async def send(self, events: Iterable[KeyValue]) -> None:
        numbers = sorted(await self._producer.partitions_for(self._topic))
        self._partitions = {number: _Partition() for number in numbers}
        for key, value in events:
            number = self._place(key, numbers)
            partition = self._partitions[number]
            if partition.batch is None:
                partition.batch = self._producer.create_batch()
            if partition.batch.append(key=key, value=value, timestamp=None) is None:
                await self._submit(number)
                partition.batch = self._producer.create_batch()
                partition.batch.append(key=key, value=value, timestamp=None)
        for number in numbers:
            await self._submit(number)
            await self._confirm(number, leave=0)

    def _place(self, key: bytes | None, numbers: list[int]) -> int:
        place = self._places.get(key)
        if place is None:
            hashed = 0 if key is None else murmur2(key) & 0x7FFFFFFF
            place = self._places[key] = numbers[hashed % len(numbers)]
        return place

    async def _submit(self, number: int) -> None:
        partition = self._partitions[number]
        batch, partition.batch = partition.batch, None
        if batch is None or not batch.record_count():
            return
        count = batch.record_count()
        future = await self._producer.send_batch(batch, self._topic, partition=number)
        partition.waiting.append((future, count))
        await self._confirm(number, leave=BATCHES_IN_FLIGHT_MAX)

    async def _confirm(self, number: int, leave: int) -> None:
        waiting = self._partitions[number].waiting
        while len(waiting) > leave:
            future, count = waiting.pop(0)
            first = (await future).offset
            self.spans.append(OffsetSpan(number, first, first + count - 1))
            self.sent += count
            self._on_sent(count)
