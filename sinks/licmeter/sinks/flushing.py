"""The sink's loop: gather, write, commit; and what a rebalance, a failing ClickHouse or a stop does to that.

Theory of operation. Records are gathered until a bound of rows, bytes or time is met. A flush writes them and only
then commits their offsets, so a crash at any point repeats rows and never loses any; the tables make repeats
harmless. While ClickHouse fails, the flush is tried again for ever, with growing pauses, and nothing is polled.

A rebalance takes all partitions away at once (aiokafka's protocol is the eager one) and gives positions back from
what is committed. So on revocation a flush that is under way may finish and commit, within a bound; whatever is not
written by then is dropped and will be read again by the partition's next owner. `_epoch` counts revocations: what
was written under an older epoch is not committed.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from licmeter.sinks.conversion import RowBatch, Undecodable
from licmeter.sinks.records import Record
from licmeter.sinks.stats import SinkStats, log_event

__all__ = ["Bounds", "Consumer", "SinkLoop", "Writer"]

#: How soon a stop is noticed while nothing comes.
_POLL_S_MAX: Final = 0.5
#: A flush under way may hold up a rebalance this long; well below the group's rebalance timeout (the session's, 10 s).
_REVOKE_WAIT_S: Final = 5.0
#: The last flush before the end; a supervisor's patience is usually 10 s.
_STOP_FLUSH_S: Final = 8.0
_RETRY_WAIT_S_MIN: Final = 0.1


class Consumer(Protocol):
    """What the loop needs of a consumer in a group."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return what has come, or nothing after the timeout."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets to read next."""
        ...


class Writer(Protocol):
    """What the loop needs of ClickHouse."""

    async def write(self, tables: Mapping[str, pa.RecordBatch]) -> None:
        """Insert all; on an error some may be in."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """When to flush, and how long to wait after a failure. A poll may exceed rows and bytes by its own size."""

    flush_interval_s: float
    rows_max: int
    bytes_max: int
    poll_records_max: int
    retry_wait_s_max: float


class SinkLoop:
    """Moves records of one consumer into ClickHouse."""

    def __init__(
        self,
        consumer: Consumer,
        writer: Writer,
        forward: Callable[[Sequence[Undecodable]], Awaitable[None]],
        *,
        bounds: Bounds,
        stop: asyncio.Event,
        stats: SinkStats,
    ) -> None:
        self._consumer = consumer
        self._writer = writer
        self._forward = forward
        self._bounds = bounds
        self._stop = stop
        self._stats = stats
        self._flushing = asyncio.Lock()
        self._revoking = asyncio.Event()
        self._epoch = 0
        self._batch = RowBatch()
        self._began = 0.0
        self._offsets: dict[TopicPartition, int] = {}
        self._written: dict[TopicPartition, int] = {}  # in ClickHouse, not committed yet

    async def run(self) -> None:
        """Run until stopped; then write and commit what is at hand, if that can be done soon."""
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(_STOP_FLUSH_S):
                await working
        except TimeoutError:
            # Not committed, so it is read again after the next start.
            log_event(logging.WARNING, "sink_stopped_unflushed", rows=self._batch.rows)
        finally:
            working.cancel()
            stopping.cancel()

    async def _work(self) -> None:
        while not self._stop.is_set():
            await self._poll()
            if self._is_due():
                await self.flush()
        await self.flush()

    async def _poll(self) -> None:
        # What comes back belongs to the partitions as they are assigned now, also when a rebalance came in between:
        # aiokafka takes records out of its buffer and returns them in one step, and not while it reassigns.
        polled = await self._consumer.getmany(
            timeout_ms=int(self._poll_s() * 1000), max_records=self._bounds.poll_records_max
        )
        if polled and not self._offsets:
            self._began = time.monotonic()
        for partition, records in polled.items():
            for record in records:
                self._batch.add(record)
            if records:
                self._offsets[partition] = records[-1].offset + 1

    def _poll_s(self) -> float:
        if not self._offsets:
            return _POLL_S_MAX
        return min(_POLL_S_MAX, max(0.0, self._began + self._bounds.flush_interval_s - time.monotonic()))

    def _is_due(self) -> bool:
        if not self._offsets:
            return bool(self._written)
        age_s = time.monotonic() - self._began
        bounds = self._bounds
        full = self._batch.rows >= bounds.rows_max or self._batch.bytes >= bounds.bytes_max
        return full or age_s >= bounds.flush_interval_s

    async def flush(self) -> None:
        """Write what is gathered, then commit it; returns without either if the partitions are taken away."""
        async with self._flushing:
            if self._offsets:
                epoch, batch, offsets = self._epoch, self._batch, self._offsets
                if not await self._write_patiently(batch) or epoch != self._epoch:
                    return
                self._batch, self._offsets = RowBatch(), {}
                self._written.update(offsets)
            await self._commit()

    async def _write_patiently(self, batch: RowBatch) -> bool:
        """Write until it succeeds; False when the partitions are taken away meanwhile."""
        tables = await asyncio.to_thread(batch.tables)
        wait_s, forwarded = _RETRY_WAIT_S_MIN, not batch.undecodable
        while not self._revoking.is_set():
            try:
                if not forwarded:
                    await self._forward(batch.undecodable)
                    forwarded = True
                await self._writer.write(tables)
            except Exception as error:  # whatever it is, the data is good and ClickHouse may recover
                self._stats.retries += 1
                log_event(logging.WARNING, "sink_write_failed", rows=batch.rows, wait_s=round(wait_s, 1), error=error)
                await self._pause(wait_s)
                wait_s = min(wait_s * 2, self._bounds.retry_wait_s_max)
            else:
                self._count(batch, tables)
                return True
        return False

    def _count(self, batch: RowBatch, tables: Mapping[str, pa.RecordBatch]) -> None:
        self._stats.batches += 1
        self._stats.forwarded += len(batch.undecodable)
        self._stats.skipped += batch.skipped
        for name, rows in tables.items():
            self._stats.rows_written[name] += rows.num_rows
        log_event(logging.DEBUG, "sink_written", rows=batch.rows, bytes=batch.bytes, forwarded=len(batch.undecodable))

    async def _pause(self, wait_s: float) -> None:
        """Wait between half and all of the time, so that sinks do not come back all at once; a rebalance ends it."""
        try:
            async with asyncio.timeout(wait_s * random.uniform(0.5, 1.0)):  # noqa: S311  # no secret
                await self._revoking.wait()
        except TimeoutError:
            return

    async def _commit(self) -> None:
        if not self._written:
            return
        try:
            await self._consumer.commit(dict(self._written))
        except KafkaError as error:
            # The rows are in. The next flush commits these offsets too, or a rebalance makes somebody repeat them.
            self._stats.commit_failures += 1
            log_event(logging.WARNING, "sink_commit_failed", error=error)
        else:
            self._stats.commits += 1
            self._written = {}

    async def on_revoked(self) -> None:
        """Let a flush under way end, then drop what is not written; the group waits for this."""
        self._revoking.set()
        try:
            async with asyncio.timeout(_REVOKE_WAIT_S), self._flushing:
                await self._commit()
        except TimeoutError:
            log_event(logging.WARNING, "sink_revoked_while_writing", rows=self._batch.rows)
        self._stats.dropped_rows += self._batch.rows
        self._epoch += 1
        self._batch, self._offsets, self._written = RowBatch(), {}, {}
        self._revoking.clear()
