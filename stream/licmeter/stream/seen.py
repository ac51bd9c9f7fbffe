"""The index of accepted reports in memory: 24 bytes each in sorted arrays, looked up a batch at a time.

Young reports are in a dictionary; from time to time they are moved into a *run*: the first half of each
identity sorted, the rest beside it. A batch looks itself up in every run with one binary search each, in
C. Runs of one day are merged when they are of like size, so that a day has few; a day is dropped whole.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from licmeter.metering.report import IDENTITY_BYTES
from licmeter.stream.segments import ENTRY_BYTES

__all__ = ["FRESH_MAX", "SeenIndex"]

#: Reports in the dictionary, before one more batch: about 250 bytes each, so 8 MB at most for each partition. They lie
#: among objects that live for one batch and keep those from being given back, so fewer of them are better.
FRESH_MAX: Final = 10_000

_ENTRY: Final = np.dtype([("high", ">u8"), ("low", ">u8"), ("content", ">u8")])
_Words = NDArray[np.uint64]


class _Run:
    """Entries sorted by the first half of the identity."""

    __slots__ = ("content", "high", "low")

    def __init__(self, columns: Iterable[_Words]) -> None:
        """Sort columns (high, low, content); a generator makes each only when the one before is sorted."""
        remaining = iter(columns)
        high = next(remaining)
        order = np.argsort(high, kind="stable")
        self.high = high[order]
        del high  # a large run: 8 bytes an entry that need not wait for the other columns
        self.low = next(remaining)[order]
        self.content = next(remaining)[order]

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def of(cls, entries: bytes) -> "_Run":
        words = np.frombuffer(entries, _ENTRY)
        return cls(words[name].astype(np.uint64) for name in ("high", "low", "content"))

    def merged(self, other: "_Run") -> "_Run":
        return _Run(np.concatenate(pair) for pair in zip(self._columns(), other._columns(), strict=True))

    def _columns(self) -> tuple[_Words, _Words, _Words]:
        return self.high, self.low, self.content

    def find(self, high: _Words, low: _Words) -> Iterable[tuple[int, bytes]]:
        """Yield the place in the query and the content of each entry that is here."""
        places = np.searchsorted(self.high, high)
        candidates = np.flatnonzero(self.high[np.minimum(places, len(self.high) - 1)] == high)
        for query in candidates.tolist():
            place = int(places[query])
            # Entries that share 64 bits stand side by side.
            while place < len(self.high) and self.high[place] == high[query]:
                if self.low[place] == low[query]:
                    yield query, int(self.content[place]).to_bytes(8, "big")
                    break
                place += 1


class SeenIndex:
    """Remembers accepted reports (a `DuplicateMemory`); `prefetch` a batch's identities before asking."""

    def __init__(self, duplicate_days: int, *, fresh_max: int = FRESH_MAX) -> None:
        self._days = duplicate_days
        self._fresh_max = fresh_max
        self._fresh: dict[bytes, tuple[bytes, int]] = {}
        self._runs: dict[int, list[_Run]] = {}
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
        words = np.frombuffer(b"".join(identities), ">u8").reshape(-1, IDENTITY_BYTES // 8)
        high, low = words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)
        for day in sorted(self._runs):  # in order, so that the latest day wins
            for run in self._runs[day]:
                for query, content in run.find(high, low):
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
        if entries:
            self._add_run(day, _Run.of(entries))

    def drop_days_before(self, day: int) -> None:
        """Free what no report can meet any more."""
        for old in [known for known in self._runs if known < day]:
            del self._runs[old]

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
        while runs and len(runs[-1]) < 2 * len(run):
            run = runs.pop().merged(run)
        runs.append(run)
