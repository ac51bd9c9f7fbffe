"""Pins the private names of Faust and its kin that the stream uses, so that an upgrade fails here and says where."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import faust.streams
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition
from faust.assignor.partition_assignor import PartitionAssignor
from faust.events import Event
from faust.stores.rocksdb import Store
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.table import Table
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP, ConsumerMessage
from rocksdict import Rdict

from licmeter.schemas.topics import (
    CATALOGS_CHANGELOG,
    FACTS_CHANGELOG,
    LEVELS_CHANGELOG,
    ORGANIZATIONS_CHANGELOG,
    SEEN_CHANGELOG,
    SLOTS_CHANGELOG,
    USAGE_EVENTS,
)
from licmeter.stream import transport
from licmeter.stream.app import make_app
from licmeter.stream.config import StreamConfig
from licmeter.stream.recovery import BulkTable
from licmeter.stream.transport import BatchingConsumer, BatchScheduler

EVENTS = TP(USAGE_EVENTS.name, 0)
CHANGELOG = TP(SEEN_CHANGELOG.name, 0)


@pytest.mark.parametrize(
    ("package", "series"),
    [("faust-streaming", "0.15.3"), ("mode-streaming", "0.7.1"), ("aiokafka", "0.14"), ("rocksdict", "0.3")],
)
def test_versions(package: str, series: str) -> None:
    """What is pinned here was read in these versions; a new one means reading again."""
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    assert f"{version(package)}.".startswith(f"{series}.")
    assert re.findall(rf"^{package}==(\S+)", lock, re.MULTILINE) == [version(package)]


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Consumer._to_message, ["self", "tp", "record"]),
        (BaseConsumer._new_offset, ["self", "tp"]),
        (BaseConsumer._add_gap, ["self", "tp", "offset_from", "offset_to"]),
        (BaseConsumer.ack, ["self", "message"]),
        (AIOKafkaConsumerThread.seek_wait, ["self", "partitions"]),
        (AIOKafkaConsumerThread._ensure_consumer, ["self"]),
        (AIOKafkaConsumerThread._create_worker_consumer, ["self", "transport"]),
        (AIOKafkaConsumerThread._fetch_records, ["self", "consumer", "active_partitions", "timeout", "max_records"]),
        (Consumer._new_consumer_thread, ["self"]),
        (BaseConsumer.on_buffer_full, ["self", "tp"]),
        (Store._db_for_partition, ["self", "partition"]),
        (Store.persisted_offset, ["self", "tp"]),
        (Table.on_rebalance, ["self", "assigned", "revoked", "newly_assigned", "generation_id"]),
        (PartitionAssignor.assigned_standbys, ["self"]),
        (Stream.noack, ["self"]),
        (AIOKafkaProducer.create_batch, ["self"]),
        (AIOKafkaProducer.send_batch, ["self", "batch", "topic", "partition"]),
        (BatchBuilder.append, ["self", "timestamp", "key", "value", "headers"]),
        (Rdict.items, ["self", "backwards", "from_key", "read_opt"]),
        (Rdict.delete_range, ["self", "begin", "end", "write_opt"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_signatures(function: Any, expected: list[str]) -> None:
    assert parameters(function) == expected


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (BaseConsumer.__init__, ["self._read_offset", "self._acked", "self._unacked_messages"]),
        (BaseConsumer._filter_tps_with_pending_acks, ["self._acked"]),
        (BaseConsumer._drain_messages, ["self._read_offset.__getitem__", "self._read_offset.__setitem__"]),
        (BaseConsumer.on_partitions_revoked, ["self._acked.pop(tp, None)"]),  # what was confirmed is of one ownership
        # Why `on_buffer_full` is overridden: with all partitions stopped, Faust looks again after a second.
        (BaseConsumer._wait_next_records, ["if is_client_only or active_partitions", "await self.sleep(1)"]),
        (Fetcher.__init__, ["self._fetch_max_wait_ms"]),
        (AIOKafkaConsumer.start, ["fetch_max_wait_ms=self._fetch_max_wait_ms"]),
        (BaseConsumer.getmany, ["self.scheduler.iterate(records)", "self._to_message"]),
        # Tables are told before recovery looks where they end, so what was read in bulk is not read again.
        (TableManager.on_rebalance, ["T(table.on_rebalance)", "T(self.recovery.on_rebalance)"]),
        (Stream._py_aiter, ["value is skipped_value", "event.ack()"]),  # why acknowledgments of batches do nothing
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_names_within(function: Any, names: list[str]) -> None:
    source = inspect.getsource(function)
    assert [name for name in names if name not in source] == []


def test_the_store_keeps_its_offset_under_a_known_key() -> None:
    assert Store.offset_key == b"__faust\0offset__"


def test_source_records_come_as_lists_and_changelogs_one_by_one() -> None:
    polled = {EVENTS: ["a", "b"], CHANGELOG: ["c", "d"]}
    assert list(BatchScheduler().iterate(polled)) == [(EVENTS, ["a", "b"]), (CHANGELOG, "c"), (CHANGELOG, "d")]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[faust.App]:
    made = make_app(StreamConfig("127.0.0.1:1", 4, tmp_path))
    yield made
    # Faust makes the loop of its consumer's thread at once, and closes it only when the thread was started.
    made.consumer._thread.thread_loop.close()


async def test_the_app_is_wired_as_meant(app: faust.App) -> None:
    assert type(app.transport) is transport.BatchTransport
    assert type(app.consumer) is BatchingConsumer
    assert isinstance(app.consumer.scheduler, BatchScheduler)
    assert {table.changelog_topic_name for table in app.tables.values()} == {
        ORGANIZATIONS_CHANGELOG.name,
        CATALOGS_CHANGELOG.name,
        SEEN_CHANGELOG.name,
        FACTS_CHANGELOG.name,
        SLOTS_CHANGELOG.name,
        LEVELS_CHANGELOG.name,
    }
    assert all(type(table) is BulkTable for table in app.tables.values())
    assert all(isinstance(table.data, Store) for table in app.tables.values())
    assert app.conf.consumer_auto_offset_reset == "earliest"


async def test_a_full_buffer_stops_no_partition_of_events(app: faust.App) -> None:
    consumer = app.consumer
    consumer._active_partitions = {EVENTS, CHANGELOG}
    consumer.on_buffer_full(EVENTS)
    consumer.on_buffer_full(CHANGELOG)
    assert consumer._get_active_partitions() == {EVENTS}


async def test_a_fetch_that_finds_nothing_is_short(app: faust.App) -> None:
    consumer = app.consumer._thread._create_worker_consumer(app.transport)
    assert consumer._fetch_max_wait_ms == transport.FETCH_WAIT_MS
    await consumer.stop()


async def test_only_changelogs_that_are_read_are_fetched() -> None:
    """The subscription is aiokafka's own, so that what is paused is what is not fetched."""
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    other = TopicPartition(SLOTS_CHANGELOG.name, 0)
    consumer.assign([TopicPartition(*EVENTS), TopicPartition(*CHANGELOG), other])
    for active, paused in (
        ({EVENTS, CHANGELOG}, {other}),
        ({EVENTS}, {CHANGELOG, other}),
        ({CHANGELOG}, {other}),  # events that are not read are left to Faust
        ({EVENTS, CHANGELOG, other}, set()),
    ):
        transport._pause_unread(consumer, active)
        assert consumer.paused() == paused
    await consumer.stop()


