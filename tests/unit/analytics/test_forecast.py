"""When a quota ends: nothing is said without history, weekends stay weekends, the same history says the same."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.analytics.statistics.forecast import METHOD, forecast

SUNDAY = date(2031, 3, 9)


def test_even_use_ends_on_the_day_that_division_gives() -> None:
    result = forecast([10] * 56, SUNDAY, used=100, limit=200)
    assert result.exhausted_on == result.earliest == result.latest == SUNDAY + timedelta(days=10)
    assert (result.left, result.per_day, result.method, result.interval_percent) == (100, 10.0, METHOD, 80)


def test_what_is_left_after_a_part_of_a_day_ends_on_that_day() -> None:
    assert forecast([10] * 28, SUNDAY, used=0, limit=11).exhausted_on == SUNDAY + timedelta(days=2)


def test_weekends_stay_weekends() -> None:
    week = [10, 10, 10, 10, 10, 0, 0]  # Monday to Sunday
    result = forecast(week * 8, SUNDAY, used=0, limit=60)
    assert result.exhausted_on == date(2031, 3, 17)  # five days of work, a weekend, one more


def test_the_interval_holds_the_median_and_is_wider_for_uneven_use() -> None:
    even = forecast([10] * 56, SUNDAY, used=0, limit=2_000)
    uneven = forecast([0, 0, 0, 0, 0, 0, 0, 70, 70, 70, 70, 70, 70, 70][:14] * 4, SUNDAY, used=0, limit=2_000)
    for result in (even, uneven):
        assert result.earliest is not None
        assert result.exhausted_on is not None
        assert result.latest is not None
        assert result.earliest <= result.exhausted_on <= result.latest
    assert uneven.earliest != uneven.latest


@given(history=st.lists(st.integers(0, 30), min_size=14, max_size=80), limit=st.integers(1, 3_000))
def test_the_same_history_says_the_same(history: list[int], limit: int) -> None:
    assert forecast(history, SUNDAY, 0, limit) == forecast(history, SUNDAY, 0, limit)


@pytest.mark.parametrize(
    ("history", "used", "limit", "reason"),
    [
        ([10] * 56, 5, None, "no limit"),
        ([10] * 56, 200, 200, "used up already"),
        ([10] * 56, 250, 200, "used up already"),
        ([10] * 13, 0, 200, "fewer than 14 days"),
        ([0] * 56, 0, 200, "nothing was used"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is(history: list[int], used: int, limit: int | None, reason: str) -> None:
    result = forecast(history, SUNDAY, used, limit)
    assert result.reason is not None
    assert reason in result.reason
    assert result.exhausted_on is None


def test_nothing_ends_behind_the_items_end() -> None:
    result = forecast([10] * 56, SUNDAY, used=0, limit=1_000, until=SUNDAY + timedelta(days=99))
    assert result.exhausted_on is None
    assert result.reason == "not before the item or its budget year ends"
    assert forecast([10] * 56, SUNDAY, used=0, limit=990, until=SUNDAY + timedelta(days=99)).exhausted_on is not None
