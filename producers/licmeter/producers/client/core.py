"""What both faces share: recorder, folder and figures. Everything here may block, except for `recorder.record`."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from licmeter.producers.client.answers import ItemState
from licmeter.producers.client.folder import Folder
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.recorder import SLOT_SECONDS, Recorder
from licmeter.producers.client.spool import DAY_S
from licmeter.producers.client.tally import FileTally, MemoryTally, Tally

__all__ = ["Core", "Stats"]

_log: Final = logging.getLogger("licmeter.client")


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
        _CORES.add(self)

    def _memory(self) -> MemoryTally:
        return MemoryTally(self.options.attributes)

    def open(self) -> None:
        """Open the folder, take in what dead processes left, and go on in a tally of our own."""
        with self._lock:
            if self.folder is not None:
                return
            self.folder = Folder(self.options.folder, self.options.attributes, self.say)
            self.stats.in_memory = self.folder.in_memory
            if not self.client_uuid:
                self.client_uuid = self.folder.spool.remembered("client_uuid", lambda: str(uuid.uuid4()))
            self.folder.adopt()
            self.collect()

    def say(self, event: str, what: str) -> None:
        """Log something, each kind once: an application's log is not ours."""
        if event not in self._said:
            self._said.add(event)
            _log.warning("licmeter: %s: %s", event, what)

    def _on_misuse(self, kind: str, what: str) -> None:
        self.say(f"misuse of record() ({kind})", f"{what}; it was not counted")

    def tick(self) -> None:
        """Make what was recorded survive a power cut, and have a tally at hand for when this one is full."""
        with self._lock:
            recorder, folder = self.recorder, self.folder
            if folder is None:
                return
            tally = recorder.tally
            if recorder.dirty and isinstance(tally, FileTally):
                recorder.dirty = False
                with contextlib.suppress(OSError, ValueError):
                    tally.sync()
            if recorder.spare is None:
                recorder.spare = folder.new_tally()
            if recorder.full:
                self._swap(folder)

    def collect(self, *, all_slots: bool = False) -> None:
        """Bring what was recorded into the spool, make reports of slots that are over, and keep the bounds.

        What the disk refuses stays where it is, for the next time.
        """
        with self._lock:
            folder = self.folder
            if folder is None:
                return
            self._swap(folder)
            now = self.clock()
            try:
                before = 2**62 if all_slots else int(now // SLOT_SECONDS) * SLOT_SECONDS
                folder.spool.close_slots(self.client_uuid, before)
                gone = folder.spool.enforce(
                    oldest_slot=int(now - self.options.spool_days_max * DAY_S - SLOT_SECONDS),
                    bytes_max=self.options.spool_bytes_max,
                )
            except sqlite3.Error as error:
                self.say("spool_failed", str(error))
                return
            if gone.reports:
                self.stats.dropped_reports += gone.reports
                self.stats.dropped_units += gone.units
                self.say("reports_dropped", f"{gone.reports} reports with {gone.units} units: too old, or too many")

    def _swap(self, folder: Folder) -> None:
        spare, self.recorder.spare = self.recorder.spare, None
        self._done += self.recorder.swap(spare or folder.new_tally())
        while self._done:
            try:
                folder.take_in(self._done[0])
            except (sqlite3.Error, OSError) as error:
                self.say("spool_failed", str(error))
                return
            self._done.popleft()

    def snapshot(self) -> Stats:
        """Return the figures as they stand."""
        self.stats.recorded_units = self.recorder.recorded
        self.stats.misused = dict(self.recorder.misused)
        return self.stats

    def rest(self) -> None:
        """Bring everything into the spool, as far as that goes; at the end of the process."""
        with self._lock:
            if self.folder is None or self.closed:
                return
            self.closed = True
            self.collect(all_slots=True)
            self._discard_files()

    def _discard_files(self) -> None:
        """Remove tallies that hold nothing."""
        assert self.folder is not None
        empty = [self.recorder.tally, self.recorder.spare]
        self.recorder.spare = None
        self._done += self.recorder.swap(self._memory())
        for tally in empty:
            if isinstance(tally, FileTally):
                with contextlib.suppress(sqlite3.Error, OSError):
                    self.folder.take_in(tally)
        self._done.clear()

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
        if self.folder is None:
            self.recorder.after_fork(self._memory())
            return
        self.folder = self.folder.for_child()
        self.recorder.after_fork(self.folder.new_tally())
        for tally in inherited:
            if isinstance(tally, FileTally):
                tally.close()  # our copy of it: the lock must end with the parent


_CORES: "weakref.WeakSet[Core]" = weakref.WeakSet()
_forking: list[Core] = []


def _before_fork() -> None:
    _forking[:] = list(_CORES)
    for core in _forking:
        core.before_fork()


def _after(what: Callable[[Core], Any]) -> None:
    for core in reversed(_forking):
        what(core)
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after(Core.after_fork_in_parent),
        after_in_child=lambda: _after(Core.after_fork_in_child),
    )
