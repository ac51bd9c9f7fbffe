"""One producer for all that is sent, also when several of the first sends begin side by side."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from licmeter.stream import kafka
from licmeter.stream.outputs import OutputRecord


class Producer:
    """Takes a moment to start, and knows how many of it were made."""

    made = 0

    def __init__(self, **_: Any) -> None:
        Producer.made += 1

    async def start(self) -> None:
        await asyncio.sleep(0)

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: object(), record_count=lambda: 1)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(SimpleNamespace(offset=partition))
        return future


async def test_sends_side_by_side_share_one_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(Producer, "made", 0)
    writer = kafka.KafkaWriter("127.0.0.1:1", client_id="test")
    stored = await asyncio.gather(*(writer.append("t", number, [OutputRecord(b"k", b"v")]) for number in range(8)))
    assert [each.first for each in stored] == list(range(8))
    assert Producer.made == 1
