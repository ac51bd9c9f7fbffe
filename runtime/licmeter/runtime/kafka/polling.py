"""The one place that waits for the outside world: a condition, a bound, and how often to look."""

import time
from collections.abc import Callable

__all__ = ["poll_until"]


def poll_until(condition: Callable[[], bool], *, timeout_s: float, interval_s: float = 0.05) -> bool:
    """Look until `condition` holds; False when it did not within `timeout_s`. It is looked at least once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True
