"""The index of accepted reports: 12 bytes each in memory and 16 in a file, looked up a batch at a time.

Young reports are in a dictionary; from time to time they are moved into a *run*: the first half of each identity
sorted, and beside it the place on the *shelf* where the rest is. A batch looks itself up in every run with one binary
search each, in C, and reads the rest only where the first half is known, which is so for duplicates alone. Runs of one
day are merged when they are of like size, so that a day has few; a day is dropped whole.

All 24 bytes in memory were 240 MB for ten million reports, half of what a worker may take.
"""

import errno
import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from licmeter.metering.report import IDENTITY_BYTES
from licmeter.stream.segments import ENTRY_BYTES

__all__ = ["FRESH_MAX", "SeenIndex"]

#: Reports in the dictionary, before one more batch: about 250 bytes each, so 8 MB at most for each partition. They lie
#: among objects that live for one batch and keep those from being given back, so fewer of them are better.
FRESH_MAX: Final = 10_000
#: Entries of a run: a merge takes some 30 bytes an entry for a moment, so 8 MB at most.
RUN_MAX: Final = 250_000
#: Entries of a block of the shelf, 16 KiB; the last block of each run has room left.
BLOCK: Final = 1_024

_HALF: Final = IDENTITY_BYTES // 2
_REST_BYTES: Final = ENTRY_BYTES - _HALF
_Words = NDArray[np.uint64]
_Places = NDArray[np.uint32]


class _Shelf:
    """The second halves of identities, and contents, by place: in a file that has no name and ends with the process.

    It is in a folder on disk, as the system's temporary one may be memory; None = that one all the same. What is on it
    is in the `seen` table, too, so nothing is lost with it. A block holds entries of one day.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: int | None = None
        self._blocks = 0
        self._free: list[int] = []
        self._by_day: dict[int, list[int]] = {}

    def put(self, day: int, rests: bytes) -> _Places:
        """Write the rests of some entries; return where each is."""
        count, size = len(rests) // _REST_BYTES, BLOCK * _REST_BYTES
        blocks = [self._block(day) for _ in range(0, count, BLOCK)]
        for number, block in enumerate(blocks):
            part = rests[number * size : (number + 1) * size]
            if os.pwrite(self._open(), part, block * size) < len(part):  # else these would not be found again
                raise OSError(errno.ENOSPC, "remembered reports do not fit into the data folder")
        firsts = np.repeat(np.array(blocks, np.uint32), BLOCK) * BLOCK
        return (firsts + np.tile(np.arange(BLOCK, dtype=np.uint32), len(blocks)))[:count].astype(np.uint32)

    def read(self, place: int) -> tuple[bytes, bytes]:
        """Return the second half and the content at a place."""
        rest = os.pread(self._open(), _REST_BYTES, place * _REST_BYTES)
        return rest[:_HALF], rest[_HALF:]

    def drop(self, day: int) -> None:
        """Let others have the blocks of a day."""
        self._free += self._by_day.pop(day, [])

    def _block(self, day: int) -> int:
        if not self._free:
            self._free.append(self._blocks)
            self._blocks += 1
        block = self._free.pop()
        self._by_day.setdefault(day, []).append(block)
        return block

    def _open(self) -> int:
        if self._file is None:
            with tempfile.TemporaryFile(prefix="seen-", dir=self._folder) as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
        return self._file


class _Run:
    """Entries sorted by the first half of the identity; `places` are those of the rests."""

    __slots__ = ("high", "places")

    def __init__(self, high: _Words, places: _Places) -> None:
        order = np.argsort(high, kind="stable")
        self.high = high[order]
        self.places = places[order]

    def __len__(self) -> int:
        return len(self.high)

    def merged(self, other: "_Run") -> "_Run":
        return _Run(np.concatenate((self.high, other.high)), np.concatenate((self.places, other.places)))

    def find(self, high: _Words) -> Iterable[tuple[int, int]]:
        """Yield the place in the query and that on the shelf of each entry with a first half that is asked for."""
        places = np.searchsorted(self.high, high)
        candidates = np.flatnonzero(self.high[np.minimum(places, len(self.high) - 1)] == high)
        for query in candidates.tolist():
            place = int(places[query])
            # Entries that share 64 bits stand side by side.
            while place < len(self.high) and self.high[place] == high[query]:
                yield query, int(self.places[place])
                place += 1


class SeenIndex:
    """Remembers accepted reports (a `DuplicateMemory`); `prefetch` a batch's identities before asking."""

    def __init__(self, duplicate_days: int, *, fresh_max: int = FRESH_MAX, folder: Path | None = None) -> None:
        self._days = duplicate_days
        self._fresh_max = fresh_max
        self._fresh: dict[bytes, tuple[bytes, int]] = {}
        self._runs: dict[int, list[_Run]] = {}
        self._shelf = _Shelf(folder)
        self._hits: dict[bytes, tuple[bytes, int]] = {}

    def __len__(self) -> int:
        return len(self._fresh) + sum(len(run) for runs in self._runs.values() for run in runs)

    def prefetch(self, identities: Sequence[bytes]) -> None:
        """Look up a batch in the runs; what was fetched before is forgotten."""
        if len(self._fresh) > self._fresh_max:
            self._settle()
        self._hits = {}
        if not identities or not self._runs:
            return
        high = np.frombuffer(b"".join(identity[:_HALF] for identity in identities), ">u8").astype(np.uint64)
        for day in sorted(self._runs):  # in order, so that the latest day wins
            for run in self._runs[day]:
                for query, place in run.find(high):
                    low, content = self._shelf.read(place)
                    if low == identities[query][_HALF:]:
                        self._hits[identities[query]] = (content, day)

    def get(self, identity: bytes, day: int) -> bytes | None:
        """Return the content that was accepted under this identity, or None."""
        found = self._fresh.get(identity) or self._hits.get(identity)
        return found[0] if found is not None and day - found[1] <= self._days else None

    def add(self, identity: bytes, content: bytes, day: int) -> None:
        """Remember an accepted report."""
        self._fresh[identity] = (content, day)

    def load(self, day: int, entries: bytes) -> None:
        """Add packed entries of one day, as segments hold them."""
        size = RUN_MAX * ENTRY_BYTES
        for start in range(0, len(entries), size):
            rows = np.frombuffer(entries[start : start + size], np.uint8).reshape(-1, ENTRY_BYTES)
            places = self._shelf.put(day, rows[:, _HALF:].tobytes())
            self._add_run(day, _Run(rows[:, :_HALF].copy().view(">u8").ravel().astype(np.uint64), places))

    def drop_days_before(self, day: int) -> None:
        """Free what no report can meet any more."""
        for old in [known for known in self._runs if known < day]:
            del self._runs[old]
            self._shelf.drop(old)

    def _settle(self) -> None:
        by_day: dict[int, bytearray] = {}
        for identity, (content, day) in self._fresh.items():
            entries = by_day.setdefault(day, bytearray())
            entries += identity
            entries += content
        self._fresh.clear()
        for day, entries in by_day.items():
            assert len(entries) % ENTRY_BYTES == 0
            self.load(day, bytes(entries))

    def _add_run(self, day: int, run: _Run) -> None:
        runs = self._runs.setdefault(day, [])
        while runs and len(runs[-1]) < 2 * len(run) and len(runs[-1]) + len(run) <= RUN_MAX:
            run = runs.pop().merged(run)
        runs.append(run)
