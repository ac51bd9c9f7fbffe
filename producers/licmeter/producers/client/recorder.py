"""Takes what an application records: never raises, never waits for IO, and costs less than a microsecond or two.

Nothing under the lock does IO, so waiting for another thread is short. A signal handler or a finalizer may record while
its own thread holds the lock; then it must not wait, and what it records is put aside for the holder, who takes it in
at once.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from licmeter.producers.client.tally import MemoryTally, Tally, TallyFullError

__all__ = ["COUNT_MAX", "FEATURE_CHARS_MAX", "SLOT_SECONDS", "Misuse", "Recorder"]

SLOT_SECONDS: Final = 180
#: What one call may record; the server's bound for a feature in a slot (domain, section 5, check 3).
COUNT_MAX: Final = 1_000_000
FEATURE_CHARS_MAX: Final = 128
#: Records put aside by handlers that interrupted a record; the holder takes them in microseconds later.
ASIDE_MAX: Final = 10_000
#: Tallies that are full and wait for the spool; beyond it, as when a disk stays full, recording is refused and counted.
FULL_MAX: Final = 100

Misuse = Callable[[str, str], None]


class Recorder:
    """Counts features by slot in the current tally. `new_memory` makes one that needs no IO."""

    def __init__(
        self,
        tally: Tally,
        new_memory: Callable[[], MemoryTally],
        clock: Callable[[], float],
        on_misuse: Misuse,
    ) -> None:
        self.misused: Counter[str] = Counter()
        self.recorded = 0
        self.instances = 1
        self.dirty = False
        self._new_memory = new_memory
        self._clock = clock
        self._on_misuse = on_misuse
        #: Called once after the first record in a forked child, where no thread of the parent's goes on.
        self.on_child: Callable[[], None] | None = None
        self._wake: Callable[[], None] | None = None
        self._reset(tally)

    def _reset(self, tally: Tally) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._aside: deque[tuple[Any, Any, Any, float]] = deque()
        self.full: deque[Tally] = deque()
        self.spare: Tally | None = None
        self._use(tally)

    def _use(self, tally: Tally) -> None:
        self.tally = tally
        self._words = tally.words
        self._places: dict[tuple[int, str], int] = {}
        self._current: dict[str, int] = {}
        self._slot = self._slot_end = 0

    def after_fork(self, tally: Tally) -> None:
        """Begin anew in a forked child: the tallies so far, and what was put aside, are the parent's."""
        self.recorded = 0
        self.misused.clear()
        self._wake = self.on_child
        self._reset(tally)

    def record(self, feature: str, count: int = 1, at: datetime | None = None) -> None:
        """Count an operation, or several; `at` is when they were done, if not now."""
        try:
            me = threading.get_ident()
            if not self._lock.acquire(False):
                if self._owner == me:
                    self._put_aside(feature, count, at)
                    return
                self._lock.acquire()
            self._owner = me
            try:
                now = self._clock()
                place = self._current.get(feature) if at is None and self._slot <= now < self._slot_end else None
                if place is not None and type(count) is int and 0 < count <= COUNT_MAX:
                    self._words[place] += count
                    self.recorded += count
                    self.dirty = True
                else:
                    self._add(feature, count, at, now)
            finally:
                self._owner = 0
                self._lock.release()
            if self._aside or self._wake is not None:
                self._afterwards()
        except Exception as error:  # whatever it is, it is not the application's problem
            self._misuse("failed", type(error).__name__)

    def swap(self, tally: Tally) -> list[Tally]:
        """Go on with another tally; return those that nobody writes to any more."""
        with self._lock:
            self._owner = threading.get_ident()
            done = [*self.full, self.tally]
            self.full.clear()
            self._use(tally)
            self._owner = 0
        if self._aside:
            self._take_aside()
        return done

    def _put_aside(self, feature: Any, count: Any, at: Any) -> None:
        if len(self._aside) >= ASIDE_MAX:
            self._misuse("lost", "too much was recorded by handlers that interrupt records")
        else:
            self._aside.append((feature, count, at, self._clock()))

    def _afterwards(self) -> None:
        self._take_aside()
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _take_aside(self) -> None:
        while self._aside and self._lock.acquire(False):
            self._owner = threading.get_ident()
            try:
                while self._aside:
                    self._add(*self._aside.popleft())
            finally:
                self._owner = 0
                self._lock.release()

    def _add(self, feature: Any, count: Any, at: Any, now: float) -> None:
        """Count what is not the usual: a first use in a slot, another instant, or something that is wrong."""
        mistake = _mistake(feature, count, at)
        if mistake is not None:
            self._misuse(*mistake)
            return
        if not count:
            return
        moment = now if at is None else at.timestamp()
        slot = int(moment // SLOT_SECONDS) * SLOT_SECONDS
        if slot < 0:
            self._misuse("at", "an instant before 1970")
            return
        place = self._place(slot, feature)
        if at is None:
            if slot != self._slot:
                self._current.clear()
                self._slot, self._slot_end = slot, slot + SLOT_SECONDS
            self._current[feature] = place
        words = self._words
        words[place + 1] = max(words[place + 1], self.instances)
        words[place] += count
        self.recorded += count
        self.dirty = True

    def _place(self, slot: int, feature: str) -> int:
        place = self._places.get((slot, feature))
        if place is None:
            try:
                place = self.tally.add(slot, feature)
            except TallyFullError:
                self._next_tally()
                place = self.tally.add(slot, feature)
            self._places[slot, feature] = place
        return place

    def _next_tally(self) -> None:
        if len(self.full) >= FULL_MAX:
            raise TallyFullError
        self.full.append(self.tally)
        spare, self.spare = self.spare, None
        self._use(spare or self._new_memory())

    def set_instances(self, instances: int) -> None:
        """Declare how many instances run from now on; a slot has the highest that was declared in it."""
        with self._lock:
            self.instances = instances
            self._current.clear()  # so that the next record of each feature notes it

    def _misuse(self, kind: str, what: str) -> None:
        first = not self.misused[kind]
        self.misused[kind] += 1
        if first:
            self._on_misuse(kind, what)


def _mistake(feature: Any, count: Any, at: Any) -> tuple[str, str] | None:
    if not isinstance(feature, str) or not 0 < len(feature) <= FEATURE_CHARS_MAX:
        return "feature", f"a feature is a text of 1 to {FEATURE_CHARS_MAX} characters"
    try:
        feature.encode()
    except UnicodeEncodeError:
        return "feature", "a feature is text that UTF-8 can hold"
    if type(count) is not int or not 0 <= count <= COUNT_MAX:
        return "count", f"a count is an int from 0 to {COUNT_MAX:,}"
    if at is not None and (not isinstance(at, datetime) or at.utcoffset() is None):
        return "at", "an instant is a datetime with its zone"
    return None
