"""The rejects, each once, with what became of it: open, or put back."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from licmeter.metering.organization import MeteredCatalog
from licmeter.schemas.catalog import Organization
from licmeter.schemas.replays import Place
from licmeter.schemas.topics import LICENSE_CATALOG, USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.replay.journal import Journal
from licmeter.sinks.replay.memory import ReplayMemory, pack_place
from licmeter.sinks.replay.reading import LogReader, Span
from licmeter.sinks.replay.recovery import find_replays
from licmeter.sinks.replay.rejects import Reject, Selection, read_reject

__all__ = ["Entry", "RejectBook"]

#: A reject comes to its topic after it came to the log. Two clocks say so, so we begin this much earlier.
CLOCKS_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A reject; where it was put back, if it was; and which reject it is a replay of, if it is one."""

    reject: Reject
    replayed_as: Place | None = None
    replay_of: Place | None = None

    @property
    def open(self) -> bool:
        """Whether it was never put back."""
        return self.replayed_as is None


class RejectBook:
    """Reads rejects; `async with` connects. Raises `RejectsUnavailableError` when Kafka cannot be used.

    Remembers the place of each reject it has read in a pass, some 100 bytes each, to tell repeats.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.reader = LogReader(bootstrap_servers)
        self.journal = Journal(bootstrap_servers)
        self._connections = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.reader)
            await stack.enter_async_context(self.journal)
            await self.look_at_unfinished()
            self._connections = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.aclose()

    @property
    def memory(self) -> ReplayMemory:
        """What was put back."""
        return self.journal.memory

    async def look_at_unfinished(self) -> None:
        """Learn what runs that did not end put back and did not note."""
        for replays in (await find_replays(self.reader, self.memory.unfinished())).values():
            self.memory.add(replays)

    async def catalogs(self) -> dict[str, MeteredCatalog]:
        """Return the documents that are current now, by organization."""
        found: dict[str, MeteredCatalog] = {}
        async for records in self.reader.read(await self.reader.span(LICENSE_CATALOG.name)):
            for record in records:
                name = (record.key or b"").decode(errors="replace")
                if record.value is None:
                    found.pop(name, None)
                else:
                    found[name] = MeteredCatalog(Organization.model_validate_json(record.value))
        return found

    async def span(self, selection: Selection) -> Span:
        """Return the part of the topic in which a selection stands, up to what is there now."""
        since_ms = None if selection.since_ms is None else max(0, selection.since_ms - CLOCKS_MS)
        partitions = None
        if selection.places and all(place.topic == USAGE_EVENTS.name for place in selection.places):
            # A worker writes rejects into the partition that they came from.
            partitions = {place.partition for place in selection.places}
        return await self.reader.span(USAGE_REJECTED.name, since_ms=since_ms, partitions=partitions)

    async def entries(
        self, span: Span, selection: Selection, on_read: Callable[[int], None] = lambda _: None
    ) -> AsyncGenerator[Entry, None]:
        """Yield the rejects of a selection, each once, those of a partition in their order.

        `on_read` is told of how many records were read.
        """
        seen: set[int | Place] = set()
        async for records in self.reader.read(span):
            for record in records:
                reject = read_reject(record)
                if selection.takes(reject) and not _repeated(reject, seen):
                    yield self._entry(reject)
            on_read(len(records))

    def _entry(self, reject: Reject) -> Entry:
        mark = reject.mark
        origin = mark.of if mark is not None and self.memory.vouches_for(mark) else None
        return Entry(reject, self.memory.replayed_as(reject.place), origin)


def _repeated(reject: Reject, seen: set[int | Place]) -> bool:
    """Tell whether a place came before; a number takes a third of the memory of the tuple."""
    place = reject.place
    identity = pack_place(place.partition, place.offset) if reject.of_events else place
    if identity in seen:
        return True
    seen.add(identity)
    return False
