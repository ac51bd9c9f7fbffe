"""The batched transport: one Faust message is all records of one partition that a poll brought.

Faust's own way costs some 150 µs an event (a message, an event, a stream hop and an acknowledgment each);
a list costs that once (design 4). The parts are extension points of Faust, and private names where it has
none; `tests/contract/test_faust_internals.py` pins every one of them.

Two things differ from stock Faust on purpose:

- **Offsets.** Faust acknowledges a message when the stream drops it because a rebalance is going on, and when
  the agent raised. Both would commit records that nobody processed. Here only `confirm` makes an offset
  committable, and it is called after the flush; Faust's own acknowledgments of batches do nothing.
- **Gaps.** With one batch in flight per partition, and batches in order, the last confirmed offset is the
  position. Faust's bookkeeping of gaps (which never commits when the first batch is the single record 0) is
  not used, and neither is its mark of what was read: whether a batch comes in its place is decided where it is
  counted (`continuity`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

from faust.serializers.codecs import Codec
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport, ensure_aiokafka_TP
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, ConsumerMessage

__all__ = ["SCHEME", "BatchScheduler", "BatchTransport", "BatchingConsumer", "PassThrough", "batched"]

#: `SCHEME://host:port` as broker address selects this transport.
SCHEME: Final = "licmeter"
#: How long the broker holds a fetch that finds nothing. One goes to a broker at a time, so this is also how long
#: records of a partition can lie there because the fetch under way asked for others only. Faust's is 1500.
FETCH_WAIT_MS: Final = 100


def batched(topic: str) -> bool:
    """Tell whether records of a topic come as lists: all but changelogs, which recovery reads one by one."""
    return not topic.endswith("-changelog")


class BatchScheduler(DefaultSchedulingStrategy):  # type: ignore[misc]
    """Yields each partition's records as one list; changelog records singly, as Faust does."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Iterate over what a poll brought."""
        singly = {}
        for tp, buffer in records.items():
            if not batched(tp.topic):
                singly[tp] = buffer
            elif buffer:
                yield tp, buffer
        yield from super().iterate(singly)


class _ReadOffsets(defaultdict[TP, int | None]):
    """Faust's mark of what was read, which would drop a batch that is read again; kept for changelogs only."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if not batched(tp.topic):
            super().__setitem__(tp, offset)

    def update(self, offsets: Any = (), /, **_: Any) -> None:
        for tp, offset in dict(offsets).items():
            self[tp] = offset


class _ConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that fetches: it asks the broker only for what is read."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *args: Any, **kwargs: Any) -> Any:
        _pause_unread(consumer, active_partitions)
        return await super()._fetch_records(consumer, active_partitions, *args, **kwargs)


def _pause_unread(consumer: Any, active: Collection[TP]) -> None:
    """Fetch no changelog that is not being recovered.

    Faust leaves what it does not read out of the answers, but has it fetched all the same: then up to a fetch of each
    of 24 changelogs waits in memory, and while events of all partitions wait to be taken, a fetch of quiet changelogs
    alone keeps the next one of events back.
    """
    changelogs = {tp for tp in consumer.assignment() if not batched(tp.topic)}
    paused = changelogs & consumer.paused()
    read = {tp for tp in changelogs if tp in active}
    consumer.pause(*(changelogs - read - paused))
    consumer.resume(*(paused & read))


class BatchingConsumer(Consumer):  # type: ignore[misc]
    """Turns lists of records into messages, and commits only what was confirmed."""

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, list):
            return super()._to_message(tp, record)
        last = record[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            (),
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _ReadOffsets()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def committed(self, tp: TP) -> int:
        """Return the offset that the group reads a partition from, as the broker knows it; 0 for a new group."""
        consumer = self._thread._ensure_consumer()
        offset: int | None = await self._thread.call_thread(consumer.committed, ensure_aiokafka_TP(tp))
        return offset or 0

    async def fetched_to(self, tp: TP) -> int:
        """Return the offset that would be fetched next."""
        consumer = self._thread._ensure_consumer()
        position: int = await self._thread.call_thread(consumer.position, ensure_aiokafka_TP(tp))
        return position

    async def read_again(self, tp: TP, offset: int) -> None:
        """Go back to an offset; batches that are on their way still come, and are refused where they are counted."""
        await self._thread.seek_wait({tp: offset})

    def on_buffer_full(self, tp: TP) -> None:
        """Go on asking: the full buffer itself makes the fetcher wait, and only as long as it is full.

        Faust stops reading a partition here. With few and large messages all of them are stopped at once, and then it
        looks again after a whole second: half of the time nothing was done, with records waiting.
        """
        if not batched(tp.topic):
            super().on_buffer_full(tp)

    def confirm(self, message: ConsumerMessage) -> None:
        """Let a batch be committed: its outputs and its state are durable."""
        if message.generation_id == self.app.consumer_generation_id:
            self._acked[message.tp] = [message.offset]
            self._n_acked += 1

    def ack(self, message: ConsumerMessage) -> bool:
        """Forget a message that a stream is done with; for a batch that commits nothing."""
        if not batched(message.topic):
            return bool(super().ack(message))
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        if not batched(tp.topic):
            offset: int | None = super()._new_offset(tp)
            return offset
        acked = self._acked[tp]
        return acked[-1] + 1 if acked else None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not batched(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)


class BatchTransport(Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the batching consumer."""

    Consumer: ClassVar[type[BatchingConsumer]] = BatchingConsumer


class PassThrough(Codec):  # type: ignore[misc]
    """Hands a list of records through, where Faust would decode bytes."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, obj: Any) -> Any:
        return obj

    def loads(self, s: Any) -> Any:
        """Return what was given."""
        return s


def register() -> None:
    """Make `SCHEME` known to Faust."""
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:{BatchTransport.__name__}"


def addresses(bootstrap_servers: str) -> list[str]:
    """Return broker addresses that select this transport."""
    return [f"{SCHEME}://{server.strip()}" for server in _split(bootstrap_servers)]


def _split(bootstrap_servers: str) -> Iterable[str]:
    return (server for server in bootstrap_servers.split(",") if server.strip())
