"""What was put back, folded from the records of `usage.replays`; no IO.

A place is kept as one number, so a million replays take about 150 MB.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from licmeter.schemas.replays import AnyRecord, Place, ReplayMark, ReplayNote, RunBegun, RunEnded
from licmeter.schemas.topics import USAGE_EVENTS

__all__ = ["ReplayMemory", "Run", "pack_place"]

_OFFSET_BITS: Final = 60


@dataclass(slots=True)
class Run:
    """One run: from where its records may stand in the log, by partition, and whether all of them are noted."""

    name: str
    unread: dict[int, int]
    sign_ms: int  # of its last record here, by the broker's clock
    ended: bool = False


@dataclass(slots=True)
class ReplayMemory:
    """Runs in the order in which they began, and what was put back."""

    runs: dict[str, Run] = field(default_factory=dict)
    _replayed: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._replayed)

    def take(self, record: AnyRecord, at_ms: int) -> None:
        """Fold the next record; `at_ms` is the broker's clock."""
        if isinstance(record, RunBegun):
            self.runs[record.run] = Run(record.run, dict(record.ends), at_ms)
        if isinstance(record, ReplayNote):
            self.add(record.replays)
        run = self.runs.get(record.run)
        if run is None:
            return  # its beginning is no longer kept
        run.sign_ms = at_ms
        if isinstance(record, ReplayNote):
            for *_, partition, offset in record.replays:
                run.unread[partition] = max(run.unread.get(partition, 0), offset + 1)
        elif isinstance(record, RunEnded):
            run.ended = True

    def add(self, replays: Iterable[tuple[int, int, int, int]]) -> None:
        """Remember what was put back; of several times, the first."""
        for partition, offset, new_partition, new_offset in replays:
            self._replayed.setdefault(pack_place(partition, offset), pack_place(new_partition, new_offset))

    def replayed_as(self, place: Place) -> Place | None:
        """Return where a reject was put back, or None."""
        if place.topic != USAGE_EVENTS.name:
            return None
        found = self._replayed.get(pack_place(place.partition, place.offset))
        return None if found is None else Place(USAGE_EVENTS.name, *divmod(found, 1 << _OFFSET_BITS))

    def vouches_for(self, mark: ReplayMark | None) -> bool:
        """Tell whether a replay said this: a sender could write such headers, but cannot know the name of a run."""
        return mark is not None and mark.run in self.runs

    def superseded(self, run: str) -> bool:
        """Tell whether another run began after this one."""
        return next(reversed(self.runs), run) != run

    def unfinished(self, but: str = "") -> list[Run]:
        """Return the runs of which something may be in the log that is not noted."""
        return [run for run in self.runs.values() if not run.ended and run.name != but]


def pack_place(partition: int, offset: int) -> int:
    """Return a place of one topic as one number."""
    return partition << _OFFSET_BITS | offset
