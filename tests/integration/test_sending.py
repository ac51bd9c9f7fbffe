"""Sending through the real broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from licmeter.producers.errors import SendError
from licmeter.producers.sending import send_events
from licmeter.producers.simulation import Fleet, load_scenario
from tests.unit.producers.simulation.against_core import NOW

pytestmark = pytest.mark.integration

Pair = tuple[bytes | None, bytes | None]
PARTITIONS = [0, 1, 2]


@asynccontextmanager
async def topic_of(servers: str, name: str) -> AsyncIterator[list[TopicPartition]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(12 * 1024 * 1024)}
        await admin.create_topics([NewTopic(name, len(PARTITIONS), 1, topic_configs=configs)])
        yield [TopicPartition(name, partition) for partition in PARTITIONS]
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def consume(servers: str, partitions: list[TopicPartition]) -> dict[int, list[Pair]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, max_partition_fetch_bytes=16 * 1024 * 1024
    )
    async with consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        missing = sum((await consumer.end_offsets(partitions)).values())
        found: dict[int, list[Pair]] = {partition.partition: [] for partition in partitions}
        while missing:
            for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
                found[partition.partition] += [(record.key, record.value) for record in records]
                missing -= len(records)
    return found


async def test_a_real_broker_gets_a_fleets_records_in_their_order(kafka: Any) -> None:
    scenario = load_scenario(
        organizations=10, devices=50, reports=20_000, large_payloads=2, large_payload_bytes=10 * 1024 * 1024
    )
    fleet = Fleet(scenario, now=NOW, seed=1, run="t")
    expected = list(fleet.emissions())
    async with topic_of(kafka.bootstrap_servers, "sending") as partitions:
        spans = await send_events(kafka.bootstrap_servers, expected, topic="sending")
        found = await consume(kafka.bootstrap_servers, partitions)
    assert sum(span.count for span in spans) == len(expected)
    partitioner = DefaultPartitioner()
    for number in PARTITIONS:
        assert found[number] == [
            (e.key, e.value)
            for e in expected
            if (0 if e.key is None else partitioner(e.key, PARTITIONS, PARTITIONS)) == number
        ]


async def test_a_real_broker_without_the_topic_is_an_error_and_makes_none(kafka: Any) -> None:
    for _ in range(2):
        with pytest.raises(SendError, match="has no topic nowhere; `licmeter topics apply` creates it"):
            await send_events(kafka.bootstrap_servers, [(b"k", b"v")], topic="nowhere", topic_wait_s=0.5)


async def test_a_real_broker_refuses_what_is_too_large(kafka: Any) -> None:
    noise = Random(1).randbytes(12_900_000)
    async with topic_of(kafka.bootstrap_servers, "too-large"):
        with pytest.raises(SendError, match="ended after 0 confirmed records"):
            await send_events(kafka.bootstrap_servers, [(b"k", noise)], topic="too-large")
