"""One target's way through the log: reads, decides, delivers, settles, commits.

A rebalance takes partitions away: what waits is dropped without a commit and read again by their next owner, what is
under way gets a moment. `_epoch` counts that; what belongs to an older epoch settles a ledger that nobody reads.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from licmeter.schemas.alerts import Breach, UsageAlert
from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.sinks.notify.config import Target, WebhookTarget
from licmeter.sinks.notify.delivery import Delivery
from licmeter.sinks.notify.digests import DigestBook, Gathered
from licmeter.sinks.notify.errors import GoneError
from licmeter.sinks.notify.events import Event, decode_event
from licmeter.sinks.notify.ledger import Ledger
from licmeter.sinks.notify.notices import Notice, alert_notice, breach_notice, webhook_notice
from licmeter.sinks.notify.positions import committed_positions, group_of
from licmeter.sinks.notify.routing import wanted
from licmeter.sinks.notify.stats import LaneStats, log_event
from licmeter.sinks.records import Record

__all__ = ["Lane"]

#: Notices that wait for their turn or for a retry. At the bound nothing is read: the log keeps the rest.
WAITING_MAX: Final = 500
#: Then reading goes on when there is room for some, and not for one at a time.
_ROOM_MIN: Final = 50
#: Offsets that are not settled, most of them in digests. At half of it digests end early.
OPEN_MAX: Final = 100_000
_POLL_S: Final = 0.5
_POLL_RECORDS_MAX: Final = 500
#: After a delivery; what is delivered in between, a crash may repeat.
_COMMIT_INTERVAL_S: Final = 0.1
#: While only events pass by that the target does not want; reading them again costs nothing.
_IDLE_COMMIT_INTERVAL_S: Final = 2.0
_REVOKE_WAIT_S: Final = 3.0
#: What is under way when we stop; a supervisor's patience is usually 10 s.
_STOP_WAIT_S: Final = 7.0
#: While a target is down nothing is polled, for hours if need be; membership rests on heartbeats in the background.
_POLL_INTERVAL_MS_MAX: Final = 2**31 - 1


class Lane:
    """One target, from its consumer to its commits. Raises `aiokafka.errors.KafkaError` when Kafka cannot be used."""

    def __init__(
        self,
        bootstrap_servers: str,
        target: Target,
        delivery: Delivery,
        stats: LaneStats,
        *,
        instance_id: str | None,
        session_timeout_s: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.target = target
        self.gone = False
        self._bootstrap_servers = bootstrap_servers
        self._delivery = delivery
        self._stats = stats
        self._wall = wall
        self._ledgers: dict[TopicPartition, Ledger] = {}
        self._positions: dict[TopicPartition, tuple[int, tuple[range, ...]]] | None = None
        self._digests = self._new_digests()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._epoch = 0
        self._holding = False
        self._delivered = asyncio.Event()
        self._committing = asyncio.Lock()
        self._committed_at = 0.0
        self._failure: BaseException | None = None
        self._consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            client_id=group_of(target.name),
            group_id=group_of(target.name),
            group_instance_id=instance_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=int(session_timeout_s * 1000),
            heartbeat_interval_ms=int(session_timeout_s * 1000 / 3),
            max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        )

    @property
    def lag(self) -> int:
        """How many records of the log are not settled."""
        ends = ((ledger, self._end_of(tp)) for tp, ledger in self._ledgers.items())
        return sum(max(0, end - ledger.low) for ledger, end in ends if end is not None)

    @property
    def waiting(self) -> int:
        """How many notices are at hand and not delivered."""
        return len(self._tasks)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until stopped, or until the target wants nothing more (`gone`)."""
        self._consumer.subscribe([LICENSE_ALERTS.name], listener=_Listener(self))
        committing = asyncio.create_task(self._commit_deliveries())
        try:
            await self._consumer.start()
            while not stop.is_set() and not self.gone:
                await self._poll()
                self._end_windows()
                if time.monotonic() - self._committed_at >= _IDLE_COMMIT_INTERVAL_S:
                    await self._commit()
                if self._failure is not None:
                    raise self._failure
            await self._let_end(_STOP_WAIT_S if not self.gone else 0.0)
            await self._commit()
        finally:
            committing.cancel()
            self._cancel_all()
            await self._consumer.stop()

    async def _poll(self) -> None:
        free = min(WAITING_MAX - len(self._tasks), OPEN_MAX - sum(ledger.open for ledger in self._ledgers.values()))
        if free < (_ROOM_MIN if self._holding else 1):
            self._stats.held += not self._holding
            self._holding = True
            self._settled.clear()
            await _within(self._settled.wait(), _POLL_S)
            return
        self._holding = False
        # What comes back belongs to the partitions as they are assigned now, also when a rebalance came in between.
        polled: Mapping[TopicPartition, Sequence[Record]] = await self._consumer.getmany(
            timeout_ms=int(_POLL_S * 1000), max_records=min(free, _POLL_RECORDS_MAX)
        )
        epoch = self._epoch
        for partition, records in polled.items():
            ledger = self._ledgers.get(partition) or await self._open_ledger(partition, records[0].offset)
            if epoch != self._epoch:
                return  # they are read again, from what is committed, by whoever has them now
            self._ledgers[partition] = ledger
            for record in records:
                self._take(ledger, record)

    async def _open_ledger(self, partition: TopicPartition, first: int) -> Ledger:
        if self._positions is None:
            self._positions = await committed_positions(self._bootstrap_servers, group_of(self.target.name))
        return Ledger(first, self._positions.get(partition, (0, ()))[1])

    def _take(self, ledger: Ledger, record: Record) -> None:
        self._stats.events += 1
        if not ledger.take(record.offset):
            self._stats.remembered += 1
            return
        event = self._wanted(record)
        if event is None:
            ledger.settle(record.offset)
        elif isinstance(self.target, WebhookTarget):
            self._start(webhook_notice(self.target, event), ledger, [record.offset])
        elif isinstance(event.message, UsageAlert):
            self._start(alert_notice(self.target, event.message), ledger, [record.offset])
        else:
            self._gather(event.message, record)

    def _wanted(self, record: Record) -> Event | None:
        try:
            event = decode_event(record.value or b"")
        except ValueError:
            # The sink reads the same topic, and forwards what cannot be read to usage.rejected.
            self._stats.undecodable += 1
            place = f"{record.topic}/{record.partition}/{record.offset}"
            log_event(logging.WARNING, "notify_undecodable", target=self.target.name, record=place)
            return None
        found = wanted(self.target, event)
        self._stats.unwanted += found is None
        return found

    def _gather(self, breach: Breach, record: Record) -> None:
        # A producer's clock that is ahead would keep a window open until then.
        now_ms = int(self._wall() * 1000)
        at_ms = now_ms if record.timestamp < 0 else min(record.timestamp, now_ms)
        ended = self._digests.add(breach, partition=record.partition, offset=record.offset, at_ms=at_ms)
        if ended is not None:
            self._send_gathered(ended)

    def _end_windows(self) -> None:
        if self._digests.gathered >= OPEN_MAX // 2:
            ended = self._digests.end_all()
            self._stats.pressed += len(ended)
        else:
            ended = self._digests.due(int(self._wall() * 1000), self._caught_up())
        for gathered in ended:
            self._send_gathered(gathered)

    def _caught_up(self) -> set[int]:
        """Return the partitions whose log was read to its end."""
        found = set()
        for partition, ledger in self._ledgers.items():
            end = self._end_of(partition)
            if end is not None and ledger.next >= end:
                found.add(partition.partition)
        return found

    def _end_of(self, partition: TopicPartition) -> int | None:
        """Return the offset of the record that comes next, None when that is not known."""
        assigned = partition in self._consumer.assignment()
        end: int | None = self._consumer.highwater(partition) if assigned else None
        return end

    def _send_gathered(self, gathered: Gathered) -> None:
        assert not isinstance(self.target, WebhookTarget)
        if len(gathered.offsets) > 1:
            self._stats.digested += len(gathered.offsets)
        ledger = self._ledgers[TopicPartition(LICENSE_ALERTS.name, gathered.partition)]
        self._start(breach_notice(self.target, gathered), ledger, gathered.offsets)

    def _start(self, notice: Notice, ledger: Ledger, offsets: Sequence[int]) -> None:
        task = asyncio.create_task(self._deliver(notice, ledger, offsets), name=f"{self.target.name}/{notice.key}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _deliver(self, notice: Notice, ledger: Ledger, offsets: Sequence[int]) -> None:
        await self._delivery.deliver(notice)
        for offset in offsets:
            ledger.settle(offset)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._settled.set()
        self._delivered.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, GoneError):
            self.gone = True
        elif error is not None:
            self._failure = error

    async def _commit_deliveries(self) -> None:
        while True:
            await self._delivered.wait()
            self._delivered.clear()
            await self._commit()
            await asyncio.sleep(_COMMIT_INTERVAL_S)

    async def _commit(self) -> None:
        # One at a time: an older point must not come after a newer one.
        async with self._committing:
            await self._commit_now()

    async def _commit_now(self) -> None:
        self._committed_at = time.monotonic()
        points = {tp: (ledger, point) for tp, ledger in self._ledgers.items() if (point := ledger.commit_point())}
        if not points:
            return
        try:
            await self._consumer.commit({tp: point for tp, (_, point) in points.items()})
        except KafkaError as error:
            # Nothing is lost: the next commit says it, too, or a rebalance makes somebody deliver it again.
            self._stats.commit_failures += 1
            log_event(logging.WARNING, "notify_commit_failed", target=self.target.name, error=type(error).__name__)
            return
        self._stats.commits += 1
        for ledger, point in points.values():
            ledger.committed(point)

    async def on_revoked(self) -> None:
        """Let what is under way end, commit, and forget the rest; the group waits for this."""
        if self._ledgers:
            await self._let_end(_REVOKE_WAIT_S)
            await _within(self._commit(), _REVOKE_WAIT_S)
        self._cancel_all()
        self._epoch += 1
        self._ledgers, self._positions = {}, None
        self._digests = self._new_digests()

    async def _let_end(self, wait_s: float) -> None:
        """Wait while attempts are being made; those who only wait for a retry are not waited for."""
        deadline = time.monotonic() + wait_s
        while self._delivery.trying and time.monotonic() < deadline:
            self._settled.clear()
            await _within(self._settled.wait(), 0.1)

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _new_digests(self) -> DigestBook:
        if isinstance(self.target, WebhookTarget):
            return DigestBook(0, 0)
        return DigestBook(int(self.target.digest_s * 1000), int(self.target.digest_s_max * 1000))


async def _within(wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        return


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Tells the lane that its partitions are taken away."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Return when the lane has committed or dropped everything."""
        await self._lane.on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Say what is ours now."""
        partitions = ",".join(sorted(str(each.partition) for each in assigned))
        log_event(logging.INFO, "notify_assigned", target=self._lane.target.name, partitions=partitions)
