"""Takes what an application records: never raises, never waits for IO, and costs less than a microsecond.

Nothing under the lock does IO or logs, so waiting for another thread is short. A signal handler or a finalizer may
record while its own thread holds the lock. The lock is one that its owner may take again, so that such a record cannot
wait for itself; it finds `_busy`, and puts what it records aside for the holder, who takes it in at once.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from licmeter.producers.client.tally import SLOT_MAX, SLOT_SECONDS, MemoryTally, Tally, TallyFullError

__all__ = ["COUNT_MAX", "FEATURE_CHARS_MAX", "SLOT_SECONDS", "Misuse", "Recorder"]

#: What one call may record; the server's bound for a feature in a slot (domain, section 5, check 3).
COUNT_MAX: Final = 1_000_000
FEATURE_CHARS_MAX: Final = 128
#: Records put aside by handlers that interrupted a record; the holder takes them in microseconds later.
ASIDE_MAX: Final = 10_000
#: Tallies that are full and wait for the spool; beyond it, as when a disk stays full, recording is refused and counted.
FULL_MAX: Final = 100
#: How long `swap` waits for a record. It is microseconds, unless that record was interrupted by a handler that waits
#: for us, as one does that closes the client at SIGTERM.
SWAP_WAIT_S: Final = 1.0

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
        #: Misuse of a kind that was not said yet: saying it is IO, and for others to do.
        self._unsaid: deque[tuple[str, str]] = deque()
        #: Called once after the first record in a forked child, where no thread of the parent's goes on.
        self.on_child: Callable[[], None] | None = None
        self._wake: Callable[[], None] | None = None
        self._reset(tally)

    def _reset(self, tally: Tally) -> None:
        self._lock = threading.RLock()
        self._busy = False
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
        self._unsaid.clear()
        self._wake = self.on_child
        self._reset(tally)

    def record(self, feature: str, count: int = 1, at: datetime | None = None) -> None:
        """Count an operation, or several; `at` is when they were done, if not now."""
        try:
            # `with`, because an exception of a signal handler cannot come between taking the lock and entering it.
            with self._lock:
                if self._busy:
                    self._put_aside(feature, count, at)
                    return
                self._busy = True
                try:
                    now = self._clock()
                    # Exact types only: what a subclass calls equal is its own affair.
                    if (
                        type(feature) is str
                        and type(count) is int
                        and at is None
                        and self._slot <= now < self._slot_end
                    ):
                        words, place = self._words, self._current.get(feature)
                    else:
                        words, place = self._words, None
                    if place is not None and 0 < count <= COUNT_MAX:
                        words[place] += count
                        self.recorded += count
                        self.dirty = True
                    else:
                        self._add(feature, count, at, now)
                finally:
                    self._busy = False
            if self._aside or self._wake is not None:
                self._afterwards()
        except Exception as error:  # whatever it is, it is not the application's problem
            self._misuse("failed", type(error).__name__)

    def swap(self, tally: Tally) -> list[Tally] | None:
        """Go on with another tally; return those that nobody writes to any more, or None: not now."""
        if not self._enter():
            return None
        try:
            done = [*self.full, self.tally]
            self.full.clear()
            self._use(tally)
        finally:
            self._leave()
        self._take_aside()
        return done

    def take_spare(self) -> Tally | None:
        """Return the spare tally, which is then not ours any more; None = there is none, or not now."""
        if not self._enter():
            return None
        try:
            spare, self.spare = self.spare, None
        finally:
            self._leave()
        return spare

    def _enter(self) -> bool:
        if not self._lock.acquire(timeout=SWAP_WAIT_S):
            return False
        if self._busy:  # we are a handler that interrupted a record
            self._lock.release()
            return False
        self._busy = True
        return True

    def _leave(self) -> None:
        self._busy = False
        self._lock.release()

    @property
    def holds_any(self) -> bool:
        """Whether something was counted since the last swap."""
        return bool(self._places or self.full or self._aside)

    def say_misuse(self) -> None:
        """Tell `on_misuse` what was wrong, each kind once; it may do IO."""
        while self._unsaid:
            self._on_misuse(*self._unsaid.popleft())

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
        while self._aside:
            with self._lock:
                if self._busy:
                    return  # whoever is at it takes them in
                self._busy = True
                try:
                    while self._aside:
                        self._add_safely(*self._aside.popleft())
                finally:
                    self._busy = False

    def _add_safely(self, feature: Any, count: Any, at: Any, now: float) -> None:
        try:
            self._add(feature, count, at, now)
        except Exception as error:  # it must not take the others with it
            self._misuse("failed", type(error).__name__)

    def _add(self, feature: Any, count: Any, at: Any, now: float) -> None:
        """Count what is not the usual: a first use in a slot, another instant, or something that is wrong."""
        name = _feature(feature)
        mistake = _mistake(name, count, at)
        if mistake is not None:
            self._misuse(*mistake)
            return
        assert name is not None
        if not count:
            return
        moment = now if at is None else datetime.timestamp(at)
        slot = int(moment // SLOT_SECONDS) * SLOT_SECONDS
        if not 0 <= slot <= SLOT_MAX:
            self._misuse("at", "an instant before 1970, or after 9999")
            return
        place = self._place(slot, name)
        if place is None:
            self._misuse("full", f"{FULL_MAX} full tallies wait for a disk that takes nothing")
            return
        if at is None:
            if slot != self._slot:
                self._current.clear()
                self._slot, self._slot_end = slot, slot + SLOT_SECONDS
            self._current[name] = place
        words = self._words
        words[place + 1] = max(words[place + 1], self.instances)
        words[place] += count
        self.recorded += count
        self.dirty = True

    def _place(self, slot: int, feature: str) -> int | None:
        place = self._places.get((slot, feature))
        if place is None:
            try:
                place = self.tally.add(slot, feature)
            except TallyFullError:
                if len(self.full) >= FULL_MAX:
                    return None
                self._next_tally()
                place = self.tally.add(slot, feature)
            self._places[slot, feature] = place
        return place

    def _next_tally(self) -> None:
        self.full.append(self.tally)
        spare, self.spare = self.spare, None
        self._use(spare or self._new_memory())

    def set_instances(self, instances: int) -> None:
        """Declare how many instances run from now on; a slot has the highest that was declared in it."""
        with self._lock:
            self.instances = instances
            self._current.clear()  # so that the next record of each feature notes it

    def _misuse(self, kind: str, what: str) -> None:
        with self._lock:
            self.misused[kind] += 1
            if self.misused[kind] == 1:
                self._unsaid.append((kind, what))


def _feature(feature: Any) -> str | None:
    """Return a feature as a plain text, as members of a `StrEnum` are none; None = it is no text at all."""
    # By its type, and by methods of str: an object may say of itself whatever it likes.
    return str.__str__(feature) if issubclass(type(feature), str) else None


def _mistake(feature: str | None, count: Any, at: Any) -> tuple[str, str] | None:
    if feature is None or not 0 < len(feature) <= FEATURE_CHARS_MAX:
        return "feature", f"a feature is a text of 1 to {FEATURE_CHARS_MAX} characters"
    try:
        feature.encode()
    except UnicodeEncodeError:
        return "feature", "a feature is text that UTF-8 can hold"
    if type(count) is not int or not 0 <= count <= COUNT_MAX:
        return "count", f"a count is an int from 0 to {COUNT_MAX:,}"
    if at is not None and (not issubclass(type(at), datetime) or datetime.utcoffset(at) is None):
        return "at", "an instant is a datetime with its zone"
    return None
