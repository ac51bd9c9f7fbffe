"""Points of a trend: zero-filled, per day and running (domain, Q4, Q6, Q9)."""

from datetime import date

import pytest

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.api import last_days
from licmeter.analytics.statistics.trends import TrendPoint, accumulated, filled
from licmeter.analytics.statistics.words import Measure, StatisticsError

TODAY = date(2031, 3, 8)


def points(*values: int) -> list[TrendPoint]:
    return [TrendPoint(date(2031, 3, number), value) for number, value in enumerate(values, start=1)]


def test_q6_last_n_days_are_today_and_the_days_before() -> None:
    assert last_days(7, TODAY) == Period(date(2031, 3, 2), TODAY)
    assert last_days(1, TODAY) == Period(TODAY, TODAY)


def test_q9_every_day_of_the_range_has_a_point() -> None:
    found = filled({date(2031, 3, 6): 5}, last_days(4, TODAY), TODAY)
    assert [point.value for point in found] == [0, 5, 0, 0]
    assert [point.day for point in found] == [date(2031, 3, number) for number in (5, 6, 7, 8)]


def test_q9_all_history_begins_with_the_first_value_and_ends_today() -> None:
    found = filled({date(2031, 3, 5): 1, date(2031, 3, 6): 2}, ALWAYS, TODAY)
    assert [point.value for point in found] == [1, 2, 0, 0]


def test_a_value_of_tomorrow_is_shown_in_an_open_range() -> None:
    found = filled({date(2031, 3, 9): 1}, ALWAYS, TODAY)
    assert found == [TrendPoint(date(2031, 3, 9), 1)]


def test_nothing_at_all_is_a_zero_today() -> None:
    assert filled({}, ALWAYS, TODAY) == [TrendPoint(TODAY, 0)]


def test_q4_accumulative_is_the_running_sum() -> None:
    assert accumulated(Measure.COUNT, points(1, 0, 5)) == points(1, 1, 6)


def test_q4_a_peak_accumulates_to_the_peak_so_far() -> None:
    assert accumulated(Measure.PEAK_CONCURRENT, points(3, 1, 5, 0)) == points(3, 3, 5, 5)


def test_q4_live_seats_are_a_level_and_no_flow() -> None:
    with pytest.raises(StatisticsError, match="live seats"):
        accumulated(Measure.ACTIVE_DEVICES, points(1))
