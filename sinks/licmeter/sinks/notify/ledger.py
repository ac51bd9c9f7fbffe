"""Which offsets of a partition are settled, and how a commit says it.

A consumer group commits one offset: all before it is settled. Events are settled in any order, so beyond that offset
some may be settled, too. The commit's metadata, a text that the broker keeps beside the offset, says which; after a
crash they are not delivered again.
"""

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Final

__all__ = ["METADATA_BYTES_MAX", "Ledger", "parse_metadata"]

#: The broker's offset.metadata.max.bytes is 4,096. Ranges that do not fit are forgotten, the highest first.
METADATA_BYTES_MAX: Final = 4_000
_PREFIX: Final = "licmeter1:"
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+))?\Z")


class Ledger:
    """One partition, from the first offset that is not settled. Offsets are taken in order and settled in any."""

    def __init__(self, first: int, settled: tuple[range, ...] = ()) -> None:
        """Start at an offset; `settled` are ascending ranges that an earlier life settled."""
        self._next = first
        self._order: deque[int] = deque()
        self._open: set[int] = set()
        self._settled = settled
        self._starts = [each.start for each in settled]
        self._committed: tuple[int, str] | None = None

    @property
    def open(self) -> int:
        """How many offsets were taken and are not settled."""
        return len(self._open)

    @property
    def next(self) -> int:
        """The offset after the last one that was taken."""
        return self._next

    @property
    def low(self) -> int:
        """The first offset that is not settled."""
        while self._order and self._order[0] not in self._open:
            self._order.popleft()
        return self._order[0] if self._order else self._next

    def take(self, offset: int) -> bool:
        """Take up an offset; False when it is settled already, by an earlier life or because it was taken before."""
        if offset < self._next:
            return False
        self._next = offset + 1
        place = bisect_right(self._starts, offset) - 1
        if place >= 0 and offset in self._settled[place]:
            return False
        self._order.append(offset)
        self._open.add(offset)
        return True

    def settle(self, offset: int) -> None:
        """Note that nothing is left to do for an offset."""
        self._open.discard(offset)

    def commit_point(self) -> tuple[int, str] | None:
        """Return the offset to commit and its metadata, None when that is committed already."""
        point = self.low, self._metadata()
        return None if point == self._committed else point

    def committed(self, point: tuple[int, str]) -> None:
        """Note what was committed."""
        self._committed = point

    def _metadata(self) -> str:
        low, text, comma = self.low, _PREFIX, ""
        for first, last in self._gaps():
            word = str(first - low) if first == last else f"{first - low}-{last - low}"
            if len(text) + len(comma) + len(word) > METADATA_BYTES_MAX:
                break
            text, comma = text + comma + word, ","
        return "" if text == _PREFIX else text

    def _gaps(self) -> Iterator[tuple[int, int]]:
        """Yield what lies settled between what is open."""
        before: int | None = None
        for offset in self._order:
            if offset not in self._open:
                continue
            if before is not None and offset > before + 1:
                yield before + 1, offset - 1
            before = offset
        if before is not None and self._next > before + 1:
            yield before + 1, self._next - 1


def parse_metadata(offset: int, text: str | None) -> tuple[range, ...]:
    """Return the offsets that a commit says are settled beyond its own; nothing for a text that is not ours."""
    if not text or not text.startswith(_PREFIX):
        return ()
    found = []
    for word in text.removeprefix(_PREFIX).split(","):
        match = _RANGE.match(word)
        if match is None:
            return ()
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        found.append(range(offset + first, offset + last + 1))
    return tuple(found)
