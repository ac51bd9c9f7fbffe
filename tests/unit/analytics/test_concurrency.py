"""Percentiles over slots, those without use included, by nearest rank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.concurrency import concurrency_profile, days_of, percentile


def test_slots_without_use_count_as_zero() -> None:
    profile = concurrency_profile({4: 24}, days=1)
    assert (profile.slots, profile.slots_in_use, profile.peak) == (480, 24, 4)
    assert profile.percentiles == {50: 0, 75: 0, 90: 0, 95: 0, 99: 4}


def test_a_range_that_is_always_in_use_has_no_zero() -> None:
    assert concurrency_profile({1: 240, 3: 240}, days=1).percentiles == {50: 1, 75: 3, 90: 3, 95: 3, 99: 3}


def test_nothing_in_use_is_zero() -> None:
    profile = concurrency_profile({}, days=0)
    assert (profile.peak, profile.percentiles[99]) == (0, 0)


@given(values=st.lists(st.integers(0, 50), min_size=1), percent=st.integers(1, 100))
def test_a_percentile_is_the_value_at_its_rank(values: list[int], percent: int) -> None:
    counts = {value: values.count(value) for value in values}
    at_rank = sorted(values)[-(-percent * len(values) // 100) - 1]
    assert percentile(counts, percent) == at_rank


@pytest.mark.parametrize(
    ("period", "days"),
    [(ALWAYS, 4), (Period(first=None, last=None), 4)],
)
def test_an_open_range_is_that_of_use(period: Period, days: int) -> None:
    from datetime import date

    assert days_of(period, date(2031, 3, 1), date(2031, 3, 4)) == days


def test_a_closed_range_counts_its_days_whether_used_or_not() -> None:
    from datetime import date

    assert days_of(Period(date(2031, 3, 1), date(2031, 3, 30)), None, None) == 30
