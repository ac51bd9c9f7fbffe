"""Reads topics without a consumer group: what they hold, from which offset to which."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from licmeter.runtime.errors import ServiceError
from licmeter.schemas.topics import REJECT_BYTES_MAX

__all__ = ["Log", "Span"]

#: How long the broker may take to hand over the next records.
READ_TIMEOUT_S: Final = 20.0
POLL_MS: Final = 100
#: Records that are handed over at once.
RECORDS_MAX: Final = 5_000
#: Records between two wanted ones that are read and thrown away, which is quicker than to ask anew.
SKIPPED_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Span:
    """The records that a partition holds: from `begin` up to, not including, `end`."""

    partition: int
    begin: int
    end: int

    @property
    def count(self) -> int:
        """How many offsets that are."""
        return self.end - self.begin


class Log:
    """A connection to Kafka for reading; raises `ServiceError` when Kafka does not do its part."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        # Never assigned anything, so its metadata are of all topics, and asking about another one takes no second.
        self._asking = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=REJECT_BYTES_MAX,  # the largest record that any topic may hold
        )

    async def __aenter__(self) -> Self:
        with self._said("Kafka could not be reached"):
            try:
                await self._asking.start()
                await self._asking._client.force_metadata_update()
                await self._consumer.start()
            except BaseException:
                await self.__aexit__()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._asking.stop()

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            raise ServiceError(
                f"{what} at {self._servers}: {error or type(error).__name__}",
                service="kafka",
                hint="is licmeter running? `licmeter up` starts everything",
            ) from error

    async def spans(self, topic: str) -> dict[int, Span]:
        """Return what each partition of a topic holds now; raises `ServiceError` when there is no such topic."""
        with self._said(f"topic {topic} could not be read from Kafka"):
            places = self._places(topic)
            begins = await self._asking.beginning_offsets(places)
            ends = await self._asking.end_offsets(places)
            return {place.partition: Span(place.partition, begins[place], ends[place]) for place in places}

    def _places(self, topic: str) -> list[TopicPartition]:
        known = self._asking._client.cluster.partitions_for_topic(topic)
        if not known:
            raise KafkaError(f"there is no topic {topic}; `licmeter topics apply` creates it")
        return [TopicPartition(topic, number) for number in sorted(known)]

    async def read(self, topic: str, span: Span) -> AsyncIterator[list[Any]]:
        """Yield the records of a span in their order, some at once."""
        if not span.count:
            return
        place = TopicPartition(topic, span.partition)
        with self._said(f"topic {topic} could not be read from Kafka"):
            self._consumer.assign([place])
            self._consumer.seek(place, span.begin)
            position, since = span.begin, time.monotonic()
            while position < span.end:
                found = await self._consumer.getmany(place, timeout_ms=POLL_MS, max_records=RECORDS_MAX)
                records = [record for record in found.get(place, ()) if record.offset < span.end]
                if records:
                    yield records
                # The position, and not the last record, tells the end: a log may end with markers of transactions.
                before, position = position, await self._consumer.position(place)
                if position > before:
                    since = time.monotonic()
                elif time.monotonic() - since > READ_TIMEOUT_S:
                    raise TimeoutError(f"no record from offset {position} on within {READ_TIMEOUT_S:.0f} s")

    async def read_places(self, topic: str, partition: int, offsets: Iterable[int]) -> AsyncIterator[Any]:
        """Yield the records at ascending offsets; those that are not there are left out."""
        wanted = list(offsets)
        start = 0
        while start < len(wanted):
            stop = start + 1
            while stop < len(wanted) and wanted[stop] - wanted[stop - 1] <= SKIPPED_MAX:
                stop += 1
            chosen = set(wanted[start:stop])
            async for records in self.read(topic, Span(partition, wanted[start], wanted[stop - 1] + 1)):
                for record in records:
                    if record.offset in chosen:
                        yield record
            start = stop

    async def committed(self, group_id: str) -> dict[tuple[str, int], int]:
        """Return how far a consumer group has got, by topic and partition."""
        with self._said(f"the offsets of group {group_id} could not be read from Kafka"):
            admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
            try:
                await admin.start()
                found = await admin.list_consumer_group_offsets(group_id)
            finally:
                await admin.close()
            return {(place.topic, place.partition): entry.offset for place, entry in found.items()}
