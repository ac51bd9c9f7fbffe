"""The log is asked what it holds at and after an offset: the judge of whether a batch is in its place."""

import uuid

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.stream import continuity
from licmeter.stream.continuity import first_offset_from

pytestmark = pytest.mark.integration

FETCH_BYTES = 1024 * 1024


@pytest.fixture
async def topic(kafka: EmbeddedKafka) -> str:
    """A topic with records 0 to 4."""
    name, servers = f"continuity-{uuid.uuid4().hex}", kafka.bootstrap_servers
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for number in range(5):
                await producer.send_and_wait(name, b"%d" % number, partition=0)
    finally:
        await admin.close()
    return name


@pytest.mark.parametrize("offset", [0, 3, 4])
async def test_a_record_that_is_there_is_found(kafka: EmbeddedKafka, topic: str, offset: int) -> None:
    assert await first_offset_from(kafka.bootstrap_servers, topic, 0, offset, FETCH_BYTES) == offset


async def test_the_markers_of_a_transaction_are_a_real_hole(kafka: EmbeddedKafka, topic: str) -> None:
    servers = kafka.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id=uuid.uuid4().hex) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"in a transaction", partition=0)  # 5, and its marker at 6
        async with producer.transaction():
            await producer.send_and_wait(topic, b"in another", partition=0)
    assert await first_offset_from(servers, topic, 0, 6, FETCH_BYTES) == 7


async def test_nothing_there_is_said_in_time(kafka: EmbeddedKafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuity, "READ_TIMEOUT_S", 1.0)
    with pytest.raises(TimeoutError):
        await first_offset_from(kafka.bootstrap_servers, topic, 0, 5, FETCH_BYTES)
