"""How many questions are worked on at once: of all, and of one organization; the others wait, bounded in number."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from licmeter.analytics.http.problems import TooMany, Unavailable

__all__ = ["Admission"]

#: What a client is told to wait for: about as long as an answer takes.
RETRY_AFTER_S: Final = 2.0


@dataclass(slots=True)
class _Organization:
    running: asyncio.Semaphore
    open: int = 0


class Admission:
    """Places for answers. `on_hit` is told the name of a bound that turned a request away."""

    def __init__(
        self,
        *,
        queries_max: int,
        organization_queries_max: int,
        waiting_max: int,
        organization_waiting_max: int,
        wait_timeout_s: float,
        on_hit: Callable[[str], None],
    ) -> None:
        self._queries_max = queries_max
        self._organization_queries_max = organization_queries_max
        self._open_max = queries_max + waiting_max
        self._organization_open_max = organization_queries_max + organization_waiting_max
        self._wait_timeout_s = wait_timeout_s
        self._on_hit = on_hit
        self._running = asyncio.Semaphore(queries_max)
        self._organizations: dict[str, _Organization] = {}
        self.open = 0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return self.open - self.running

    @asynccontextmanager
    async def place(self, organization_id: str) -> AsyncIterator[None]:
        """Have a place for as long as the block runs. Raises `TooMany` and `Unavailable`."""
        if self.open >= self._open_max:
            self._on_hit("queries")
            raise Unavailable("too many questions at once", retry_after_s=RETRY_AFTER_S)
        mine = self._organizations.get(organization_id)
        if mine is None:
            mine = _Organization(asyncio.Semaphore(self._organization_queries_max))
            self._organizations[organization_id] = mine
        elif mine.open >= self._organization_open_max:
            self._on_hit("organization")
            raise TooMany(
                f"an organization may ask {self._organization_queries_max} questions at once, and have "
                f"{self._organization_open_max - self._organization_queries_max} more wait",
                retry_after_s=RETRY_AFTER_S,
            )
        self.open += 1
        mine.open += 1
        try:
            await self._acquire(mine)
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1
                self._running.release()
                mine.running.release()
        finally:
            self.open -= 1
            mine.open -= 1
            if not mine.open:
                del self._organizations[organization_id]

    async def _acquire(self, mine: _Organization) -> None:
        """Take a place of the organization, and then one of all: who waits for its own keeps nobody else waiting."""
        try:
            async with asyncio.timeout(self._wait_timeout_s):
                await mine.running.acquire()
                try:
                    await self._running.acquire()
                except BaseException:
                    mine.running.release()
                    raise
        except TimeoutError:
            self._on_hit("wait")
            raise Unavailable("no place for this question in time", retry_after_s=RETRY_AFTER_S) from None
