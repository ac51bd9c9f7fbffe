"""Reports that the server has not confirmed, in SQLite: written before they are sent, removed on confirmation.

Counts of tallies come in by the tally's name, once: name and counts are one transaction. They stay counts until their
slot is over, so that a slot of several processes and flushes becomes one report; then they become reports, with their
ids, in one transaction again. A process that ends between any two statements leaves what was before, or what is after.

A connection lives as long as one transaction, so none is open across a fork; the lock is what a fork waits for.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from licmeter.producers.client.reports import UNITS_MAX, Report, UnusableCountsError, group_entries, make_reports
from licmeter.producers.client.tally import Entry

__all__ = ["BUSY_TIMEOUT_S", "DAY_S", "Contents", "Dropped", "Pending", "Spool"]

BUSY_TIMEOUT_S: Final = 5.0
DAY_S: Final = 86_400
#: Names of tallies that were taken in are remembered for as long as their files might still be there.
INGESTED_DAYS: Final = 60
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS ingested (name TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS counts (attributes TEXT NOT NULL, slot INTEGER NOT NULL, feature TEXT NOT NULL, "
    "count INTEGER NOT NULL, instances INTEGER NOT NULL, PRIMARY KEY (attributes, slot, feature)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS reports (report_id TEXT PRIMARY KEY, slot INTEGER NOT NULL, units INTEGER NOT NULL, "
    "attempt INTEGER NOT NULL DEFAULT 0, session TEXT NOT NULL DEFAULT '', event BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS reports_by_slot ON reports (slot)",
)
_ADD_COUNT: Final = """
INSERT INTO counts (attributes, slot, feature, count, instances) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count, instances = max(instances, excluded.instances)
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A report that waits, as the next attempt sees it."""

    report_id: str
    event: bytes
    units: int
    attempt: int
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """What had to be dropped since the last confirmed report that said so."""

    reports: int = 0
    units: int = 0


@dataclass(slots=True)
class Contents:
    """Rows of a spool, as they are brought from a broken one into a new one."""

    meta: list[tuple[str, str]] = field(default_factory=list)
    ingested: list[tuple[str, float]] = field(default_factory=list)
    counts: list[Entry] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)


class Spool:
    """The spool in a folder; `path` None = in memory, because there is no folder to write to.

    The database is opened, and made, by the first transaction: what a full disk refuses now may go later.
    """

    def __init__(self, path: Path | None, new_id: Callable[[], str]) -> None:
        self.lock = threading.RLock()
        self._path = path
        self._new_id = new_id
        self._made = False
        self._memory = None if path is not None else self._connect()
        #: Groups of counts that no report could be made of; they stay until they are too old.
        self.unusable = 0

    def __del__(self) -> None:
        memory = getattr(self, "_memory", None)
        if memory is not None:
            memory.close()

    def forget(self) -> None:
        """Take the database for one that is not made yet: it was put aside."""
        self._made = False

    def open(self) -> None:
        """Open or make the database. Raises `sqlite3.Error`."""
        with self._transaction():
            pass

    def for_child(self) -> "Spool":
        """Return the same spool for a forked process, with a lock of its own; no IO."""
        child = Spool(self._path, self._new_id)
        child._made = self._made and self._path is not None
        return child

    def _connect(self) -> sqlite3.Connection:
        # Threads take turns by the lock.
        db = sqlite3.connect(
            self._path or ":memory:", timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            if self._path is not None:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
        except sqlite3.Error:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            made, self._made = self._made, False  # unless this goes well: it may have been removed or replaced
            db = self._memory or self._connect()
            try:
                db.execute("BEGIN IMMEDIATE")
                try:
                    if not made:
                        for statement in _SCHEMA:
                            db.execute(statement)
                    yield db
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
                self._made = True
            finally:
                if self._memory is None:
                    db.close()  # takes back what was not committed
                elif db.in_transaction:
                    db.execute("ROLLBACK")

    def remembered(self, name: str, make: Callable[[], str]) -> str:
        """Return a value that is made once and kept."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, make()))
            return str(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])

    def remember(self, name: str, value: str) -> None:
        """Keep a value."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def recall(self, name: str) -> str | None:
        """Return a value that was kept."""
        with self._transaction() as db:
            found = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def ingest(self, name: str, entries: Sequence[Entry]) -> bool:
        """Take the counts of a tally in, unless that was done before; tell whether it was done now."""
        with self._transaction() as db:
            at = time.time()
            if not db.execute("INSERT OR IGNORE INTO ingested VALUES (?, ?)", (name, at)).rowcount:
                return False
            db.executemany(_ADD_COUNT, [tuple(entry) for entry in entries if entry.units])
            db.execute("DELETE FROM ingested WHERE at < ?", (at - INGESTED_DAYS * DAY_S,))
            return True

    def close_slots(self, client_uuid: str, before: int) -> int:
        """Make reports of the counts of slots that began before an instant; return how many."""
        made = 0
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM counts WHERE slot < ?", (before,)).fetchall()
            self.unusable = 0
            for group in group_entries(Entry(*row) for row in rows):
                made += self._close_group(db, group, client_uuid)
        return made

    def _close_group(self, db: sqlite3.Connection, group: list[Entry], client_uuid: str) -> int:
        excess = sum(max(0, entry.units - UNITS_MAX) for entry in group)
        try:
            bounded = (entry._replace(units=min(entry.units, UNITS_MAX)) for entry in group)
            reports = list(make_reports(bounded, client_uuid, self._new_id))
        except UnusableCountsError:
            self.unusable += 1
            return 0
        self._insert(db, reports)
        db.execute("DELETE FROM counts WHERE slot = ? AND attributes = ?", (group[0].slot, group[0].attributes))
        if excess:
            _add_dropped(db, Dropped(0, excess))
        return len(reports)

    def _insert(self, db: sqlite3.Connection, reports: Sequence[Report]) -> None:
        db.executemany(
            "INSERT OR IGNORE INTO reports (report_id, slot, units, event) VALUES (?, ?, ?, ?)",
            [(report.report_id, report.slot, report.units, report.event) for report in reports],
        )

    def add(self, contents: Contents) -> None:
        """Put rows in, as from another spool."""
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", contents.meta)
            db.executemany("INSERT OR IGNORE INTO ingested VALUES (?, ?)", contents.ingested)
            db.executemany(_ADD_COUNT, [tuple(entry) for entry in contents.counts])
            self._insert(db, contents.reports)

    def pending(
        self,
        limit: int,
        bytes_max: int,
        *,
        not_in_session: str | None = None,
        after: Pending | None = None,
    ) -> list[Pending]:
        """Return the oldest reports, as many as fit, that were not tried in a session, and come `after` another."""
        taken: list[Pending] = []
        size = 0
        cursor = (-1, "") if after is None else (after.slot, after.report_id)
        with self._transaction() as db:
            rows = db.execute(
                "SELECT report_id, event, units, attempt, slot FROM reports WHERE session IS NOT ? "
                "AND (slot, report_id) > (?, ?) ORDER BY slot, report_id LIMIT ?",
                (not_in_session, *cursor, limit),
            )
            for row in rows:
                size += len(row[1])
                if taken and size > bytes_max:
                    break
                taken.append(Pending(*row))
        return taken

    def attempted(self, reports: Sequence[Pending], session: str) -> None:
        """Note an attempt, before it is made."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE reports SET attempt = attempt + 1, session = ? WHERE report_id = ?",
                [(session, report.report_id) for report in reports],
            )

    def settle(self, report_ids: Sequence[str], said: Dropped | None = None) -> None:
        """Remove reports that are confirmed or refused for good; `said` is what the first of them said was dropped.

        Another process may have settled the same reports; then it has settled what they said, too.
        """
        with self._transaction() as db:
            gone = [db.execute("DELETE FROM reports WHERE report_id = ?", (name,)).rowcount for name in report_ids]
            if said is not None and gone and gone[0]:
                _add_dropped(db, Dropped(-said.reports, -said.units))

    def dropped(self) -> Dropped:
        """Return what was dropped and not yet said to the server."""
        with self._transaction() as db:
            return _dropped(db)

    def enforce(self, *, oldest_slot: int, bytes_max: int) -> Dropped:
        """Drop what is too old, then the oldest beyond the bound; return what that was, for the server to be told."""
        with self._transaction() as db:
            gone = _take(db, "WHERE slot < ?", (oldest_slot,))
            # Counts that are too old are those that no report could be made of.
            old = db.execute("SELECT coalesce(sum(count), 0) FROM counts WHERE slot < ?", (oldest_slot,)).fetchone()[0]
            if old:
                db.execute("DELETE FROM counts WHERE slot < ?", (oldest_slot,))
                gone = Dropped(gone.reports, gone.units + old)
            size = db.execute("SELECT coalesce(sum(length(event)), 0) FROM reports").fetchone()[0]
            while size > bytes_max:
                name, length, units = db.execute(
                    "SELECT report_id, length(event), units FROM reports ORDER BY slot, report_id LIMIT 1"
                ).fetchone()
                db.execute("DELETE FROM reports WHERE report_id = ?", (name,))
                size -= length
                gone = Dropped(gone.reports + 1, gone.units + units)
            if gone.units or gone.reports:
                _add_dropped(db, gone)
        return gone

    def status(self) -> dict[str, int | None]:
        """Return what the spool holds."""
        with self._transaction() as db:
            reports, units, size, oldest = db.execute(
                "SELECT count(*), coalesce(sum(units), 0), coalesce(sum(length(event)), 0), min(slot) FROM reports"
            ).fetchone()
            open_units = db.execute("SELECT coalesce(sum(count), 0) FROM counts").fetchone()[0]
            dropped = _dropped(db)
        return {
            "reports": reports,
            "units": units,
            "bytes": size,
            "oldest_slot": oldest,
            "units_of_open_slots": open_units,
            "dropped_reports": dropped.reports,
            "dropped_units": dropped.units,
        }


def _dropped(db: sqlite3.Connection) -> Dropped:
    found = dict(db.execute("SELECT name, value FROM meta WHERE name IN ('dropped_reports', 'dropped_units')"))
    return Dropped(int(found.get("dropped_reports", 0)), int(found.get("dropped_units", 0)))


def _add_dropped(db: sqlite3.Connection, more: Dropped) -> None:
    known = _dropped(db)
    reports, units = max(0, known.reports + more.reports), max(0, known.units + more.units)
    values = [("dropped_reports", str(reports)), ("dropped_units", str(units))]
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)


def _take(db: sqlite3.Connection, where: str, parameters: tuple[int, ...]) -> Dropped:
    reports, units = db.execute(
        f"SELECT count(*), coalesce(sum(units), 0) FROM reports {where}",  # noqa: S608 - our own words
        parameters,
    ).fetchone()
    if reports:
        db.execute(f"DELETE FROM reports {where}", parameters)  # noqa: S608
    return Dropped(reports, units)