def batch(app: faust.App, last: int, generation: int = 1) -> ConsumerMessage:
    app.consumer_generation_id = 1
    records = [SimpleNamespace(offset=n, timestamp=1, timestamp_type=1) for n in range(last + 1)]
    message = app.consumer._to_message(EVENTS, records)
    message.generation_id = generation
    return message


async def test_only_a_confirmed_batch_can_be_committed(app: faust.App) -> None:
    consumer, message = app.consumer, batch(app, last=7)
    assert (message.offset, len(message.value)) == (7, 8)
    consumer.ack(message)
    assert consumer._filter_committable_offsets([EVENTS]) == {}
    consumer.confirm(message)
    assert consumer._filter_committable_offsets([EVENTS]) == {EVENTS: 8}


async def test_a_batch_of_an_older_generation_cannot_be_confirmed(app: faust.App) -> None:
    message = batch(app, last=7, generation=0)
    app.consumer.confirm(message)
    assert app.consumer._filter_committable_offsets([EVENTS]) == {}


async def test_a_single_first_record_can_be_committed(app: faust.App) -> None:
    app.consumer.confirm(batch(app, last=0))
    assert app.consumer._filter_committable_offsets([EVENTS]) == {EVENTS: 1}


async def test_batches_that_are_read_again_are_not_dropped(app: faust.App) -> None:
    read = app.consumer._read_offset
    read[EVENTS] = 100
    read[CHANGELOG] = 100
    read.update({EVENTS: 5})
    assert (read[EVENTS], read[CHANGELOG]) == (None, 100)


