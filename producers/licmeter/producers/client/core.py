"""What both faces share: recorder, folder and figures. Everything here may block, except for `recorder.record`."""

import contextlib
import logging
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from licmeter.producers.client.answers import ItemState
from licmeter.producers.client.folder import Folder
from licmeter.producers.client.forking import watch
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.recorder import SLOT_SECONDS, Recorder
from licmeter.producers.client.spool import DAY_S
from licmeter.producers.client.tally import SLOT_MAX, FileTally, MemoryTally, Tally

__all__ = ["Core", "Stats"]

_log: Final = logging.getLogger("licmeter.client")
#: Later than any slot.
ALL_SLOTS: Final = 2**62


@dataclass(slots=True)
class Stats:
    """What became of what was recorded, in this process; `dropped` and `waiting` are those of the spool."""

    recorded_units: int = 0
    misused: dict[str, int] = field(default_factory=dict)
    confirmed_reports: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped_reports: int = 0
    dropped_units: int = 0
    failed_deliveries: int = 0
    last_failure: str = ""
    in_memory: bool = False


class Core:
    """A client without its courier. `open` comes first; recording before goes to memory, and is not lost by it."""

    def __init__(self, options: ClientOptions, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.clock = clock
        self.stats = Stats()
        self.items: dict[str, ItemState] = {}
        self.session = uuid.uuid4().hex
        self.client_uuid = options.client_uuid or ""
        self.folder: Folder | None = None
        self.closed = False
        self._said: set[str] = set()
        self._lock = threading.RLock()
        #: Tallies that nobody writes to any more, and that are not in the spool yet.
        self._done: deque[Tally] = deque()
        self.recorder = Recorder(self._memory(), self._memory, clock, self._on_misuse)
        self.recorder.set_instances(options.instances)
        watch(self)

    def _memory(self) -> MemoryTally:
        return MemoryTally(self.options.attributes)

    def open(self) -> None:
        """Open the folder, take in what dead processes left, and go on in a tally of our own."""
        with self._lock:
            if self.folder is not None and not self.closed:
                return
            self.closed = False
            if self.folder is None:
                self.folder = Folder(self.options.folder, self.options.attributes, self.say)
            self.stats.in_memory = self.folder.in_memory
            self._swap(self.folder, self._fresh(self.folder))
            self.collect()
            self._have_spare(self.folder)

    def identify(self) -> str:
        """Return the identity of this device, which the spool keeps. Raises `sqlite3.Error`."""
        if not self.client_uuid:
            assert self.folder is not None
            self.client_uuid = self.folder.spool.remembered("client_uuid", lambda: str(uuid.uuid4()))
        return self.client_uuid

    def say(self, event: str, what: str) -> None:
        """Log something, each kind once: an application's log is not ours."""
        if event not in self._said:
            self._said.add(event)
            _log.warning("licmeter: %s: %s", event, what)

    def _on_misuse(self, kind: str, what: str) -> None:
        self.say(f"misuse of record() ({kind})", f"{what}; it was not counted")

    def tick(self) -> None:
        """Make what was recorded survive a power cut, and have a tally at hand for when this one is full."""
        self.recorder.say_misuse()
        with self._lock:
            recorder, folder = self.recorder, self.folder
            if folder is None or self.closed:
                return
            tally = recorder.tally
            if recorder.dirty and isinstance(tally, FileTally):
                recorder.dirty = False
                try:
                    tally.sync()
                except OSError:
                    recorder.dirty = True
            self._have_spare(folder)
            if isinstance(tally, MemoryTally) and recorder.spare is not None:
                self._swap(folder, self._fresh(folder))  # from now on it survives the process
            elif recorder.full:
                self._swap(folder)

    def _have_spare(self, folder: Folder) -> None:
        if self.recorder.spare is None and not folder.in_memory:
            fresh = folder.new_tally()
            # One in memory needs no IO, so that it is made when it is needed; a file may be had the next time.
            self.recorder.spare = fresh if isinstance(fresh, FileTally) else None

    def collect(self, *, all_slots: bool = False) -> bool:
        """Bring what was recorded into the spool, make reports of slots that are over, and keep the bounds.

        What the disk refuses stays where it is, for the next time; tell whether it refused nothing.
        """
        self.recorder.say_misuse()
        with self._lock:
            folder = self.folder
            if folder is None:
                return not self.recorder.holds_any
            folder.adopt()
            self._drain(folder)
            if self.recorder.holds_any:
                self._swap(folder)
            try:
                self._close_slots(folder, all_slots=all_slots)
            except sqlite3.Error as error:
                self.failed(error)
                return False
            return not self._done

    def failed(self, error: sqlite3.Error) -> None:
        """Say that the spool failed, and replace it when it is broken for good."""
        with self._lock:
            if self.folder is None or not self.folder.mend(error):
                self.say("spool_failed", str(error))
                return
            if self.client_uuid and not self.options.client_uuid:
                with contextlib.suppress(sqlite3.Error):
                    self.folder.spool.remembered("client_uuid", lambda: self.client_uuid)

    def _close_slots(self, folder: Folder, *, all_slots: bool) -> None:
        now = self.now()
        before = ALL_SLOTS if all_slots else int(now // SLOT_SECONDS) * SLOT_SECONDS
        folder.spool.close_slots(self.identify(), before)
        if folder.spool.unusable:
            self.say("counts_unusable", f"of {folder.spool.unusable} slots: no report can be made of them")
        gone = folder.spool.enforce(
            oldest_slot=max(0, int(now - self.options.spool_days_max * DAY_S - SLOT_SECONDS)),
            bytes_max=self.options.spool_bytes_max,
        )
        if gone.reports or gone.units:
            self.stats.dropped_reports += gone.reports
            self.stats.dropped_units += gone.units
            self.say("reports_dropped", f"{gone.reports} reports with {gone.units} units: too old, or too many")

    def now(self) -> float:
        """Return the time; ours, where the application's clock does not tell any."""
        try:
            now = self.clock()
            if 0 <= now <= SLOT_MAX:
                return now
        except Exception as error:
            self.say("clock_failed", type(error).__name__)
        return time.time()

    def _swap(self, folder: Folder, fresh: Tally | None = None) -> None:
        """Go on in another tally, and take the one so far in; not while earlier ones wait for the disk."""
        if not self._drain(folder) and fresh is None:
            return
        fresh = fresh or self._fresh(folder)
        done = self.recorder.swap(fresh)
        if done is None:  # the next time, then
            if isinstance(fresh, FileTally):
                self._done.append(fresh)
            return
        self._done += done
        self._drain(folder)

    def _fresh(self, folder: Folder) -> Tally:
        # Once the client is closed no file is left behind: what is recorded then waits in memory for the last `rest`.
        return self.recorder.take_spare() or (self._memory() if self.closed else folder.new_tally())

    def _drain(self, folder: Folder) -> bool:
        while self._done:
            try:
                folder.take_in(self._done[0])
            except sqlite3.Error as error:
                self.failed(error)
                return False
            except OSError as error:
                self.say("tally_kept", str(error))
                return False
            self._done.popleft()
        return True

    def snapshot(self) -> Stats:
        """Return the figures as they stand."""
        self.stats.recorded_units = self.recorder.recorded
        self.stats.misused = dict(self.recorder.misused)
        return self.stats

    def rest(self) -> None:
        """Bring everything into the spool, as far as that goes; at the end of a client, and of its process."""
        with self._lock:
            if self.folder is None and self.recorder.holds_any:
                self.open()  # a client that was made, and never started
            if self.folder is None or (self.closed and not self.recorder.holds_any and not self._done):
                return
            self.closed = True
            spare = self.recorder.take_spare()
            if isinstance(spare, FileTally):
                self._done.append(spare)
            self._swap(self.folder, self._memory())
            self.collect(all_slots=True)
            self._say_what_ends(self.folder)

    def _say_what_ends(self, folder: Folder) -> None:
        if not folder.in_memory:
            return
        with contextlib.suppress(sqlite3.Error):
            found = folder.spool.status()
            if found["reports"]:
                self.say("reports_end", f"{found['reports']} reports, {found['units']} units: there is no spool")

    def before_fork(self) -> None:
        """Wait until nothing is half done, so that the child sees whole things."""
        self._lock.acquire()
        if self.folder is not None:
            self.folder.spool.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self.folder is not None:
            self.folder.spool.lock.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: tallies, reports in memory and the session are the parent's."""
        self._lock = threading.RLock()
        self.session = uuid.uuid4().hex
        self.stats = Stats()
        inherited = [self.recorder.tally, self.recorder.spare, *self.recorder.full, *self._done]
        self._done.clear()
        fresh: Tally = self._memory()
        if self.folder is not None:
            self.folder = self.folder.for_child()
            self.stats.in_memory = self.folder.in_memory
            if not self.closed:
                fresh = self.folder.new_tally()
        self.recorder.after_fork(fresh)
        for tally in inherited:
            if isinstance(tally, FileTally):
                tally.close()  # our copy of it: the lock must end with the parent
