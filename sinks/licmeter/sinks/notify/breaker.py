"""A circuit breaker: after some failures in a row nothing is tried for a while, then one probe decides.

Pure: seconds of any clock that never goes back are given.

closed ──failures_max in a row──> open ──open_s later──> half open ──the probe succeeds──> closed
                                    ^                        │
                                    └──it fails: open_s × 2──┘
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["RETRY_AFTER_S_MAX", "Breaker", "BreakerState"]

#: A receiver that asks to be left alone longer than this is asked again earlier.
RETRY_AFTER_S_MAX: Final = 600.0
#: Who is not the probe asks again after this.
_PROBE_WAIT_S: Final = 1.0


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """One target's breaker. Whoever was told to go reports back: `succeeded`, `failed` or `abandoned`."""

    failures_max: int = 5
    open_s_min: float = 30.0
    open_s_max: float = 600.0
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0  # in a row
    opened: int = 0  # how often, ever
    _open_s: float = 0.0
    _not_before: float = 0.0

    def wait_s(self, now: float) -> float:
        """Return 0 when the caller is to try now, otherwise how long to wait before it asks again."""
        if self.state is BreakerState.HALF_OPEN:
            return _PROBE_WAIT_S
        if now < self._not_before:
            return self._not_before - now
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
        return 0.0

    def succeeded(self) -> None:
        """Note that a try worked."""
        self.state, self.failures, self._open_s = BreakerState.CLOSED, 0, 0.0

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        """Note that a try failed, and how long the receiver asked to be left alone."""
        self.failures += 1
        if retry_after_s is not None:
            self._not_before = max(self._not_before, now + min(retry_after_s, RETRY_AFTER_S_MAX))
        if self.state is BreakerState.HALF_OPEN or (
            self.state is BreakerState.CLOSED and self.failures >= self.failures_max
        ):
            self._open_s = min(self._open_s * 2, self.open_s_max) if self._open_s else self.open_s_min
            self._not_before = max(self._not_before, now + self._open_s)
            self.state = BreakerState.OPEN
            self.opened += 1

    def abandoned(self) -> None:
        """Note that a try was broken off without a result; a probe is left to somebody else."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN
