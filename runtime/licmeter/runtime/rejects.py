"""The rejects for the commands of `licmeter rejects`: opened, filtered, counted, and waited for."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypeVar

from licmeter.producers.sending import OffsetSpan
from licmeter.runtime.errors import LicmeterError, ServiceError, UsageError
from licmeter.runtime.settings import Settings
from licmeter.schemas.replays import Place
from licmeter.sinks.replay.book import Entry, RejectBook
from licmeter.sinks.replay.errors import RejectsError, RejectsUnavailableError
from licmeter.sinks.replay.forecast import Forecast, Prospect
from licmeter.sinks.replay.reading import Span
from licmeter.sinks.replay.rejects import Selection

__all__ = ["Listing", "Plan", "list_rejects", "parse_places", "plan_replay", "spans_of", "with_rejects"]

#: How many rejects a plan names one by one; the others are only counted.
NAMED_MAX: Final = 10_000

Result = TypeVar("Result")


def with_rejects(settings: Settings, work: Callable[[RejectBook], Awaitable[Result]]) -> Result:
    """Run something with the rejects; raises `ServiceError` when Kafka is not there."""

    async def run() -> Result:
        async with RejectBook(settings.bootstrap_servers) as book:
            return await work(book)

    try:
        return asyncio.run(run())
    except RejectsUnavailableError as error:
        raise ServiceError(
            str(error), service="kafka", hint="is licmeter running? `licmeter up` starts everything"
        ) from error
    except RejectsError as error:
        raise LicmeterError(str(error)) from error


def parse_places(texts: Sequence[str]) -> frozenset[Place]:
    """Read places; raises `UsageError`."""
    try:
        return frozenset(Place.parse(text) for text in texts)
    except ValueError as error:
        raise UsageError(str(error), hint="`licmeter rejects list` shows the places of rejects") from error


@dataclass(slots=True)
class Listing:
    """The newest rejects of a selection, and how many there are."""

    entries: list[Entry] = field(default_factory=list)
    open_by_reason: Counter[str] = field(default_factory=Counter)
    replayed: int = 0

    @property
    def open(self) -> int:
        """How many were never put back."""
        return self.open_by_reason.total()


async def list_rejects(
    book: RejectBook,
    span: Span,
    selection: Selection,
    *,
    limit: int,
    replayed_too: bool,
    on_read: Callable[[int], None],
) -> Listing:
    """Read a selection; keep the newest `limit`, the newest first."""
    result = Listing()
    newest: list[tuple[int, Place, Entry]] = []
    async for entry in book.entries(span, selection, on_read):
        if entry.open:
            result.open_by_reason[entry.reject.reason] += 1
        else:
            result.replayed += 1
        if entry.open or replayed_too:
            heapq.heappush(newest, (entry.reject.received_ms, entry.reject.place, entry))
            if len(newest) > limit:
                heapq.heappop(newest)
    result.entries = [entry for *_, entry in sorted(newest, key=lambda each: each[:2], reverse=True)]
    return result


@dataclass(slots=True)
class Plan:
    """What a replay would do: how many of which prospect and reason, and the first of them one by one."""

    prospects: Counter[Forecast] = field(default_factory=Counter)
    named: list[tuple[Entry, Forecast]] = field(default_factory=list)
    replayed: int = 0
    places: set[Place] = field(default_factory=set)

    def count(self, *prospects: Prospect) -> int:
        """How many have one of some prospects."""
        return sum(number for found, number in self.prospects.items() if found.prospect in prospects)


async def plan_replay(
    book: RejectBook,
    span: Span,
    selection: Selection,
    look: Callable[[Entry], Forecast],
    on_read: Callable[[int], None],
) -> Plan:
    """Read a selection, and say of each open reject what would become of it."""
    plan = Plan()
    async for entry in book.entries(span, selection, on_read):
        if selection.places:
            plan.places.add(entry.reject.place)
        if not entry.open:
            plan.replayed += 1
            continue
        found = look(entry)
        plan.prospects[Forecast(found.prospect, found.reason)] += 1
        if len(plan.named) < NAMED_MAX:
            plan.named.append((entry, found))
    return plan


def spans_of(places: Sequence[tuple[int, int]]) -> list[OffsetSpan]:
    """Join places that follow each other."""
    spans = []
    # In a run of consecutive numbers, each less its rank is the same.
    for partition, group in groupby(sorted(places), key=lambda place: place[0]):
        for _, members in groupby(enumerate(group), key=lambda ranked: ranked[1][1] - ranked[0]):
            offsets = [place[1] for _, place in members]
            spans.append(OffsetSpan(partition, offsets[0], offsets[-1]))
    return spans
