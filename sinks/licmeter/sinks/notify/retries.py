"""When a notice that failed is tried again, and when it is given up. Pure: times and chance are given."""

from dataclasses import dataclass
from typing import Final

__all__ = ["Retries"]

_WAIT_S_MIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Retries:
    """Waits double from a second to `wait_s_max`, and are cut to between half and all of that by chance."""

    attempts_max: int = 20  # with the waits above, somewhat more than an hour
    give_up_after_s: float = 6 * 3600.0  # since it was first taken up, waits for an open circuit included
    wait_s_max: float = 300.0

    def wait_s(self, attempts: int, age_s: float, chance: float) -> float | None:
        """Return the wait after `attempts` failed ones, None to give up; `chance` is 0 to 1."""
        if attempts >= self.attempts_max:
            return None
        # 2 ** 40 is more than any bound; beyond, floats would overflow.
        wait_s = min(_WAIT_S_MIN * 2 ** min(attempts - 1, 40), self.wait_s_max) * (0.5 + chance / 2)
        return None if age_s + wait_s > self.give_up_after_s else wait_s
