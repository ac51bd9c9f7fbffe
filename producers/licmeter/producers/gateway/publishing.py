"""Puts events into `usage.events`, those of many requests together, and returns when the broker has them.

One batch of a partition is on its way at a time. What comes meanwhile waits and goes together with the next: the busier
the gateway, the larger the batches, and alone an event waits for nobody.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from licmeter.producers.errors import SendError
from licmeter.producers.producing import idempotent_producer, place_of
from licmeter.schemas.envelope import CLOUD_EVENT_HEADERS
from licmeter.schemas.topics import USAGE_EVENTS

__all__ = ["Publisher"]

_HEADERS: Final = list(CLOUD_EVENT_HEADERS)
CONNECT_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class _Lane:
    """One partition: what waits, and whether a batch is on its way."""

    waiting: list[tuple[bytes, Sequence[bytes], asyncio.Future[None]]] = field(default_factory=list)
    busy: bool = False


class Publisher:
    """An idempotent producer with acks=all. `publish` is for one event loop; `start` comes first."""

    def __init__(self, bootstrap_servers: str, *, ack_timeout_s: float) -> None:
        self._servers = bootstrap_servers
        self._ack_timeout_s = ack_timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._lanes: list[_Lane] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.failing = False

    async def start(self) -> None:
        """Connect. Raises `SendError` when Kafka cannot be reached or has no topic."""
        producer = idempotent_producer(
            self._servers, client_id="licmeter-gateway", request_timeout_s=self._ack_timeout_s
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await producer.start()
                metadata = await producer.client.fetch_all_metadata()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            await self._stop(producer)
            raise self._error(f"cannot be reached: {str(error) or type(error).__name__}") from error
        partitions = metadata.partitions_for_topic(USAGE_EVENTS.name) or ()
        if not partitions:
            await self._stop(producer)
            raise self._error(f"has no topic {USAGE_EVENTS.name}; `licmeter topics apply` creates it")
        self._lanes = [_Lane() for _ in partitions]
        self._producer = producer

    async def stop(self) -> None:
        """Disconnect, after what is on its way, or some seconds."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._stop(producer)

    async def _stop(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await producer.stop()
        except (KafkaError, OSError):
            pass  # it could not send what it had; whoever waited for that was told

    async def publish(self, key: bytes, values: Sequence[bytes]) -> None:
        """Send the events of one organization, in their order; return when the broker has all of them.

        Raises `SendError` when it does not say so in time: they may be there all the same.
        """
        if not values:
            return
        number = place_of(key, len(self._lanes))
        lane = self._lanes[number]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append((key, values, done))
        if not lane.busy:
            lane.busy = True
            task = asyncio.create_task(self._run(number, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                await done
        except TimeoutError as error:
            self.failing = True
            raise self._error(f"did not acknowledge within {self._ack_timeout_s:g} s") from error

    async def _run(self, number: int, lane: _Lane) -> None:
        """Send what waits, until nothing does."""
        try:
            while lane.waiting:
                # Those whose client was told to send again are left out.
                taken = [entry for entry in lane.waiting if not entry[2].done()]
                lane.waiting.clear()
                if taken:
                    await self._send(number, taken)
        finally:
            lane.busy = False

    async def _send(self, number: int, taken: list[tuple[bytes, Sequence[bytes], asyncio.Future[None]]]) -> None:
        # Until it is known to be there it is not, whatever happens: who is told otherwise sends it no more.
        failure: SendError | None = self._error("was not waited for: the gateway stops")
        try:
            pairs = [(key, value) for key, values, _ in taken for value in values]
            for future in [await self._ship(batch, number) for batch in self._batches(pairs)]:
                await future
            failure = None
        except Exception as error:  # the client has errors of its own beside Kafka's
            failure = self._error(f"refused or did not answer: {str(error) or type(error).__name__}")
        finally:
            self.failing = failure is not None
            for _, _, done in taken:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)

    async def _ship(self, batch: Any, number: int) -> "asyncio.Future[Any]":
        if self._producer is None:
            raise KafkaError("the producer is stopped")
        future: asyncio.Future[Any] = await self._producer.send_batch(batch, USAGE_EVENTS.name, partition=number)
        future.add_done_callback(_note)
        return future

    def _batches(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        if self._producer is None:
            raise KafkaError("the producer is stopped")
        batches = []
        batch = None
        for key, value in pairs:
            if batch is not None and batch.append(timestamp=None, key=key, value=value, headers=_HEADERS) is not None:
                continue
            batch = self._producer.create_batch()
            batches.append(batch)
            if batch.append(timestamp=None, key=key, value=value, headers=_HEADERS) is None:
                raise AssertionError("an empty batch takes any record")
        return batches

    def _error(self, what: str) -> SendError:
        return SendError(f"Kafka at {self._servers} {what}", bootstrap_servers=self._servers, topic=USAGE_EVENTS.name)


def _note(future: "asyncio.Future[Any]") -> None:
    """Take note of a failure that nobody waits for, because an earlier batch had failed."""
    if not future.cancelled():
        future.exception()
