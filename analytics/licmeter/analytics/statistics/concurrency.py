"""Peak and percentiles of what was in use at once, over the slots of a range, and the busiest slots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.sources import Days, Source
from licmeter.analytics.statistics.words import ORGANIZATION, Scope

__all__ = [
    "PERCENTILES",
    "ConcurrencyProfile",
    "ConcurrencyQuery",
    "PeaksQuery",
    "concurrency_profile",
    "days_of",
    "percentile",
]

PERCENTILES: Final = (50, 75, 90, 95, 99)
SLOTS_A_DAY: Final = 480


@dataclass(frozen=True, slots=True)
class ConcurrencyQuery:
    """In how many slots of the range how much was in use at once, and the days that had any use."""

    organization_id: str
    scope: Scope = ORGANIZATION
    period: Period = ALWAYS
    dirty: Days = None

    columns: ClassVar[Sequence[str]] = ("slots", "first_day", "last_day")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = Source.of(self.organization_id, self.period, self.scope, dirty=self.dirty)
        text = f"""
            SELECT sumMap(slots), minOrNull(day), maxOrNull(day)
            FROM ({source.concurrency_days(self.scope.kind.value)})
        """
        return text, source.parameters


@dataclass(frozen=True, slots=True)
class PeaksQuery:
    """The most that was in use at once of each item, over all history."""

    organization_id: str
    dirty: Days = None

    columns: ClassVar[Sequence[str]] = ("item_id", "peak")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = Source(self.organization_id, ALWAYS, dirty=self.dirty)
        text = f"SELECT item_id, max(peak) AS peak FROM ({source.concurrency_days('item')}) GROUP BY item_id"
        return text, source.parameters


@dataclass(frozen=True, slots=True)
class ConcurrencyProfile:
    """How much was in use at once. `slots` are those of the whole range; one without use counts as 0."""

    peak: int
    percentiles: dict[int, int]
    slots: int
    slots_in_use: int


def concurrency_profile(in_use: Mapping[int, int], days: int) -> ConcurrencyProfile:
    """Return peak and percentiles of `days` whole days; `in_use` tells for each a(s) in how many slots it was so."""
    total, busy = days * SLOTS_A_DAY, sum(in_use.values())
    counts = {0: max(0, total - busy), **{value: slots for value, slots in in_use.items() if value}}
    return ConcurrencyProfile(
        peak=max(in_use, default=0),
        percentiles={each: percentile(counts, each) for each in PERCENTILES},
        slots=total,
        slots_in_use=busy,
    )


def percentile(counts: Mapping[int, int], percent: int) -> int:
    """Return the smallest value that at least `percent` of all values do not exceed (nearest rank), in integers."""
    total = sum(counts.values())
    if not total:
        return 0
    rank, seen = max(1, -(-percent * total // 100)), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= rank:
            return value
    raise AssertionError("the ranks end with the total")


def days_of(period: Period, first: date | None, last: date | None) -> int:
    """Return the number of days of a range; an open end is the first or last day that had use."""
    begin, end = period.first or first, period.last or last
    return 0 if begin is None or end is None else max(0, (end - begin).days + 1)
