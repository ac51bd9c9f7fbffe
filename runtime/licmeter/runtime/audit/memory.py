"""What an audit remembers of a partition: tables in temporary files, so that memory is bounded by what is in use.

Written for the audit alone. The worker's index of accepted reports is one of the things that an audit must be able to
find wrong, so it is not used here.
"""

import json
import mmap
import sqlite3
import tempfile
from collections import OrderedDict
from typing import Final

from licmeter.metering.slot_use import SlotUse

__all__ = ["HOLDERS_MAX", "PackedMemory", "SpilledSlots"]

_ENTRY: Final = 32  # identity 16, content 8, day + 1 in 4, and 4 that stay free
_IDENTITY: Final = 16
_CONTENT: Final = slice(16, 24)
_DAY: Final = slice(24, 28)
_EMPTY: Final = bytes(_ENTRY)
#: Slots and clients in them that are held in memory, some 150 bytes each; the rest waits in a file.
HOLDERS_MAX: Final = 500_000


class PackedMemory:
    """A `DuplicateMemory`: an open hash table in a file without a name, at most half full.

    `entries_max` is known, as no more is added than the partition has records; so the table never grows. Identities
    are hashes, hence evenly spread.
    """

    def __init__(self, entries_max: int, duplicate_days: int) -> None:
        places = 1024
        while places < 2 * entries_max:
            places *= 2
        self._days = duplicate_days
        self._bytes = places * _ENTRY
        with tempfile.TemporaryFile(prefix="licmeter-audit-") as file:
            file.truncate(self._bytes)  # a file of zeros takes no room until it is written to
            self._table = mmap.mmap(file.fileno(), self._bytes)

    def close(self) -> None:
        """Give the file back."""
        self._table.close()

    def get(self, identity: bytes, day: int) -> bytes | None:
        """Return the content that was accepted under this identity, or None."""
        _, entry = self._find(identity)
        if entry == _EMPTY:
            return None
        since = int.from_bytes(entry[_DAY], "little") - 1
        return entry[_CONTENT] if day - since <= self._days else None

    def add(self, identity: bytes, content: bytes, day: int) -> None:
        """Remember an accepted report."""
        at, _ = self._find(identity)
        self._table[at : at + 28] = identity + content + (day + 1).to_bytes(4, "little")

    def _find(self, identity: bytes) -> tuple[int, bytes]:
        """Return the place of an identity, or the free one where it belongs, and what is there."""
        table, size = self._table, self._bytes
        at = int.from_bytes(identity[:8], "little") * _ENTRY % size
        while True:
            entry = table[at : at + _ENTRY]
            if entry[:_IDENTITY] == identity or entry == _EMPTY:
                return at, entry
            at = (at + _ENTRY) % size


class SpilledSlots:
    """A `SlotMemory`: what was used lately in memory, the rest in SQLite's temporary file.

    Call `settle` after each event: only between events may a slot leave the memory.
    """

    def __init__(self, holders_max: int = HOLDERS_MAX) -> None:
        self._holders_max = holders_max
        self._hot: OrderedDict[tuple[str, str, int], SlotUse] = OrderedDict()
        self._held = 0
        self._touched: list[tuple[SlotUse, int]] = []
        self._cold = sqlite3.connect("")
        self._cold.execute("PRAGMA journal_mode = OFF")
        self._cold.execute("CREATE TABLE slots (key TEXT PRIMARY KEY, use TEXT) WITHOUT ROWID")
        self._spilled = False

    def close(self) -> None:
        """Give the file back."""
        self._cold.close()

    def slot(self, organization_id: str, owner: str, slot_s: int) -> SlotUse:
        """Return what is known of a slot of an item; changes to it are kept."""
        key = (organization_id, owner, slot_s)
        use = self._hot.get(key)
        if use is None:
            use = self._hot[key] = self._read(key)
            self._held += 1 + len(use.holders)
        else:
            self._hot.move_to_end(key)
        self._touched.append((use, len(use.holders)))
        return use

    def settle(self) -> None:
        """Take stock of what an event changed, and move the coldest half out when there is too much."""
        if not self._touched:
            return
        for use, before in self._touched:
            if use.changed:  # with a slot that was asked for twice, only the first changed anything since
                self._held += len(use.holders) - before
                use.changed.clear()
        self._touched.clear()
        if self._held > self._holders_max:
            self._spill()

    def _spill(self) -> None:
        self._spilled = True
        moved = []
        while self._hot and self._held > self._holders_max // 2:
            key, use = self._hot.popitem(last=False)
            self._held -= 1 + len(use.holders)
            moved.append((json.dumps(key), json.dumps([use.holders, use.total, use.exceptions])))
        self._cold.executemany("INSERT OR REPLACE INTO slots VALUES (?, ?)", moved)

    def _read(self, key: tuple[str, str, int]) -> SlotUse:
        if not self._spilled:
            return SlotUse()
        found = self._cold.execute("SELECT use FROM slots WHERE key = ?", (json.dumps(key),)).fetchone()
        return SlotUse() if found is None else SlotUse(*json.loads(found[0]))
