"""Who may send how much: bytes on their way in all, and events of each key. No clock: instants are passed in."""

from collections import OrderedDict
from typing import Final

from licmeter.producers.gateway.problems import Unavailable

__all__ = ["InFlight", "RateLimiter", "Reservation"]

#: Keys whose use is remembered; the one that was used least lately is forgotten, which forgives it.
KEYS_MAX: Final = 100_000
#: What a client is told to wait for when too much is on its way: about what it takes Kafka to come round.
RETRY_AFTER_S: Final = 2.0


class InFlight:
    """Bytes of all bodies that are being read, judged or waited for."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.refused = 0

    def reservation(self) -> "Reservation":
        """Return a place for one request."""
        return Reservation(self)


class Reservation:
    """What one request holds; a context manager that gives it back."""

    def __init__(self, owner: InFlight) -> None:
        self._owner = owner
        self._bytes = 0

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.bytes -= self._bytes
        self._bytes = 0

    def add(self, size: int) -> None:
        """Take so many bytes more; raises `Unavailable` when that is too much."""
        owner = self._owner
        # A single request is always let in, so that a large one cannot be refused for ever.
        if owner.bytes + size > owner.bytes_max and owner.bytes > self._bytes:
            owner.refused += 1
            raise Unavailable("too much is on its way to Kafka", retry_after_s=RETRY_AFTER_S)
        owner.bytes += size
        self._bytes += size


class RateLimiter:
    """A bucket of events for each key. Who has any left may send a whole batch, and owes the rest."""

    def __init__(self, *, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str, events: int, now_s: float) -> float:
        """Take events from a key's bucket; return 0, or how many seconds it must wait first."""
        left, seen_s = self._buckets.get(key_id, (self._burst, now_s))
        left = min(self._burst, left + max(0.0, now_s - seen_s) * self._rate)
        wait_s = 0.0
        if left > 0:
            left -= events
        else:
            wait_s = (1.0 - left) / self._rate
        self._buckets[key_id] = (left, now_s)
        self._buckets.move_to_end(key_id)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)
        return wait_s
