"""The agent's work: a batch in, computed, flushed, confirmed."""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, ConsumerMessage

from licmeter.schemas.topics import USAGE_EVENTS
from licmeter.stream.batch import BatchResult, InputRecord, process_batch
from licmeter.stream.checks import LevelBook, check_partition, latest_check
from licmeter.stream.config import StreamConfig
from licmeter.stream.continuity import first_offset_from
from licmeter.stream.errors import FlushAbandonedError
from licmeter.stream.flush import flush
from licmeter.stream.kafka import KafkaWriter
from licmeter.stream.partition import PartitionState, forget_old, load_partition
from licmeter.stream.tables import FaustStore

__all__ = ["Counting"]

_log = structlog.get_logger("licmeter.stream")

#: How long the worker may take to stop in order after a failure, before it ends itself.
STOP_TIMEOUT_S: Final = 15.0
EXIT_FAILED: Final = 70
#: With no batch for so long, what was fetched must have been counted.
IDLE_S: Final = 3.0
READ_AGAIN_MAX: Final = 3
#: A check waits so long for a partition to be counted to its end; then it takes what is counted so far.
CHECK_PATIENCE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_LOG_TIME_APPEND: Final = 1  # Kafka's timestamp type for the broker's clock


class Counting:
    """Holds the state of the partitions that this worker owns, for as long as it owns them."""

    def __init__(
        self, app: faust.App, tables: Mapping[str, faust.Table], writer: KafkaWriter, config: StreamConfig
    ) -> None:
        self._app = app
        self._tables = tables
        self._writer = writer
        self._config = config
        self._generation: int | None = None
        self._partitions: dict[int, PartitionState] = {}
        self._loading = asyncio.Lock()
        self._levels: dict[int, LevelBook] = {}
        self._checked: dict[int, int] = {}  # by partition: the instant of its last check
        self._expected: dict[int, int] = {}  # by partition: the offset that the next batch must begin at, or before
        self._last_day: dict[int, int] = {}
        self._busy = False
        self._last_batch_at = 0.0
        self._read_again: Counter[tuple[int, int]] = Counter()  # by partition and fetched offset
        self._failed = False

    async def on_batch(self, message: ConsumerMessage) -> None:
        """Count one batch. After a failure nothing is counted any more, and the worker ends."""
        if self._failed:
            return
        self._busy = True
        try:
            await self._count(message)
        except FlushAbandonedError as error:
            self._partitions.clear()
            self._levels.clear()
            _log.info("batch_abandoned", reason=str(error))
        except Exception as error:
            self._fail(error)
        finally:
            self._busy = False
            self._last_batch_at = asyncio.get_running_loop().time()

    async def check_alerts(self, now_ms: int) -> None:
        """Run the ten-minute check where it is due; after a stop that is one check, on the current state (W11)."""
        check_ms = latest_check(now_ms)
        if self._failed or self._app.in_recovery:
            return
        try:
            for tp in [each for each in self._app.consumer.assignment() if each.topic == USAGE_EVENTS.name]:
                if self._checked.get(tp.partition, -1) < check_ms:
                    await self._check(tp, check_ms, now_ms)
        except FlushAbandonedError as error:
            self._levels.clear()
            self._checked.clear()
            _log.info("check_abandoned", reason=str(error))
        except (KafkaError, ConsumerNotStarted) as error:
            # Sending and loading are tried again with the next tick; what was sent then goes out again.
            self._levels.clear()
            self._checked.clear()
            _log.warning("check_failed", error=repr(error))

    async def _check(self, tp: TP, check_ms: int, now_ms: int) -> None:
        generation = self._app.consumer_generation_id
        state = await self._state(tp, generation)
        highwater = self._app.consumer.highwater(tp)
        behind = highwater is not None and self._expected[tp.partition] < highwater
        if behind and now_ms < check_ms + CHECK_PATIENCE_MS:
            return
        levels = self._levels.setdefault(tp.partition, LevelBook(state))
        alerts = await check_partition(state, levels, check_ms, self._writer, lambda: self._is_mine(tp, generation))
        self._checked[tp.partition] = check_ms
        if alerts:
            _log.info("usage_alerts_sent", partition=tp.partition, alerts=alerts)

    async def check_progress(self) -> None:
        """Read again what was fetched and never delivered: with nothing behind it, no batch would show the hole."""
        consumer = self._app.consumer
        idle_s = asyncio.get_running_loop().time() - self._last_batch_at
        if self._busy or idle_s < IDLE_S or self._failed or self._app.in_recovery:
            return
        try:
            await self._read_undelivered(consumer)
        except (KafkaError, ConsumerNotStarted) as error:
            # A rebalance began in between; the next look comes in a moment.
            _log.info("progress_not_checked", error=repr(error))

    async def _read_undelivered(self, consumer: Any) -> None:
        for tp in [each for each in consumer.assignment() if each.topic == USAGE_EVENTS.name]:
            fetched = await consumer.fetched_to(tp)
            loaded = self._generation == self._app.consumer_generation_id and tp.partition in self._partitions
            expected = self._expected[tp.partition] if loaded else await consumer.committed(tp)
            place = (tp.partition, fetched)
            # After some attempts there is nothing there: the log ends with the markers of a transaction.
            if fetched > expected and self._read_again[place] < READ_AGAIN_MAX and not self._busy:
                self._read_again[place] += 1
                _log.warning("records_not_delivered", partition=tp.partition, expected=expected, fetched=fetched)
                await consumer.read_again(tp, expected)

    async def _count(self, message: ConsumerMessage) -> None:
        if message.generation_id != self._app.consumer_generation_id:
            return  # fetched before a rebalance: it comes again, to whoever owns the partition now
        state = await self._state(message.tp, message.generation_id)
        if not await self._in_its_place(message):
            return
        records = [InputRecord(r.offset, r.timestamp, r.key, r.value, r.headers) for r in message.value]
        if message.value[-1].timestamp_type != _LOG_TIME_APPEND:
            _log.warning("producer_timestamps", topic=message.topic, hint="run: licmeter topics apply")
        result = process_batch(records, state, self._config.limits)
        await flush(result, state, self._writer, lambda: self._is_mine(message.tp, message.generation_id))
        self._forget_old_days(state, records[-1].received_ms // _DAY_MS)
        self._expected[message.partition] = result.last_offset + 1
        self._app.consumer.confirm(message)
        self._log_batch(result, len(records))

    async def _state(self, tp: TP, generation: int) -> PartitionState:
        async with self._loading:  # a check and a batch may ask at the same time
            if generation != self._generation:
                # Somebody else may have owned any of our partitions in between.
                self._partitions.clear()
                self._levels.clear()
                self._checked.clear()
                self._read_again.clear()
                self._generation = generation
            state = self._partitions.get(tp.partition)
            if state is None:
                self._expected[tp.partition] = await self._app.consumer.committed(tp)
                store = FaustStore(self._tables, tp.partition, self._writer)
                state = load_partition(tp.partition, store, self._config.limits.duplicate_days, self._config.data_dir)
                self._partitions[tp.partition] = state
                _log.info("partition_loaded", partition=tp.partition, remembered_reports=len(state.seen))
            return state

    async def _in_its_place(self, message: ConsumerMessage) -> bool:
        """Tell whether no record before this batch was passed over; if so, read on from there."""
        expected, first = self._expected[message.partition], message.value[0].offset
        if first <= expected:
            return True
        servers, most = self._config.bootstrap_servers, self._config.fetch_bytes_max
        found = await first_offset_from(servers, message.topic, message.partition, expected, most)
        if found >= first:
            _log.warning("offsets_without_records", partition=message.partition, expected=expected, first=first)
            return True
        _log.warning("records_passed_over", partition=message.partition, expected=expected, first=first)
        if self._is_mine(message.tp, message.generation_id):
            await self._app.consumer.read_again(message.tp, expected)
        return False

    def _is_mine(self, tp: TP, generation: int) -> bool:
        return bool(generation == self._app.consumer_generation_id and tp in self._app.consumer.assignment())

    def _forget_old_days(self, state: PartitionState, today: int) -> None:
        if self._last_day.get(state.partition) != today:
            self._last_day[state.partition] = today
            forget_old(state, today, self._config.limits.duplicate_days)

    def _log_batch(self, result: BatchResult, records: int) -> None:
        _log.debug(
            "batch_counted",
            topic=USAGE_EVENTS.name,
            partition=result.partition,
            last_offset=result.last_offset,
            records=records,
            skipped=result.skipped,
            **{outcome.value: count for outcome, count in result.outcomes.items()},
        )

    def _fail(self, error: Exception) -> None:
        """End the worker: going on would leave a hole, as a later batch would be confirmed past this one."""
        self._failed = True
        _log.critical("worker_failed", error=repr(error), exc_info=error)
        loop = asyncio.get_running_loop()
        loop.call_later(STOP_TIMEOUT_S, os._exit, EXIT_FAILED)
        crashed: Any = self._app.crash(error)
        self._crash = loop.create_task(crashed)
