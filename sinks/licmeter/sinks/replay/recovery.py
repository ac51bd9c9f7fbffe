"""What a run put back and did not note before it was broken off: the records in the log say so themselves."""

from collections.abc import Iterable
from typing import Final

from licmeter.schemas.replays import split_replay_headers
from licmeter.schemas.topics import USAGE_EVENTS
from licmeter.sinks.replay.memory import Run
from licmeter.sinks.replay.reading import LogReader, Span

__all__ = ["AFTER_SIGN_MS", "Replays", "find_replays"]

#: A run sends within `ReplayBounds.fence_s` of its last sign, and sending has a bound, too. This is above both.
AFTER_SIGN_MS: Final = 60_000

#: Partition and offset of the rejected record, and of the one put back.
Replays = list[tuple[int, int, int, int]]


async def find_replays(reader: LogReader, runs: Iterable[Run]) -> dict[str, Replays]:
    """Return what each run put back and did not note, in the order of each partition.

    That is one chunk at the most, as a run notes each before the next; so is what is read, but for what others sent.
    """
    found: dict[str, Replays] = {}
    for run in runs:
        ends = await reader.offsets_at(USAGE_EVENTS.name, run.sign_ms + AFTER_SIGN_MS)
        begins = {number: run.unread.get(number, 0) for number in ends}
        found[run.name] = await _of_run(reader, Span(USAGE_EVENTS.name, begins, ends), run.name)
    return found


async def _of_run(reader: LogReader, span: Span, run: str) -> Replays:
    found: Replays = []
    async for records in reader.read(span):
        for record in records:
            _, mark = split_replay_headers(record.headers)
            if mark is not None and mark.run == run and mark.of.topic == USAGE_EVENTS.name:
                found.append((mark.of.partition, mark.of.offset, record.partition, record.offset))
    return found