def test_a_kafka_batch_says_when_it_is_full_and_takes_any_first_record() -> None:
    builder = BatchBuilder(1_000, 0)
    assert builder.append(key=b"k", value=b"x" * 5_000, timestamp=None) is not None
    assert builder.append(key=b"k", value=b"x", timestamp=None) is None
    assert builder.record_count() == 1


async def test_the_future_of_a_batch_has_its_first_offset() -> None:
    from aiokafka.producer.message_accumulator import MessageBatch

    made = MessageBatch(TopicPartition("t", 0), BatchBuilder(1_000, 0), 10, 0)
    made.done(base_offset=42)
    assert (await asyncio.wait_for(made.future, 1)).offset == 42


async def run_stream(app: faust.App, message: ConsumerMessage, *, acks: bool) -> dict[TP, int]:
    """Let a stream take one message; return what could be committed then."""
    topic = app.topic(EVENTS.topic)
    app.topics.acking_topics.add(EVENTS.topic)  # as when the app has started
    app.flow_control.resume()
    message.incref()
    stream = app.stream(topic) if acks else app.stream(topic).noack()
    events = stream.events()
    stream.channel.queue.put_nowait(Event(app, None, message.value, (), message))
    two = [asyncio.ensure_future(anext(events))]
    for _ in range(20):  # turns of the loop; a stream takes a few for each message
        await asyncio.sleep(0)
        if two[-1].done() and len(two) < 2:
            two.append(asyncio.ensure_future(anext(events)))
    two[-1].cancel()
    await asyncio.gather(*two, return_exceptions=True)
    await events.aclose()
    committable: dict[TP, int] = app.consumer._filter_committable_offsets([EVENTS])
    return committable


python_streams = pytest.mark.parametrize("python", [True, False], ids=["python", "cython"])


@python_streams
@pytest.mark.parametrize("generation", [0, 1], ids=["skipped", "delivered"])
async def test_a_stream_commits_no_batch(
    app: faust.App, python: bool, generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python:
        monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    assert await run_stream(app, batch(app, last=7, generation=generation), acks=False) == {}


async def test_stock_python_streams_commit_what_they_skipped(app: faust.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why `ack` is overridden: `noack` does not cover what is skipped."""
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    monkeypatch.setattr(BatchingConsumer, "ack", Consumer.ack)
    assert await run_stream(app, batch(app, last=7, generation=0), acks=False) == {EVENTS: 8}


@pytest.mark.skipif(faust.streams._CStreamIterator is None, reason="this Faust has no compiled streams")
async def test_compiled_streams_commit_without_asking_the_consumer(app: faust.App) -> None:
    """Why the agent takes `noack`: compiled streams write to `_acked` themselves, past our `ack`."""
    assert await run_stream(app, batch(app, last=7), acks=True) == {EVENTS: 8}
