"""When a quota or an overuse budget will be used up: a forecast with its method named, and an interval.

Method `weekday bootstrap`: the future is drawn from the item's own past. Each coming day gets the use of a random day
of the last `WEEKS` weeks that was the same day of the week, so weekends stay weekends and bursts stay bursts; `PATHS`
such futures are drawn, and the days on which they reach the limit are sorted. The answer is their median, and the
interval holds the middle 80 percent of them. It knows nothing of growth, seasons or renewals. The draws come from a
fixed seed: the same history gives the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

__all__ = ["HORIZON_DAYS", "METHOD", "Forecast", "forecast"]

METHOD: Final = "weekday bootstrap"
WEEKS: Final = 8
#: With less history than this nothing is said.
DAYS_MIN: Final = 14
PATHS: Final = 1_000
HORIZON_DAYS: Final = 3_650
_STEP_DAYS: Final = 364  # whole weeks
_SEED: Final = 20_310_308
_LOW, _MIDDLE, _HIGH = 10, 50, 90


@dataclass(frozen=True, slots=True)
class Forecast:
    """The day on which `limit` is reached: the median, and the 10th and 90th percentile; None = not within reach.

    `reason` says why there is no forecast, or is None. `per_day` is the mean use of a day of the history.
    """

    limit: int | None
    used: int
    left: int | None
    method: str
    interval_percent: int
    history_days: int
    per_day: float
    exhausted_on: date | None
    earliest: date | None
    latest: date | None
    reason: str | None = None


def forecast(
    history: Sequence[int], last_day: date, used: int, limit: int | None, until: date | None = None
) -> Forecast:
    """Return when `limit` is reached.

    `history` has the use of whole days in order, `last_day` being its last; days before the item's first use must not
    be in it. `until`: the item's end, or that of its budget year; what lies behind it is not reached.
    """
    days = list(history)[-7 * WEEKS :]
    mean = sum(days) / len(days) if days else 0.0
    left = None if limit is None else max(0, limit - used)

    def answer(
        reason: str | None = None, low: date | None = None, middle: date | None = None, high: date | None = None
    ) -> Forecast:
        return Forecast(limit, used, left, METHOD, _HIGH - _LOW, len(days), mean, middle, low, high, reason)

    if limit is None or left is None:
        return answer("there is no limit")
    if not left:
        return answer("it is used up already")
    if len(days) < DAYS_MIN:
        return answer(f"fewer than {DAYS_MIN} days of history")
    if not sum(days):
        return answer("nothing was used in this time")
    reached = _days_until(days, last_day, left)
    bound = HORIZON_DAYS if until is None else min(HORIZON_DAYS, (until - last_day).days)
    low, middle, high = (
        last_day + timedelta(days=int(day)) if day <= bound else None
        for day in (np.percentile(reached, each, method="inverted_cdf") for each in (_LOW, _MIDDLE, _HIGH))
    )
    return answer(None if low is not None else "not before the item or its budget year ends", low, middle, high)


def _days_until(days: Sequence[int], last_day: date, left: int) -> np.ndarray:
    """Return for each path after how many days the rest is used; beyond the horizon it is `HORIZON_DAYS` + 1."""
    random = np.random.default_rng(_SEED)
    weekday = {(last_day.weekday() - back) % 7: [] for back in range(7)}  # type: dict[int, list[int]]
    for back, use in enumerate(reversed(days)):
        weekday[(last_day.weekday() - back) % 7].append(use)
    reached = np.full(PATHS, HORIZON_DAYS + 1, dtype=np.int64)
    running = np.zeros(PATHS, dtype=np.int64)
    for start in range(0, HORIZON_DAYS, _STEP_DAYS):
        drawn = np.stack(
            [
                random.choice(np.array(weekday[(last_day.weekday() + 1 + start + day) % 7], dtype=np.int64), PATHS)
                for day in range(_STEP_DAYS)
            ],
            axis=1,
        )
        sums = running[:, None] + np.cumsum(drawn, axis=1)
        hit = sums >= left
        newly = hit.any(axis=1) & (reached > HORIZON_DAYS)
        reached[newly] = start + 1 + hit[newly].argmax(axis=1)
        running = sums[:, -1]
        if (reached <= HORIZON_DAYS).all():
            break
    return reached
