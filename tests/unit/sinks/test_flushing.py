import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from licmeter.sinks.blocks import ROWS_TABLE
from licmeter.sinks.conversion import Undecodable
from licmeter.sinks.flushing import Bounds, SinkLoop
from licmeter.sinks.records import Record
from licmeter.sinks.stats import SinkStats
from tests.unit.sinks.records import FakeRecord, attribution_blocks, attribution_row

P0 = TopicPartition("usage.attributed", 0)


def record(offset: int) -> FakeRecord:
    (block,) = attribution_blocks([attribution_row(source_offset=offset)])
    return replace(block, offset=offset)


class FakeConsumer:
    def __init__(self, *polls: Sequence[FakeRecord]) -> None:
        self.polls = [list(records) for records in polls]
        self.committed: list[Mapping[TopicPartition, int]] = []
        self.failures = 0
        self.on_poll: Callable[[], object] | None = None

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Record]]:
        await asyncio.sleep(0)
        if self.on_poll is not None:
            found = self.on_poll()
            if asyncio.iscoroutine(found):
                await found
        return {P0: self.polls.pop(0)} if self.polls else {}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.failures:
            self.failures -= 1
            raise CommitFailedError
        self.committed.append(offsets)


class FakeWriter:
    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.written: list[int] = []
        self.attempts = 0
        self.attempted = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, tables: Mapping[str, pa.RecordBatch]) -> None:
        self.attempts += 1
        self.attempted.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("nobody is there")
        if ROWS_TABLE in tables:
            self.written += tables[ROWS_TABLE]["source_offset"].to_pylist()


class Rig:
    def __init__(self, consumer: FakeConsumer, writer: FakeWriter, *, rows_max: int = 1) -> None:
        self.consumer, self.writer = consumer, writer
        self.stop = asyncio.Event()
        self.stats = SinkStats()
        self.forwarded: list[Undecodable] = []
        bounds = Bounds(
            flush_interval_s=60, rows_max=rows_max, bytes_max=2**30, poll_records_max=10, retry_wait_s_max=0.001
        )
        self.loop = SinkLoop(consumer, writer, self._forward, bounds=bounds, stop=self.stop, stats=self.stats)

    async def _forward(self, records: Sequence[Undecodable]) -> None:
        self.forwarded += records

    async def run_until(self, condition: Callable[[], bool]) -> None:
        task = asyncio.create_task(self.loop.run())
        async with asyncio.timeout(5):
            while not condition():
                assert not task.done()
                await asyncio.sleep(0)
        self.stop.set()
        await task


async def test_offsets_are_committed_after_the_rows_are_in() -> None:
    rig = Rig(FakeConsumer([record(0), record(1)], [record(2)]), FakeWriter())
    await rig.run_until(lambda: len(rig.consumer.committed) == 2)
    assert rig.writer.written == [0, 1, 2]
    assert rig.consumer.committed == [{P0: 2}, {P0: 3}]


async def test_a_failing_clickhouse_is_tried_again_and_nothing_is_committed_before() -> None:
    writer = FakeWriter(failures=5)
    rig = Rig(FakeConsumer([record(0)]), writer)
    await rig.run_until(lambda: bool(rig.consumer.committed))
    assert (writer.written, writer.attempts, rig.stats.retries) == ([0], 6, 5)


async def test_a_stop_writes_what_is_gathered() -> None:
    rig = Rig(FakeConsumer([record(0)]), FakeWriter(), rows_max=1000)
    await rig.run_until(lambda: not rig.consumer.polls)
    assert rig.writer.written == [0]
    assert rig.consumer.committed == [{P0: 1}]


async def test_a_rebalance_drops_what_is_gathered_and_not_written() -> None:
    rig = Rig(FakeConsumer([record(0)]), FakeWriter(), rows_max=1000)
    polled = 0

    async def revoke_at_second_poll() -> None:
        nonlocal polled
        polled += 1
        if polled == 2:
            await rig.loop.on_revoked()

    rig.consumer.on_poll = revoke_at_second_poll
    await rig.run_until(lambda: polled > 2)
    assert (rig.writer.written, rig.consumer.committed) == ([], [])
    assert rig.stats.dropped_rows == 1


async def test_what_comes_from_a_poll_that_outlasted_a_rebalance_is_kept() -> None:
    """It is of the new assignment, and the position is behind it already: to drop it would be to lose it."""
    rig = Rig(FakeConsumer([record(0)], [record(0), record(1)]), FakeWriter(), rows_max=2)
    polled = 0

    async def revoke_during_second_poll() -> None:
        nonlocal polled
        polled += 1
        if polled == 2:
            await rig.loop.on_revoked()

    rig.consumer.on_poll = revoke_during_second_poll
    await rig.run_until(lambda: bool(rig.consumer.committed))
    assert (rig.writer.written, rig.consumer.committed) == ([0, 1], [{P0: 2}])


async def test_a_flush_under_way_ends_and_commits_before_a_rebalance() -> None:
    writer = FakeWriter()
    writer.gate.clear()
    rig = Rig(FakeConsumer([record(0)]), writer)
    task = asyncio.create_task(rig.loop.run())
    await writer.attempted.wait()
    revoked = asyncio.create_task(rig.loop.on_revoked())
    await asyncio.sleep(0)
    assert not revoked.done()
    writer.gate.set()
    await revoked
    assert rig.consumer.committed == [{P0: 1}]
    assert rig.stats.dropped_rows == 0
    rig.stop.set()
    await task


async def test_a_rebalance_ends_the_retries() -> None:
    writer = FakeWriter(failures=10**9)
    rig = Rig(FakeConsumer([record(0)]), writer)
    task = asyncio.create_task(rig.loop.run())
    await writer.attempted.wait()
    async with asyncio.timeout(2):
        await rig.loop.on_revoked()
    assert rig.consumer.committed == []
    rig.stop.set()
    await task


async def test_a_failed_commit_is_made_up_for() -> None:
    consumer = FakeConsumer([record(0)])
    consumer.failures = 1
    rig = Rig(consumer, FakeWriter())
    await rig.run_until(lambda: bool(consumer.committed))
    assert rig.writer.written == [0]
    assert consumer.committed == [{P0: 1}]
    assert rig.stats.commit_failures == 1


async def test_undecodable_records_are_forwarded_before_their_offset_is_committed() -> None:
    rig = Rig(FakeConsumer([FakeRecord(b"?", offset=0), record(1)]), FakeWriter(failures=2))
    await rig.run_until(lambda: bool(rig.consumer.committed))
    assert [undecodable.record.offset for undecodable in rig.forwarded] == [0]  # once, in spite of the retries
    assert rig.writer.written == [1]
    assert rig.consumer.committed == [{P0: 2}]
