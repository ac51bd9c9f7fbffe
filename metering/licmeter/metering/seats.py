"""Seats of a device item, and leases of a concurrency item: who holds one until when (domain, 6.2, N8).

A seat is live while `t < end` (V3), exact and lazy: nothing sweeps. Counting the live ones would look at all of them,
so a heap says which end next. It holds one entry a seat, which may be too early since contacts move the end; such an
entry is put back when its time comes. Asking for an instant a little in the past is exact, too, as the clocks
of reports and authorizations differ: seats that ended stay for `RETAIN_MS`.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final

from licmeter.metering.items import DAY_MS

__all__ = ["RETAIN_MS", "Seat", "SeatBook"]

#: Longer than an authorization may be off (decision 8, G2), so that no answer depends on it.
RETAIN_MS: Final = 2 * DAY_MS


@dataclass(slots=True)
class Seat:
    """One seat; instants in milliseconds. `instances` is 1 but for leases of concurrent instances."""

    first_ms: int
    last_ms: int
    expires_ms: int
    instances: int = 1


class SeatBook:
    """All seats of one item by client UUID; `changed` are the clients whose seats were touched since it was cleared."""

    __slots__ = ("_due", "_ended", "_live", "_now", "changed", "seats")

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        self.changed: set[str] = set()
        self._due: list[tuple[int, str]] = []
        self._ended: list[tuple[int, str]] = []  # by end, those at or before `_now`
        self._live = 0
        self._now = -1

    def load(self, client: str, seat: Seat) -> None:
        """Take over a seat that was stored; all of them before anything else is asked."""
        self.seats[client] = seat

    def loaded(self) -> None:
        """Make ready after loading."""
        self._due = [(seat.expires_ms, client) for client, seat in self.seats.items()]
        heapify(self._due)
        self._ended, self._live, self._now = [], len(self.seats), -1

    def live(self, client: str, at_ms: int) -> Seat | None:
        """Return a client's seat if it is live."""
        seat = self.seats.get(client)
        return seat if seat is not None and at_ms < seat.expires_ms else None

    def count(self, at_ms: int) -> int:
        """Return the number of live seats (V4)."""
        if at_ms >= self._now:
            self._advance(at_ms)
            return self._live
        later = self._ended[bisect_right(self._ended, at_ms, key=_end) :]
        return self._live + len(later)

    def next_end(self, after_ms: int) -> int | None:
        """Return an instant before which no live seat ends; None when none lives."""
        self.count(after_ms)
        return self._due[0][0] if self._due else None

    def live_seats(self, at_ms: int) -> Iterator[tuple[str, Seat]]:
        """Yield all live seats; looks at all that are remembered."""
        return ((client, seat) for client, seat in self.seats.items() if at_ms < seat.expires_ms)

    def contact(self, client: str, at_ms: int, expires_ms: int, instances: int = 1) -> bool:
        """Move the end of a client's seat, never back, or give it a new one; tell whether it is new."""
        self.changed.add(client)
        seat = self.seats.get(client)
        if seat is not None and at_ms < seat.expires_ms:
            seat.last_ms = max(seat.last_ms, at_ms)
            seat.instances = max(seat.instances, instances)
            if expires_ms > seat.expires_ms:
                self._prolong(client, seat, expires_ms)
            return False
        if seat is not None:
            self._drop(client, seat)
        self.seats[client] = Seat(at_ms, at_ms, expires_ms, instances)
        if expires_ms > self._now:
            self._live += 1
            heappush(self._due, (expires_ms, client))
        else:
            insort(self._ended, (expires_ms, client))
        return True

    def _prolong(self, client: str, seat: Seat, expires_ms: int) -> None:
        if seat.expires_ms <= self._now:
            # Ended for later askers, live at this contact's own time.
            self._unlist(client, seat)
            if expires_ms > self._now:
                self._live += 1
                heappush(self._due, (expires_ms, client))
            else:
                insort(self._ended, (expires_ms, client))
        seat.expires_ms = expires_ms

    def _drop(self, client: str, seat: Seat) -> None:
        """Forget a seat that ended at or before the present contact, in whichever list it is."""
        if seat.expires_ms <= self._now:
            self._unlist(client, seat)
        else:
            # Its entry in the heap may be too early; it is dropped when it comes up, as the seat's end then differs.
            self._advance(seat.expires_ms)
            self._unlist(client, seat)

    def _unlist(self, client: str, seat: Seat) -> None:
        place = bisect_left(self._ended, (seat.expires_ms, client))
        assert self._ended[place] == (seat.expires_ms, client)
        del self._ended[place]

    def _advance(self, now_ms: int) -> None:
        due, seats, ended = self._due, self.seats, self._ended
        self._now = now_ms
        while due and due[0][0] <= now_ms:
            _, client = heappop(due)
            expires_ms = seats[client].expires_ms
            if expires_ms > now_ms:
                heappush(due, (expires_ms, client))
            else:
                self._live -= 1
                insort(ended, (expires_ms, client))
        old = bisect_right(ended, now_ms - RETAIN_MS, key=_end)
        for _, client in ended[:old]:
            del seats[client]
        del ended[:old]


def _end(entry: tuple[int, str]) -> int:
    return entry[0]
