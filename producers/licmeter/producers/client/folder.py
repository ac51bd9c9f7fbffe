"""The spool's folder: tallies of live and dead processes, and the database; or memory, where there is no folder.

<folder>/spool.db          reports that wait
<folder>/<name>.tally      counts of open slots, one file for each process and turn; locked while its process lives
"""

import contextlib
import fcntl
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from licmeter.producers.client.salvage import is_broken, salvage
from licmeter.producers.client.spool import BUSY_TIMEOUT_S, Spool
from licmeter.producers.client.tally import NEW_SUFFIX, Entry, FileTally, MemoryTally, Tally, read_tally

__all__ = ["DATABASE", "Folder", "new_report_id", "salvage"]

DATABASE: Final = "spool.db"
_PROBE_SUFFIX: Final = ".probe"
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: What will not go away by itself: then there is no spool. All else, such as a full disk, may.
_HOPELESS: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
#: Nobody needs so long to make a tally: what is left under such a name is of a process that was killed.
LEFTOVER_S: Final = 3600.0
_POLL_S: Final = 0.02

Say = Callable[[str, str], None]


def new_report_id() -> str:
    """Return an id that no other report has."""
    return uuid.uuid4().hex


class Folder:
    """Where a client keeps what it has not delivered. Never raises for what the disk does; it says so and goes on."""

    def __init__(self, path: Path | None, attributes: str, say: Say) -> None:
        self._attributes = attributes
        self._say = say
        self.unreadable = 0
        self.path = self._made(path)
        self.spool = self._open()

    @property
    def in_memory(self) -> bool:
        """Whether what is kept ends with the process."""
        return self.path is None

    def for_child(self) -> "Folder":
        """Return the same folder for a forked process, with a lock of its own; no IO, as most children only exec."""
        child = object.__new__(type(self))
        child._attributes, child._say, child.unreadable = self._attributes, self._say, 0
        child.path, child.spool = self.path, self.spool.for_child()
        return child

    def _made(self, path: Path | None) -> Path | None:
        if path is None:
            return None
        probe = path / f"{uuid.uuid4().hex}{_PROBE_SUFFIX}"
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe.touch()
            probe.unlink()
        except OSError as error:
            self._say("spool_in_memory", f"{path} cannot be written: {error.strerror}")
            return None
        return path

    def _open(self) -> Spool:
        if self.path is None:
            return Spool(None, new_report_id)
        self.spool = Spool(self.path / DATABASE, new_report_id)
        try:
            self.spool.open()
        except sqlite3.Error as error:
            if _code(error) in _HOPELESS:
                self._say("spool_in_memory", f"{self.path / DATABASE} cannot be opened: {error}")
                self.path = None
                return Spool(None, new_report_id)
            if not self.mend(error):
                self._say("spool_failed", f"{self.path / DATABASE}: {error}; it is tried again")
        _sync_folder(self.path)
        return self.spool

    def mend(self, error: sqlite3.Error) -> bool:
        """Put a database that cannot be read aside, and save of it what can be; False = the error is another one."""
        if self.path is not None and _code(error) == sqlite3.SQLITE_CANTOPEN:
            with contextlib.suppress(OSError):
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody removed it; for the next time
        if self.path is None or _code(error) not in _BROKEN:
            return False
        try:
            # The processes of a folder find it broken at the same time; one of them replaces it.
            with self.spool.lock, _locked(self.path):
                if is_broken(self.path / DATABASE):
                    self._replace(self.path / DATABASE, str(error))
        except (OSError, sqlite3.Error) as failure:
            self._say("spool_failed", f"{error}; it cannot be replaced: {failure}")
            return False
        return True

    def _replace(self, database: Path, why: str) -> None:
        aside = database.with_name(f"{DATABASE}.unreadable-{time.time_ns()}")
        database.replace(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                database.with_name(DATABASE + suffix).replace(aside.with_name(aside.name + suffix))
        self.spool.forget()
        saved = salvage(aside)
        self.spool.add(saved)
        self._say(
            "spool_replaced",
            f"{database} cannot be read ({why}); it is {aside.name} now, {len(saved.reports)} reports saved",
        )

    def new_tally(self) -> Tally:
        """Return a tally to write to: a file, or memory where that cannot be."""
        if self.path is not None:
            try:
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                return FileTally(self.path / f"{uuid.uuid4().hex}.tally", self._attributes)
            except OSError as error:
                self._say("tally_in_memory", f"{self.path}: {error.strerror}")
        return MemoryTally(self._attributes)

    def take_in(self, tally: Tally) -> None:
        """Move the counts of a tally that nobody writes to any more into the spool. Raises `sqlite3.Error`."""
        entries = [entry for entry in tally.entries() if entry.units]
        if isinstance(tally, FileTally):
            if entries:
                self.spool.ingest(tally.path.name, entries)
            tally.path.unlink(missing_ok=True)
            tally.close()
        elif entries:
            self.spool.ingest(uuid.uuid4().hex, entries)

    def adopt(self) -> int:
        """Take in the tallies of processes that have ended; return how many."""
        if self.path is None:
            return 0
        for suffix in (NEW_SUFFIX, _PROBE_SUFFIX):
            for leftover in self.path.glob(f"*{suffix}"):
                _remove_if_old(leftover)
        return sum(self._adopt(path) for path in sorted(self.path.glob("*.tally")))

    def _adopt(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False  # somebody else was faster
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_over(path)
        except (BlockingIOError, FileNotFoundError):
            return False  # its process lives, or somebody else was faster
        except (OSError, sqlite3.Error) as error:
            self._say("tally_kept", f"{path.name} stays for the next start: {error}")
            return False
        finally:
            os.close(file)
        return True

    def _take_over(self, path: Path) -> None:
        entries, why = _read(path)
        if any(entry.units for entry in entries):
            self.spool.ingest(path.name, entries)
        if why is None:
            path.unlink(missing_ok=True)
            return
        self.unreadable += 1
        path.replace(path.with_suffix(".unreadable"))
        self._say("tally_unreadable", f"{path.name}: {why}; {len(entries)} entries before that place are saved")


def _code(error: sqlite3.Error) -> int:
    """Return the primary code of an error; extended ones have more above it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _read(path: Path) -> tuple[list[Entry], ValueError | None]:
    """Return the entries of a tally, as far as they can be read, and why it ends there."""
    entries: list[Entry] = []
    try:
        for entry in read_tally(path.read_bytes()):
            entries.append(entry)  # noqa: PERF402 - those before the error count
    except ValueError as error:
        return entries, error
    return entries, None


def _remove_if_old(leftover: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_S:
            leftover.unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes. Raises `OSError` when another one does not let it go."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(file)


def _sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
