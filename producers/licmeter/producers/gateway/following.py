"""Keeps a gateway's memory current: catalogs and counters from their beginning, verdicts from a little while ago."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from licmeter.producers.errors import SendError
from licmeter.producers.gateway.directory import Directory
from licmeter.schemas.catalog import Organization
from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.schemas.topics import LICENSE_CATALOG, LICENSE_COUNTERS, LICENSE_VERDICTS
from licmeter.schemas.verdicts import Verdict, parse_verdict

__all__ = ["Follower"]

#: How far back verdicts are read at the start: a client whose answer was lost asks again within that time.
VERDICTS_BACK_S: Final = 600
START_TIMEOUT_S: Final = 60.0
POLL_MS: Final = 500
#: After a failure of the broker; short, as nothing is answered without what is followed.
RETRY_WAIT_S: Final = 1.0
#: The largest document is 4 MB.
FETCH_BYTES_MAX: Final = 8 * 1024 * 1024

_log = structlog.get_logger("licmeter.gateway")


class Follower:
    """Reads three topics into the directory, and hands verdicts on."""

    def __init__(self, bootstrap_servers: str, directory: Directory, on_verdict: Callable[[Verdict], None]) -> None:
        self._servers = bootstrap_servers
        self._directory = directory
        self._on_verdict = on_verdict
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._ends: dict[TopicPartition, int] = {}
        self.ready = asyncio.Event()
        self.failing = False

    async def start(self) -> None:
        """Connect, read all that is there, and go on in the background. Raises `SendError`."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            client_id="licmeter-gateway",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        self._consumer = consumer
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await consumer.start()
                await self._assign(consumer)
                self._task = asyncio.create_task(self._follow(consumer))
                await self.ready.wait()
        except (KafkaError, OSError) as error:
            await self.stop()
            raise SendError(
                f"Kafka at {self._servers} cannot be followed: {str(error) or type(error).__name__}",
                bootstrap_servers=self._servers,
                topic=LICENSE_CATALOG.name,
            ) from error

    async def stop(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError):
                await consumer.stop()

    @property
    def alive(self) -> bool:
        """Whether what is known stays current."""
        return self._task is not None and not self._task.done() and not self.failing

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        metadata = await consumer._client.fetch_all_metadata()
        places: dict[str, list[TopicPartition]] = {}
        for topic in (LICENSE_CATALOG.name, LICENSE_COUNTERS.name, LICENSE_VERDICTS.name):
            partitions = metadata.partitions_for_topic(topic)
            if not partitions:
                raise KafkaError(f"there is no topic {topic}; `licmeter topics apply` creates it")
            places[topic] = [TopicPartition(topic, number) for number in sorted(partitions)]
        consumer.assign([place for group in places.values() for place in group])
        state = [*places[LICENSE_CATALOG.name], *places[LICENSE_COUNTERS.name]]
        await consumer.seek_to_beginning(*state)
        await self._seek_verdicts(consumer, places[LICENSE_VERDICTS.name])
        self._ends = await consumer.end_offsets(state)

    async def _seek_verdicts(self, consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> None:
        since_ms = round((time.time() - VERDICTS_BACK_S) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        ends = await consumer.end_offsets(places)
        for place in places:
            at = found.get(place)
            consumer.seek(place, ends[place] if at is None else at.offset)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._note_progress(consumer)
                batches = await consumer.getmany(timeout_ms=POLL_MS)
                self.failing = False
            except (KafkaError, OSError) as error:
                self.failing = True
                _log.warning("following_failed", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_WAIT_S)
                continue
            for place, records in batches.items():
                for record in records:
                    self._take(place.topic, record)

    async def _note_progress(self, consumer: AIOKafkaConsumer) -> None:
        if self.ready.is_set():
            return
        for place, end in self._ends.items():
            if await consumer.position(place) < end:
                return
        self.ready.set()

    def _take(self, topic: str, record: Any) -> None:
        try:
            if topic == LICENSE_CATALOG.name:
                self._take_catalog(record)
            elif topic == LICENSE_COUNTERS.name:
                if record.value is not None:
                    counters = parse_counters(record.value)
                    if isinstance(counters, ItemCounters):
                        self._directory.note(counters)
            elif record.value is not None:
                self._on_verdict(parse_verdict(record.value))
        except Exception as error:
            # Of a later version, perhaps. One record that cannot be read must not stop all others.
            _log.error("record_unreadable", topic=topic, offset=record.offset, error=type(error).__name__)

    def _take_catalog(self, record: Any) -> None:
        if record.value is None:
            self._directory.remove(record.key.decode())
        else:
            self._directory.adopt(Organization.model_validate_json(record.value))
