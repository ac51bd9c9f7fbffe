"""Time slots: fixed intervals of three minutes, 480 to a UTC day (domain, section 3).

Instants are integers since 1970-01-01T00:00Z: slots in seconds, arrival times in milliseconds.
"""

from typing import Final

__all__ = [
    "CLOSE_DELAY_S",
    "SLOTS_PER_DAY",
    "SLOT_SECONDS",
    "is_late",
    "slot_end",
    "slot_index",
    "slot_start",
]

SLOT_SECONDS: Final = 180
SLOTS_PER_DAY: Final = 480  # T3: no slot straddles midnight
#: T6: one submission cycle, and as much again for transport.
CLOSE_DELAY_S: Final = 6 * 60
_DAY_SECONDS: Final = 86_400


def slot_start(epoch_s: int) -> int:
    """Return the start of the slot that holds an instant; slots are half-open (T2)."""
    return epoch_s - epoch_s % SLOT_SECONDS


def slot_end(slot_s: int) -> int:
    """Return the first instant after a slot."""
    return slot_s + SLOT_SECONDS


def slot_index(epoch_s: int) -> int:
    """Return the slot's number in its UTC day, 0 to 479 (T2)."""
    return epoch_s % _DAY_SECONDS // SLOT_SECONDS


def is_late(*, slot_s: int, received_ms: int) -> bool:
    """Tell whether a report arrived after its slot was closed (T6); it counts all the same."""
    return received_ms >= (slot_end(slot_s) + CLOSE_DELAY_S) * 1000
