"""Sending: order, partitions, bounds and errors, on a broker in memory; then on a real one."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from licmeter.producers import sending
from licmeter.producers.errors import ProducerError, SendError
from licmeter.producers.producing import BATCH_BYTES_MAX
from licmeter.producers.sending import OffsetSpan, send_events

PARTITIONS = [0, 1, 2]
Pair = tuple[bytes | None, bytes | None]


class Stored(NamedTuple):
    offset: int


class MemoryBroker:
    """Answers as a producer does, and keeps what it was given; `failing` is the answer to a batch by its number."""

    def __init__(self, failing: dict[int, Exception] | None = None) -> None:
        self.failing = failing or {}
        self.batches: list[tuple[int, list[Pair]]] = []
        self.waiting_bytes = 0
        self.waiting_bytes_max = 0

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES_MAX, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Stored]:
        loop = asyncio.get_running_loop()
        size = batch.size()
        stored = Stored(len(self.partition(partition)))
        self.batches.append((partition, [(r.key, r.value) for r in DefaultRecordBatch(bytes(batch._build()))]))
        self.waiting_bytes += size
        self.waiting_bytes_max = max(self.waiting_bytes, self.waiting_bytes_max)
        future: asyncio.Future[Stored] = loop.create_future()
        loop.call_later(0.001, self._answer, future, size, self.failing.get(len(self.batches) - 1, stored))
        return future

    def _answer(self, future: asyncio.Future[Stored], size: int, answer: Stored | Exception) -> None:
        self.waiting_bytes -= size
        if isinstance(answer, Stored):
            future.set_result(answer)
        else:
            future.set_exception(answer)

    def partition(self, number: int) -> list[Pair]:
        return [pair for partition, pairs in self.batches if partition == number for pair in pairs]


async def send(broker: MemoryBroker, records: list[Pair], sent: list[int] | None = None) -> list[OffsetSpan]:
    on_sent = None if sent is None else sent.append
    return await sending._Sending(broker, "memory", "t", PARTITIONS, on_sent).run(records)  # type: ignore[arg-type]


def pairs(number: int, size: int = 200) -> list[Pair]:
    random = Random(number)
    return [(b"org%d" % random.randrange(20), b"%06d" % n + b"x" * size) for n in range(number)]


async def test_every_partition_keeps_its_order() -> None:
    broker, records = MemoryBroker(), pairs(20_000)
    sent: list[int] = []
    spans = await send(broker, records, sent)
    partitioner = DefaultPartitioner()
    for number in PARTITIONS:
        expected = [pair for pair in records if partitioner(pair[0], PARTITIONS, PARTITIONS) == number]
        assert expected
        assert broker.partition(number) == expected
        offsets = [n for s in spans if s.partition == number for n in range(s.first, s.last + 1)]
        assert sorted(offsets) == list(range(len(expected)))
    assert sent == sorted(sent)
    assert sent[-1] == 20_000


async def test_a_large_record_goes_alone_and_in_its_place() -> None:
    large = (b"org1", b"y" * (2 * BATCH_BYTES_MAX))
    records: list[Pair] = [(b"org1", b"before"), large, (b"org1", b"after")]
    broker = MemoryBroker()
    await send(broker, records)
    assert [batch for _, batch in broker.batches] == [[record] for record in records]


async def test_records_without_key_or_value() -> None:
    broker = MemoryBroker()
    await send(broker, [(None, b"a"), (b"k", None), (None, b"b"), (b"k", b"")])
    assert broker.partition(sending.KEYLESS_PARTITION)[:2] == [(None, b"a"), (None, b"b")]
    assert [pair for _, batch in broker.batches for pair in batch if pair[0]] == [(b"k", None), (b"k", b"")]
    with pytest.raises(SendError, match="record 1 has neither key nor value"):
        await send(MemoryBroker(), [(b"k", b"v"), (None, None)])


async def test_what_is_on_its_way_has_a_bound() -> None:
    broker = MemoryBroker()
    await send(broker, pairs(400, size=100_000))
    assert sum(len(batch) for _, batch in broker.batches) == 400
    assert broker.waiting_bytes_max <= sending.IN_FLIGHT_BYTES_MAX


async def test_nothing_to_send_is_nothing_sent() -> None:
    broker = MemoryBroker()
    assert await send(broker, []) == []
    assert broker.batches == []


@pytest.mark.parametrize("error", [MessageSizeTooLargeError("too large"), KafkaTimeoutError()], ids=repr)
async def test_a_refused_batch_ends_the_run_and_says_what_is_sure(error: Exception) -> None:
    broker = MemoryBroker(dict.fromkeys(range(10, 100), error))
    with pytest.raises(SendError, match=r"sending to t at memory ended after \d+ confirmed records") as caught:
        await send(broker, pairs(400, size=100_000))
    assert isinstance(caught.value, ProducerError)
    assert caught.value.sent == sum(len(batch) for _, batch in broker.batches[:10])
    assert caught.value.topic == "t"


async def test_no_broker_is_an_error_soon() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SendError, match=f"Kafka at {address} cannot be reached") as caught:
            await send_events(address, [(b"k", b"v")], connect_timeout_s=2)
    assert caught.value.bootstrap_servers == address


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def hold() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=hold)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


async def test_a_broker_that_says_nothing_is_an_error_soon(silent_server: str) -> None:
    with pytest.raises(SendError, match="cannot be reached: "):
        await send_events(silent_server, [(b"k", b"v")], connect_timeout_s=0.3)
