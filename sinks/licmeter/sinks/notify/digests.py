"""Gathers breaches of one kind, so that a burst becomes one message. Pure: all times are given, in milliseconds.

A window begins with the first breach and holds what stands in the log within `window_ms` after it, by the log's own
clock: reading the log again after a crash gathers the same. While breaches keep coming, each window is twice as long
as the one before, up to a bound: a day of them makes some thirty messages, and not 1,440.
"""

from dataclasses import dataclass, field
from typing import Final

from licmeter.schemas.alerts import Breach
from licmeter.schemas.outcomes import BreachKind

__all__ = ["DigestBook", "Gathered"]

#: Records of the last moments of a window may still be on their way when it has ended.
SLACK_MS: Final = 2_000
#: A message shows the first ones, and counts the others.
SAMPLES_MAX: Final = 20
#: Names of projects, items and clients that are told apart; beyond, a message says "more than".
NAMES_MAX: Final = 1_000
#: Organizations and kinds whose last window is remembered.
_RHYTHMS_MAX: Final = 10_000

Key = tuple[str, BreachKind]


@dataclass(slots=True)
class Gathered:
    """Breaches of one organization and kind; `offsets` are their places in `partition`."""

    organization_id: str
    kind: BreachKind
    partition: int
    begin_ms: int
    end_ms: int
    samples: list[Breach] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    late: int = 0
    worst: Breach | None = None  # with the highest value
    projects: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    first: Breach | None = None  # by slot
    last: Breach | None = None

    def add(self, breach: Breach, offset: int) -> None:
        """Take one in."""
        self.offsets.append(offset)
        self.event_ids.append(breach.breach_id)
        self.late += breach.late
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(breach)
        if breach.value is not None and (self.worst is None or breach.value > (self.worst.value or 0)):
            self.worst = breach
        if self.first is None or breach.slot < self.first.slot:
            self.first = breach
        if self.last is None or breach.slot > self.last.slot:
            self.last = breach
        for names, name in (
            (self.projects, breach.project_id),
            (self.items, breach.item_id),
            (self.clients, breach.client_uuid),
        ):
            if name is not None and len(names) < NAMES_MAX:
                names.add(name)


class DigestBook:
    """The open windows of one target."""

    def __init__(self, window_ms: int, window_ms_max: int) -> None:
        self._window_ms = window_ms
        self._window_ms_max = max(window_ms, window_ms_max)
        self._open: dict[Key, Gathered] = {}
        self._rhythms: dict[Key, tuple[int, int]] = {}  # end and length of the last window

    @property
    def gathered(self) -> int:
        """How many breaches are in open windows."""
        return sum(len(each.offsets) for each in self._open.values())

    def add(self, breach: Breach, *, partition: int, offset: int, at_ms: int) -> Gathered | None:
        """Take a breach in; return the window that ended with its coming."""
        key = (breach.organization_id, breach.kind)
        current, ended = self._open.get(key), None
        if current is not None and at_ms >= current.end_ms:
            ended, current = self._end(key), None
        if current is None:
            current = Gathered(*key, partition, at_ms, at_ms + self._next_window_ms(key, at_ms))
            self._open[key] = current
        current.add(breach, offset)
        return ended

    def due(self, now_ms: int, caught_up: set[int]) -> list[Gathered]:
        """End the windows whose time is over, in partitions whose log was read to its end."""
        if not self._window_ms:
            return self.end_all()
        keys = [
            key for key, each in self._open.items() if each.partition in caught_up and now_ms >= each.end_ms + SLACK_MS
        ]
        return [self._end(key) for key in keys]

    def end_all(self) -> list[Gathered]:
        """End all windows now."""
        return [self._end(key) for key in list(self._open)]

    def _end(self, key: Key) -> Gathered:
        ended = self._open.pop(key)
        self._rhythms.pop(key, None)
        self._rhythms[key] = (ended.end_ms, ended.end_ms - ended.begin_ms)
        while len(self._rhythms) > _RHYTHMS_MAX:
            del self._rhythms[next(iter(self._rhythms))]
        return ended

    def _next_window_ms(self, key: Key, at_ms: int) -> int:
        end_ms, length_ms = self._rhythms.get(key, (0, 0))
        if length_ms and at_ms < end_ms + length_ms:
            return min(2 * length_ms, self._window_ms_max)
        return self._window_ms
