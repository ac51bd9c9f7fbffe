"""The trend of a measure: one point a day, per day or running (domain, Q4, Q9), and shares by feature (Q3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, ClassVar, Final

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.sources import Days, Source
from licmeter.analytics.statistics.words import ORGANIZATION, Basis, Measure, Scope, StatisticsError

__all__ = ["DevicesSoFar", "Share", "Shares", "TrendPoint", "accumulated", "filled"]


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One day; `value` is of that day, or of the range up to it."""

    day: date
    value: int


@dataclass(frozen=True, slots=True)
class Share:
    """A total, and what each feature has of it; reports without any feature have none."""

    total: int
    by_feature: dict[str, int]


@dataclass(frozen=True, slots=True)
class Shares:
    """The three pies (Q3)."""

    all_history: Share
    selected: Share
    today: Share


@dataclass(frozen=True, slots=True)
class DevicesSoFar:
    """Devices by the day of the range on which each was first in use: these add up, as devices of days do not."""

    organization_id: str
    scope: Scope = ORGANIZATION
    period: Period = ALWAYS
    basis: Basis = Basis.USAGE
    dirty: Days = None

    columns: ClassVar[Sequence[str]] = ("day", "value")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = Source.of(self.organization_id, self.period, self.scope, self.basis, self.dirty)
        text = f"""
            SELECT first_day, count() FROM (
                SELECT client_uuid, min({source.day_column()}) AS first_day
                FROM ({source.client_days()}) GROUP BY client_uuid
            )
            GROUP BY first_day ORDER BY first_day
        """
        return text, source.parameters


#: What a running value is where it is no sum.
_RUNNING: Final = {Measure.PEAK_CONCURRENT: max}


def accumulated(measure: Measure, points: Sequence[TrendPoint]) -> list[TrendPoint]:
    """Return running values from 0 at the start of the range: sums, and for peaks the peak so far.

    Raises `StatisticsError` for live seats, which are a level and not a flow.
    """
    if measure is Measure.ACTIVE_DEVICES:
        raise StatisticsError("live seats cannot be accumulated: they are how many there are at the end of a day")
    running = accumulate((point.value for point in points), _RUNNING.get(measure))
    return [TrendPoint(point.day, value) for point, value in zip(points, running, strict=True)]


def filled(values: Mapping[date, int], period: Period, today: date) -> list[TrendPoint]:
    """Return one point for each day of the range, 0 where there is no value (Q9).

    An open range begins with the first value, and ends today or with the last value.
    """
    first = period.first or min(values, default=today)
    last = period.last or max([today, *values])
    days = ((first + timedelta(days=number)) for number in range((last - first).days + 1))
    return [TrendPoint(day, values.get(day, 0)) for day in days]
