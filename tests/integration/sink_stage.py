"""The sink between the real broker and a real engine, in the test's process."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.topics import ALL_TOPICS, USAGE_ATTRIBUTED, TopicSpec
from licmeter.sinks.sink import TOPICS, SinkConfig, run_sink
from licmeter.sinks.stats import SinkStats
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.kafka_fixture import delete_topics, require_topics
from tests.unit.sinks.records import attribution_blocks, attribution_row

__all__ = ["BLOCK_ROWS", "PARTITIONS", "WAIT_S_MAX", "Running", "Stage", "stage_on", "topics"]

PARTITIONS = 2
BLOCK_ROWS = 50
WAIT_S_MAX = 60.0


class Stage:
    """Fresh topics, a database and a producer."""

    def __init__(self, kafka: EmbeddedKafka, target: ClickHouseTarget, producer: AIOKafkaProducer) -> None:
        self.config = SinkConfig(
            kafka.bootstrap_servers,
            target,
            group_id=f"sink-{uuid.uuid4().hex}",
            flush_interval_s=0.1,
            retry_wait_s_max=0.5,
            session_timeout_s=6.0,
        )
        self.producer = producer
        self.stats = SinkStats()

    async def send(self, topic: TopicSpec, value: bytes | None, **options: Any) -> None:
        await self.producer.send_and_wait(topic.name, value, **options)

    async def send_blocks(self, first: int, count: int) -> None:
        """Send blocks whose rows are numbered from `first * BLOCK_ROWS`."""
        for number in range(first, first + count):
            rows = [
                attribution_row(source_offset=number * BLOCK_ROWS + row, quantity=1, line=0)
                for row in range(BLOCK_ROWS)
            ]
            (record,) = attribution_blocks(rows)
            await self.send(USAGE_ATTRIBUTED, record.value, partition=number % PARTITIONS)

    async def ends(self) -> dict[TopicPartition, int]:
        """Return where the sink's topics end."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.config.bootstrap_servers)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
            found: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            return found
        finally:
            await consumer.stop()

    def read(self, sql: str) -> Any:
        client = self.config.target.connect(final=1)
        try:
            return client.query(sql).result_rows
        finally:
            client.close()

    def counts(self) -> tuple[int, int]:
        ((rows, different),) = self.read("SELECT count(), uniqExact(source_offset) FROM usage_attributed")
        return rows, different

    async def until(self, condition: Callable[[], bool]) -> None:
        """Poll, because what it waits for happens in other processes."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


class Running:
    """A sink in this process; `config` may differ from the stage's, and `stats` are the stage's unless told."""

    def __init__(self, stage: Stage, *, stats: SinkStats | None = None, **config: Any) -> None:
        self._config = dataclasses.replace(stage.config, **config)
        self.stats = stage.stats if stats is None else stats

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(run_sink(self._config, self._stop, self.stats))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task


@pytest.fixture
async def topics(kafka: EmbeddedKafka) -> None:
    """The sink's topics, empty: their names are fixed, so the tests share them one after the other."""
    await delete_topics(kafka, TOPICS)
    await require_topics(kafka, [spec for spec in ALL_TOPICS if spec.name in TOPICS], PARTITIONS)


@asynccontextmanager
async def stage_on(kafka: EmbeddedKafka, target: ClickHouseTarget) -> AsyncIterator[Stage]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        yield Stage(kafka, target, producer)
    finally:
        await producer.stop()
