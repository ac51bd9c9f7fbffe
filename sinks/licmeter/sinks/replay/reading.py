"""Reads a topic from one place to another, in the order of each partition: a span of the log that has an end."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from licmeter.schemas.topics import REJECT_BYTES_MAX
from licmeter.sinks.replay.errors import RejectsUnavailableError

__all__ = ["LogReader", "Span"]

#: How long the broker may take to connect, or to hand over anything at all.
CONNECT_TIMEOUT_S: Final = 15.0
READ_TIMEOUT_S: Final = 30.0
POLL_MS: Final = 500
POLL_RECORDS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets `begins` (included) to `ends` (not included) of a topic, by partition."""

    topic: str
    begins: Mapping[int, int]
    ends: Mapping[int, int]

    @property
    def offsets(self) -> int:
        """How many offsets that are; there may be fewer records."""
        return sum(max(0, end - self.begins.get(number, end)) for number, end in self.ends.items())


class LogReader:
    """A consumer of no group; `async with` connects it. Raises `RejectsUnavailableError` whatever fails at Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            client_id="licmeter-rejects",
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=REJECT_BYTES_MAX,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await consumer.start()
        except (KafkaError, OSError) as error:
            await consumer.stop()
            raise RejectsUnavailableError(self._servers, error) from error
        self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._consumer, None
        await consumer.stop()

    async def span(self, topic: str, *, since_ms: int | None = None, partitions: Collection[int] | None = None) -> Span:
        """Return all that stands on a topic now, or what came to it since an instant; some partitions, or all."""
        try:
            places = await self._partitions(topic)
            if partitions is not None:
                places = [place for place in places if place.partition in partitions]
            ends = await self._consumer.end_offsets(places)
            begins = await self._consumer.beginning_offsets(places)
            if since_ms is not None and places:
                found = await self._consumer.offsets_for_times(dict.fromkeys(places, since_ms))
                begins = {each: ends[each] if found[each] is None else found[each].offset for each in places}
        except (KafkaError, OSError) as error:
            raise RejectsUnavailableError(self._servers, error) from error
        return Span(topic, _by_number(begins), _by_number(ends))

    async def offsets_at(self, topic: str, at_ms: int) -> Mapping[int, int]:
        """Return the first offset of each partition that came at an instant or later."""
        return (await self.span(topic, since_ms=at_ms)).begins

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        """Ask for all topics: asking for one by its name may create it."""
        metadata = await self._consumer._client.fetch_all_metadata()
        numbers = metadata.partitions_for_topic(topic)
        if not numbers:
            raise KafkaError(f"there is no topic {topic}; `licmeter topics apply` creates it")
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    async def read(self, span: Span) -> AsyncGenerator[list[Any], None]:
        """Yield the records of a span, those of a partition in their order; what is no longer kept is passed over.

        A reader reads one span at a time.
        """
        places = {
            TopicPartition(span.topic, number): end
            for number, end in span.ends.items()
            if span.begins.get(number, end) < end
        }
        try:
            if places:
                await self._seek(span, places)
            while places := await self._still_open(places):
                for records in await self._poll(places):
                    yield records
        except (KafkaError, OSError) as error:
            raise RejectsUnavailableError(self._servers, error) from error

    async def _seek(self, span: Span, places: Mapping[TopicPartition, int]) -> None:
        self._consumer.assign(list(places))
        kept = await self._consumer.beginning_offsets(list(places))
        for place in places:
            self._consumer.seek(place, max(span.begins[place.partition], kept[place]))

    async def _still_open(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        # The position, and not the last record, tells the end: the last offsets may hold no records.
        return {place: end for place, end in places.items() if await self._consumer.position(place) < end}

    async def _poll(self, places: Mapping[TopicPartition, int]) -> list[list[Any]]:
        """Return what comes next, by partition; raises `TimeoutError` when nothing moves."""
        before = await self._positions(places)
        async with asyncio.timeout(READ_TIMEOUT_S):
            while True:
                polled = await self._consumer.getmany(*places, timeout_ms=POLL_MS, max_records=POLL_RECORDS_MAX)
                if polled or await self._positions(places) != before:
                    break
        found = [[each for each in records if each.offset < places[place]] for place, records in polled.items()]
        return [records for records in found if records]

    async def _positions(self, places: Mapping[TopicPartition, int]) -> list[int]:
        return [await self._consumer.position(place) for place in places]


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {place.partition: offset for place, offset in offsets.items()}
