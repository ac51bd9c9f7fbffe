"""When records are sent: as simulated time passes, times a speed. Clock and sleep are passed in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from licmeter.producers.simulation.world.records import WorldRecord

__all__ = ["CHUNK_RECORDS", "paced_chunks"]

#: Records that are due are handed over in chunks of this many at most.
CHUNK_RECORDS: Final = 5_000
#: Waits shorter than this are not worth one.
_TICK_S: Final = 0.25


async def paced_chunks(
    records: Iterable[WorldRecord],
    *,
    begin_s: int,
    speed: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncIterator[list[WorldRecord]]:
    """Yield records when they are due; `speed` None = all as fast as they are taken."""
    began, chunk = clock(), list[WorldRecord]()
    for record in records:
        if speed is not None:
            due = began + (record.at_s - begin_s) / speed
            if due - clock() > _TICK_S:
                if chunk:
                    yield chunk
                    chunk = []
                await sleep(max(0.0, due - clock()))
        chunk.append(record)
        if len(chunk) >= CHUNK_RECORDS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
