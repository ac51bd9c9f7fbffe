"""Nothing is acknowledged that the broker has not."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder

from licmeter.producers.errors import SendError
from licmeter.producers.gateway.publishing import Publisher, _Lane
from licmeter.producers.producing import BATCH_BYTES_MAX


class MemoryProducer:
    """Keeps batches until it is told to go on, or fails with an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.go_on = asyncio.Event()
        self.batches: list[int] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES_MAX, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        self.batches.append(batch.record_count())
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def answer() -> None:
            await self.go_on.wait()
            if self.error is None:
                future.set_result(None)
            else:
                future.set_exception(self.error)

        self._task = asyncio.create_task(answer())
        return future


def publisher(producer: Any, ack_timeout_s: float = 5.0) -> Publisher:
    made = Publisher("nowhere:9092", ack_timeout_s=ack_timeout_s)
    made._producer, made._lanes = producer, [_Lane()]
    return made


async def waiting(made: Publisher, *values: bytes) -> "asyncio.Task[None]":
    task = asyncio.create_task(made.publish(b"300417", values))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_what_comes_meanwhile_goes_together_and_nothing_is_confirmed_before_the_broker_has_it() -> None:
    producer = MemoryProducer()
    made = publisher(producer)
    tasks = [await waiting(made, b"a"), await waiting(made, b"b", b"c"), await waiting(made, b"d")]
    assert producer.batches == [1]
    assert not any(task.done() for task in tasks)
    producer.go_on.set()
    await asyncio.gather(*tasks)
    assert producer.batches == [1, 3]
    assert not made.failing


@pytest.mark.parametrize(
    "error", [KafkaConnectionError(), OSError("gone"), ValueError("of the client"), RuntimeError()]
)
async def test_whatever_fails_nobody_is_told_that_it_is_there(error: Exception) -> None:
    producer = MemoryProducer(error)
    producer.go_on.set()
    made = publisher(producer)
    with pytest.raises(SendError, match="refused or did not answer"):
        await made.publish(b"300417", [b"a"])
    assert made.failing
    producer.error = None
    await made.publish(b"300417", [b"a"])
    assert not made.failing


async def test_a_broker_that_says_nothing_is_a_failure_in_time() -> None:
    made = publisher(MemoryProducer(), ack_timeout_s=0.05)
    with pytest.raises(SendError, match="did not acknowledge within"):
        await made.publish(b"300417", [b"a"])
    assert made.failing


async def test_who_waits_while_the_gateway_ends_is_told_that_it_is_not_there() -> None:
    made = publisher(MemoryProducer())
    task = await waiting(made, b"a")
    for each in made._tasks:
        each.cancel()
    with pytest.raises(SendError, match="the gateway stops"):
        await task
