"""Counts of slots that are not reported yet, in a file that is mapped into memory.

Whatever `add` returned from is in the kernel's hands, so it survives `kill -9` without any IO on the way. A power cut
loses what came since the last `sync`. An entry is written first and counted in after, so that a process that ends in
between leaves nothing half.

Words of 8 bytes: magic, words used, length of the attributes, attributes; then entries: slot, count, instances, length
of the name, name.
"""

import contextlib
import fcntl
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "NEW_SUFFIX",
    "TALLY_BYTES",
    "Entry",
    "FileTally",
    "MemoryTally",
    "Tally",
    "TallyFullError",
    "encode_attributes",
    "read_tally",
]

#: Some 1,500 entries with short names: what an application uses in an hour, and little to keep in memory.
TALLY_BYTES: Final = 64 * 1024
#: Entries of a tally that is in memory only, because no file can be had.
MEMORY_ENTRIES_MAX: Final = 10_000
#: Of a file that is being made.
NEW_SUFFIX: Final = ".new"
_MAGIC: Final = int.from_bytes(b"LMTALLY1", "little")
_USED, _FIRST = 1, 3
_ENTRY_WORDS: Final = 4
#: Of a name of 128 characters; anything longer is no tally of ours, or broken.
NAME_BYTES_MAX: Final = 512
SLOT_SECONDS: Final = 180
#: The last slot that a datetime can name.
SLOT_MAX: Final = 253_402_300_620


class TallyFullError(Exception):
    """There is no room for another entry."""


class Entry(NamedTuple):
    """What was counted of a feature in a slot, by a program with these attributes (JSON)."""

    attributes: str
    slot: int
    feature: str
    units: int
    instances: int


class MemoryTally:
    """A tally that ends with the process: when there is no folder to write to, or while one is made."""

    def __init__(self, attributes: str) -> None:
        self._attributes = attributes
        self._names: list[tuple[int, str]] = []
        self.words: list[int] = []

    def add(self, slot: int, feature: str) -> int:
        """Make an entry with a count of 0 and return its place; raises `TallyFullError`."""
        if len(self._names) >= MEMORY_ENTRIES_MAX:
            raise TallyFullError
        self._names.append((slot, feature))
        self.words += (0, 0)
        return len(self.words) - 2

    def entries(self) -> Iterator[Entry]:
        """Yield what was counted."""
        for number, (slot, feature) in enumerate(self._names):
            yield Entry(self._attributes, slot, feature, self.words[2 * number], self.words[2 * number + 1])


class FileTally:
    """A tally in a file of its own, locked while its process lives. Raises `OSError` where none can be made."""

    def __init__(self, path: Path, attributes: str) -> None:
        self.path = path
        # Under another name until it is locked: an unlocked tally is one that nobody owns.
        unowned = path.with_suffix(NEW_SUFFIX)
        self._file = os.open(unowned, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Reserved, not only sized: writing to a page that the disk has no room for would kill the process.
            os.posix_fallocate(self._file, 0, TALLY_BYTES)
            # The lock ends with the process, however it ends; who can take it may take over the file.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unowned.rename(path)
            self._map = mmap.mmap(self._file, TALLY_BYTES)
        except OSError:
            os.close(self._file)
            for leftover in (unowned, path):
                with contextlib.suppress(OSError):
                    leftover.unlink()
            raise
        self._bytes = memoryview(self._map)
        self.words = self._bytes.cast("Q")
        self._write_head(attributes.encode())

    def _write_head(self, attributes: bytes) -> None:
        end = 8 * _FIRST + len(attributes)
        self._bytes[8 * _FIRST : end] = attributes
        self.words[2] = len(attributes)
        self._used = _FIRST + _words(len(attributes))
        self.words[_USED] = self._used
        self.words[0] = _MAGIC

    def add(self, slot: int, feature: str) -> int:
        """Make an entry with a count of 0 and return its place; raises `TallyFullError`."""
        name = feature.encode()
        at = self._used
        end = at + _ENTRY_WORDS + _words(len(name))
        if 8 * end > TALLY_BYTES:
            raise TallyFullError
        words = self.words
        words[at], words[at + 3] = slot, len(name)
        start = 8 * (at + _ENTRY_WORDS)
        self._bytes[start : start + len(name)] = name
        self._used = words[_USED] = end
        return at + 1

    def sync(self) -> None:
        """Make what was counted survive a power cut, too; takes as long as the disk does."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file; its lock with it."""
        if self._file >= 0:
            self.words.release()
            self._bytes.release()
            self._map.close()
            os.close(self._file)
            self._file = -1

    def entries(self) -> Iterator[Entry]:
        """Yield what was counted."""
        return read_tally(bytes(self._bytes))


def _words(size: int) -> int:
    return (size + 7) // 8


def read_tally(content: bytes) -> Iterator[Entry]:
    """Yield the entries of a tally's file; none of a file that ended before it was begun.

    Raises `ValueError` where the file is broken, after the entries before that place.
    """
    words = memoryview(content[: len(content) // 8 * 8]).cast("Q")
    if len(words) < _FIRST or words[0] != _MAGIC:
        return
    used, size = words[_USED], words[2]
    at = _FIRST + _words(size)
    if not at <= used <= len(words):
        raise ValueError("it ends before its entries do")
    attributes = content[8 * _FIRST : 8 * _FIRST + size].decode()
    while at < used:
        if at + _ENTRY_WORDS > used:
            raise ValueError("its last entry is not whole")
        slot, count, instances, length = words[at : at + _ENTRY_WORDS]
        start = 8 * (at + _ENTRY_WORDS)
        at += _ENTRY_WORDS + _words(length)
        if at > used or not 0 < length <= NAME_BYTES_MAX or slot % SLOT_SECONDS or slot > SLOT_MAX:
            raise ValueError("an entry of it is broken")
        yield Entry(attributes, slot, content[start : start + length].decode(), count, instances)


def encode_attributes(attributes: Mapping[str, object]) -> str:
    """Return attributes as the text that tallies and spools keep; equal attributes give equal texts."""
    return json.dumps(attributes, sort_keys=True, separators=(",", ":"))


#: Where counts are kept: `words[place]` is a count, and `words[place + 1]` its instances.
Tally = FileTally | MemoryTally
