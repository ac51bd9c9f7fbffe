"""From a written date to the calendar, though it lacks a year or may be read in two orders.

A start carries no year: it is the latest such date not after the snapshot, and its weekday decides between years.
Which order of month and day a file writes is found by `better_order`: the order under which more of its dates
exist and fall on the weekday printed with them, not long before the snapshot.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from licmeter.producers.lmstat.dates import DateOrder, WrittenDate

__all__ = ["Placed", "better_order", "is_open", "place"]

#: From 29 February to the one before it lie up to 8 years, and a weekday returns to its date within 12.
YEARS_BACK_MAX: Final = 12
AHEAD_CONFIRMED: Final = timedelta(days=1)  # clocks and zones of server and client differ; the weekday vouches
AHEAD_UNCONFIRMED: Final = timedelta(minutes=5)  # a check-out made while lmstat was running


@dataclass(frozen=True, slots=True)
class Placed:
    """A date on the calendar, and whether the weekday printed with it is the right one."""

    at: datetime
    weekday_agrees: bool


def is_open(written: WrittenDate) -> bool:
    """Tell whether both orders give a date, and not the same one."""
    first, second = written.first, written.second
    return written.order is None and 1 <= first <= 12 and 1 <= second <= 12 and first != second


def place(written: WrittenDate, order: DateOrder, snapshot: datetime | None) -> Placed | None:
    """Put a date on the calendar; None if it does not exist there, or has no year and there is no snapshot."""
    order = written.order or order
    if written.year is not None:
        at = _date(written, order, written.year)
        return None if at is None else Placed(at, _agrees(written, at))
    if snapshot is None:
        return None
    candidates = list(_candidates(written, order, snapshot))
    if written.weekday is not None:
        confirmed = (at for at in candidates if _agrees(written, at) and at <= _ahead(snapshot, AHEAD_CONFIRMED))
        if (at := next(confirmed, None)) is not None:
            return Placed(at, weekday_agrees=True)
    latest = next((at for at in candidates if at <= _ahead(snapshot, AHEAD_UNCONFIRMED)), None)
    return None if latest is None else Placed(latest, weekday_agrees=written.weekday is None)


def better_order(
    header: WrittenDate | None, starts: Iterable[WrittenDate], reference: datetime | None = None
) -> DateOrder | None:
    """Return the order that more of the dates of one snapshot fit; None when they do not decide."""
    distinct = set(starts)
    month_first = _fitting(header, distinct, DateOrder.MONTH_FIRST, reference)
    day_first = _fitting(header, distinct, DateOrder.DAY_FIRST, reference)
    if month_first == day_first:
        return None
    return DateOrder.MONTH_FIRST if month_first > day_first else DateOrder.DAY_FIRST


def _fitting(
    header: WrittenDate | None, starts: Iterable[WrittenDate], order: DateOrder, reference: datetime | None
) -> int:
    placed = place(header, order, None) if header else None
    snapshot = placed.at if placed else reference
    fitting = sum(_fits(start, order, snapshot) for start in starts)
    return fitting + (1 if placed and placed.weekday_agrees else 0)


def _fits(start: WrittenDate, order: DateOrder, snapshot: datetime | None) -> bool:
    """Tell whether the *latest* such date has the weekday printed; some year of the last twelve always has."""
    if start.year is not None or snapshot is not None:
        ahead = None if snapshot is None else _ahead(snapshot, AHEAD_CONFIRMED)
        dates = [_date(start, start.order or order, start.year)] if start.year else _candidates(start, order, snapshot)
        latest = next((at for at in dates if at is not None and (ahead is None or at <= ahead)), None)
        return latest is not None and _agrees(start, latest)
    return _date(start, start.order or order, _LEAP_YEAR) is not None


_LEAP_YEAR: Final = 2000  # has every day there is


def _candidates(written: WrittenDate, order: DateOrder, snapshot: datetime | None) -> Iterator[datetime]:
    """Yield the date in each year, from the year after the snapshot backwards."""
    if snapshot is None:
        return
    for year in range(snapshot.year + 1, snapshot.year - YEARS_BACK_MAX - 1, -1):
        at = _date(written, written.order or order, year)
        if at is not None:
            yield at


def _date(written: WrittenDate, order: DateOrder, year: int) -> datetime | None:
    month_first = order is DateOrder.MONTH_FIRST
    month, day = (written.first, written.second) if month_first else (written.second, written.first)
    clock = written.clock or time()
    try:
        return datetime(year, month, day, clock.hour, clock.minute, clock.second)  # noqa: DTZ001 - printed without a zone
    except ValueError:
        return None


def _agrees(written: WrittenDate, at: datetime) -> bool:
    return written.weekday is None or written.weekday == at.weekday()


def _ahead(snapshot: datetime, tolerance: timedelta) -> datetime:
    try:
        return snapshot + tolerance
    except OverflowError:  # 9999-12-31
        return snapshot
