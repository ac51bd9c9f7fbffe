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
from collections.abc import Callable
from pathlib import Path
from typing import Final

from licmeter.producers.client.reports import Report
from licmeter.producers.client.spool import Spool
from licmeter.producers.client.tally import FileTally, MemoryTally, Tally, read_tally

__all__ = ["Folder", "salvage"]

DATABASE: Final = "spool.db"
Say = Callable[[str, str], None]


def new_report_id() -> str:
    """Return an id that no other report has."""
    return uuid.uuid4().hex


class Folder:
    """Where a client keeps what it has not delivered. Never raises for what the disk does; it says so and goes on."""

    def __init__(self, path: Path | None, attributes: str, say: Say) -> None:
        self._attributes = attributes
        self._say = say
        self.path = self._made(path)
        self.spool = self._open()
        self.unreadable = 0

    @property
    def in_memory(self) -> bool:
        """Whether what is kept ends with the process."""
        return self.path is None

    def for_child(self) -> "Folder":
        """Return the same folder for a forked process, with a lock of its own."""
        return Folder(self.path, self._attributes, self._say)

    def _made(self, path: Path | None) -> Path | None:
        if path is None:
            return None
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = path / f"{uuid.uuid4().hex}.probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            self._say("spool_in_memory", f"{path} cannot be written: {error.strerror}")
            return None
        return path

    def _open(self) -> Spool:
        if self.path is not None:
            database = self.path / DATABASE
            try:
                spool = Spool(database, new_report_id)
            except sqlite3.OperationalError as error:
                self._say("spool_in_memory", f"{database} cannot be opened: {error}")
                self.path = None
            except sqlite3.DatabaseError as error:
                return self._replace(database, str(error))
            else:
                _sync_folder(self.path)
                return spool
        return Spool(None, new_report_id)

    def _replace(self, database: Path, why: str) -> Spool:
        """Put a database that cannot be read aside, and save of it what can be."""
        aside = database.with_name(f"{DATABASE}.unreadable-{time.time_ns()}")
        database.replace(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                database.with_name(DATABASE + suffix).replace(aside.with_name(aside.name + suffix))
        spool = Spool(database, new_report_id)
        saved = salvage(aside)
        spool.add(saved)
        self._say(
            "spool_replaced", f"{database} cannot be read ({why}); it is {aside.name} now, {len(saved)} reports saved"
        )
        return spool

    def new_tally(self) -> Tally:
        """Return a tally to write to: a file, or memory where that cannot be."""
        if self.path is not None:
            try:
                return FileTally(self.path / f"{uuid.uuid4().hex}.tally", self._attributes)
            except OSError as error:
                self._say("tally_in_memory", f"{self.path}: {error.strerror}")
        return MemoryTally(self._attributes)

    def take_in(self, tally: Tally) -> None:
        """Move the counts of a tally that nobody writes to any more into the spool. Raises `sqlite3.Error`."""
        if isinstance(tally, FileTally):
            self.spool.ingest(tally.path.name, list(tally.entries()))
            tally.path.unlink(missing_ok=True)
            tally.close()
        elif isinstance(tally, MemoryTally):
            self.spool.ingest(uuid.uuid4().hex, list(tally.entries()))

    def adopt(self) -> int:
        """Take in the tallies of processes that have ended; return how many."""
        if self.path is None:
            return 0
        return sum(self._adopt(path) for path in sorted(self.path.glob("*.tally")))

    def _adopt(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False  # somebody else was faster
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = path.read_bytes()
            self.spool.ingest(path.name, list(read_tally(content)))
            path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            return False  # its process lives, or somebody else was faster
        except (ValueError, IndexError) as error:
            self.unreadable += 1
            self._say("tally_unreadable", f"{path.name}: {error}")
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".unreadable"))
            return False
        except (OSError, sqlite3.Error) as error:
            self._say("tally_kept", f"{path.name} stays for the next start: {error}")
            return False
        finally:
            os.close(file)
        return True


def _sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def salvage(database: Path) -> list[Report]:
    """Read what can be read of a broken database, report by report."""
    saved: list[Report] = []
    with contextlib.suppress(sqlite3.Error):
        db = sqlite3.connect(database)
        try:
            for report_id, slot, units, event in db.execute("SELECT report_id, slot, units, event FROM reports"):
                saved.append(Report(report_id, slot, event, units))
        finally:
            db.close()
    return saved
