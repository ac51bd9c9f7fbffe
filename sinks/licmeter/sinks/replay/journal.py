"""The topic `usage.replays`, read and written by one run."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from licmeter.schemas.replays import (
    REPLAYS_PARTITION,
    AnyRecord,
    ReplayNote,
    RunAlive,
    RunBegun,
    RunEnded,
    parse_replay_record,
)
from licmeter.schemas.topics import EVENT_BYTES_MAX, USAGE_EVENTS, USAGE_REPLAYS
from licmeter.sinks.replay.errors import RejectsError, RejectsUnavailableError
from licmeter.sinks.replay.memory import ReplayMemory
from licmeter.sinks.replay.reading import CONNECT_TIMEOUT_S, LogReader, Span

__all__ = ["Journal", "JournalWriter", "Outgoing"]

#: Replays in one note: about 40 bytes each, where the broker takes a record of 1 MB.
NOTE_REPLAYS_MAX: Final = 10_000
#: Where a record without a key goes, as with `licmeter send`.
KEYLESS_PARTITION: Final = 0
_ROOM_BYTES: Final = 1024 * 1024

#: Key, value and headers of a record for `usage.events`.
Outgoing = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]


class Journal:
    """What was put back so far; `async with` connects and reads it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._reader = LogReader(bootstrap_servers)
        self._position = 0
        self.memory = ReplayMemory()

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        try:
            await self.refresh()
        except BaseException:
            await self._reader.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def refresh(self) -> None:
        """Read what was written since the last time. A record that cannot be read is an error: it may be a note."""
        whole = await self._reader.span(USAGE_REPLAYS.name, partitions=[REPLAYS_PARTITION])
        begins = {number: max(begin, self._position) for number, begin in whole.begins.items()}
        async for records in self._reader.read(Span(whole.topic, begins, whole.ends)):
            for record in records:
                try:
                    self.memory.take(parse_replay_record(record.value or b""), record.timestamp)
                except ValidationError as error:
                    place = f"{record.topic}/{record.partition}/{record.offset}"
                    raise RejectsError(f"{place} is none of ours, so what was put back is not known") from error
        self._position = max(self._position, *whole.ends.values())


class JournalWriter:
    """A producer for the journal, and for `usage.events`; `async with` connects it."""

    def __init__(self, bootstrap_servers: str, *, send_timeout_s: float, stop_timeout_s: float) -> None:
        self._servers = bootstrap_servers
        self._send_timeout_s = send_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            client_id="licmeter-rejects",
            enable_idempotence=True,
            acks="all",
            compression_type="lz4",
            max_request_size=EVENT_BYTES_MAX + _ROOM_BYTES,
            request_timeout_ms=round(self._send_timeout_s * 1000),
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise RejectsUnavailableError(self._servers, error) from error
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        # After an error the client would wait for what it cannot send any more.
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(self._stop_timeout_s):
                await producer.stop()

    async def begin(self, run: str, ends: Mapping[int, int]) -> int:
        """Say that a run begins; return the broker's clock, in milliseconds."""
        return await self._write(RunBegun(run=run, ends=dict(ends)))

    async def sign(self, run: str) -> None:
        """Say that a run goes on."""
        await self._write(RunAlive(run=run))

    async def note(self, run: str, replays: Sequence[tuple[int, int, int, int]]) -> None:
        """Note what was put back."""
        for start in range(0, len(replays), NOTE_REPLAYS_MAX):
            await self._write(ReplayNote(run=run, replays=tuple(replays[start : start + NOTE_REPLAYS_MAX])))

    async def end(self, run: str) -> None:
        """Say that all a run put back is noted."""
        await self._write(RunEnded(run=run))

    async def _write(self, record: AnyRecord) -> int:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                stored = await self._producer.send_and_wait(
                    USAGE_REPLAYS.name,
                    record.model_dump_json().encode(),
                    key=record.run.encode(),
                    partition=REPLAYS_PARTITION,
                )
        except (KafkaError, OSError) as error:
            raise RejectsUnavailableError(self._servers, error) from error
        return int(stored.timestamp)

    async def put_back(self, records: Iterable[Outgoing]) -> list[tuple[int, int]]:
        """Append records to `usage.events`, each where its key belongs; return partition and offset of each.

        Returns when the broker has all of them, and raises `RejectsUnavailableError` when that takes too long: then
        some may be there.
        """
        try:
            async with asyncio.timeout(self._send_timeout_s):
                waiting = [
                    await self._producer.send(
                        USAGE_EVENTS.name,
                        value,
                        key=key,
                        headers=list(headers),
                        partition=KEYLESS_PARTITION if key is None else None,
                    )
                    for key, value, headers in records
                ]
                stored = await asyncio.gather(*waiting)
        except (KafkaError, OSError) as error:
            raise RejectsUnavailableError(self._servers, error) from error
        return [(each.partition, each.offset) for each in stored]
