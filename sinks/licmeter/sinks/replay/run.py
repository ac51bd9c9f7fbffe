"""One run that puts rejects back on `usage.events`; the package's docstring has the theory."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from licmeter.schemas.replays import ReplayMark, replay_headers
from licmeter.schemas.topics import USAGE_EVENTS
from licmeter.sinks.replay.book import Entry, RejectBook
from licmeter.sinks.replay.errors import SupersededError
from licmeter.sinks.replay.journal import JournalWriter, Outgoing
from licmeter.sinks.replay.memory import Run
from licmeter.sinks.replay.reading import Span
from licmeter.sinks.replay.recovery import find_replays
from licmeter.sinks.replay.rejects import Reject, Selection

__all__ = ["ReplayBounds", "Replayed", "Step", "replay_rejects"]


@dataclass(frozen=True, slots=True)
class ReplayBounds:
    """How much is under way at once, and how long that may take."""

    chunk_records: int = 500
    chunk_bytes: int = 4 * 1024 * 1024  # one record more may go beyond it
    send_timeout_s: float = 10.0
    stop_timeout_s: float = 2.0
    #: How long a new run waits for what an older one may have sent: longer than both of the above together. An older
    #: one sends only within this time of its last sign, so that it is known when it cannot send any more.
    fence_s: float = 15.0


class Step(StrEnum):
    """Where a run is; a process can be killed between any two."""

    BEGUN = "begun"
    WAITING = "waiting"  # for what an unfinished run may have sent
    RECOVERED = "recovered"
    SENT = "sent"  # a chunk is at the broker
    NOTED = "noted"
    ENDED = "ended"


@dataclass(slots=True)
class Replayed:
    """What a run did: where records stand that it put back, and how many an unfinished run had put back before it."""

    places: list[tuple[int, int]] = field(default_factory=list)
    recovered: int = 0


#: After this many times `fence_s` without a sign, nothing that a run sent can still be under way.
_SILENCE_FACTOR: Final = 2


class _Running:
    """One run, from its beginning to its end."""

    def __init__(
        self,
        book: RejectBook,
        writer: JournalWriter,
        run: str,
        bounds: ReplayBounds,
        on_step: Callable[[Step], None],
        on_replayed: Callable[[int], None],
    ) -> None:
        self._book = book
        self._writer = writer
        self._run = run
        self._bounds = bounds
        self._on_step = on_step
        self._on_replayed = on_replayed
        self._signed_at = 0.0
        self.result = Replayed()

    async def begin(self) -> None:
        """Take over: from here on no older run puts anything back, and what one did put back is known."""
        ends = (await self._book.reader.span(USAGE_EVENTS.name)).ends
        self._signed_at = _now()
        now_ms = await self._writer.begin(self._run, ends)
        self._on_step(Step.BEGUN)
        await self._book.journal.refresh()
        others = self._book.memory.unfinished(but=self._run)
        if any(now_ms - run.sign_ms < self._bounds.fence_s * 1000 * _SILENCE_FACTOR for run in others):
            self._on_step(Step.WAITING)
            await asyncio.sleep(self._bounds.fence_s)
            await self._look()
        await self._recover(self._book.memory.unfinished(but=self._run))

    async def _recover(self, runs: Sequence[Run]) -> None:
        """Note what unfinished runs put back, and end them."""
        for run, replays in (await find_replays(self._book.reader, runs)).items():
            self._book.memory.add(replays)
            await self._writer.note(run, replays)
            await self._writer.end(run)
            self.result.recovered += len(replays)
        if runs:
            self._on_step(Step.RECOVERED)

    async def _look(self) -> None:
        """Learn what was written by others; raises `SupersededError` when a newer run began."""
        await self._book.journal.refresh()
        if self._book.memory.superseded(self._run):
            raise SupersededError(len(self.result.places))

    async def put_back(self, chunk: Sequence[Reject]) -> None:
        """Put a chunk back and note it."""
        if _now() - self._signed_at > self._bounds.fence_s / _SILENCE_FACTOR:
            self._signed_at = _now()
            await self._writer.sign(self._run)
        await self._look()
        # A run of before may have been ended by one that is over, too: what it noted meanwhile counts.
        chunk = [reject for reject in chunk if self._book.memory.replayed_as(reject.place) is None]
        if not chunk:
            return
        places = await self._writer.put_back([_outgoing(reject, self._run) for reject in chunk])
        self._on_step(Step.SENT)
        replays = [
            (reject.place.partition, reject.place.offset, *place) for reject, place in zip(chunk, places, strict=True)
        ]
        self._signed_at = _now()
        await self._writer.note(self._run, replays)
        self._book.memory.add(replays)
        self.result.places += places
        self._on_replayed(len(places))
        self._on_step(Step.NOTED)

    async def end(self) -> None:
        """Say that all is noted."""
        await self._writer.end(self._run)
        self._on_step(Step.ENDED)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _outgoing(reject: Reject, run: str) -> Outgoing:
    return reject.key, reject.value, replay_headers(ReplayMark(reject.place, run), reject.headers)


async def replay_rejects(
    bootstrap_servers: str,
    book: RejectBook,
    span: Span,
    selection: Selection,
    wanted: Callable[[Entry], bool],
    *,
    run: str,
    bounds: ReplayBounds = ReplayBounds(),
    limit: int | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
    on_replayed: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Put the open rejects of a selection that are wanted back on `usage.events`, each once; `limit` of them at most.

    `run` must be an id that nobody can guess. What is rejected again meanwhile is not in `span`, so this has an end.
    `on_replayed` is told of how many were put back. Raises `SupersededError` and `RejectsUnavailableError`; what was
    put back until then is known to the next run.
    """
    times = {"send_timeout_s": bounds.send_timeout_s, "stop_timeout_s": bounds.stop_timeout_s}
    async with JournalWriter(bootstrap_servers, **times) as writer:
        running = _Running(book, writer, run, bounds, on_step, on_replayed)
        await running.begin()
        chunk: list[Reject] = []
        size = taken = 0
        async with aclosing(book.entries(span, selection)) as entries:
            async for entry in entries:
                if taken == limit:
                    break
                if not entry.open or not wanted(entry):
                    continue
                chunk.append(entry.reject)
                taken += 1
                size += len(entry.reject.value or b"")
                if len(chunk) >= bounds.chunk_records or size >= bounds.chunk_bytes:
                    await running.put_back(chunk)
                    chunk, size = [], 0
        await running.put_back(chunk)
        await running.end()
    return running.result
