"""What can be asked: one range, one scope, days that exist."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from licmeter.analytics.http.parameters import ItemsParameters, Ranged, SeriesParameters
from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.words import ORGANIZATION, Scope

TODAY = date(2031, 3, 8)


def ranged(**asked: Any) -> Ranged:
    return Ranged.model_validate(asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ALWAYS),
        ({"last": "1"}, Period(TODAY, TODAY)),
        ({"last": "7"}, Period(date(2031, 3, 2), TODAY)),
        ({"from": "2031-03-01"}, Period(date(2031, 3, 1), None)),
        ({"to": "2031-03-01"}, Period(None, date(2031, 3, 1))),
        ({"from": "2031-03-08", "to": "2031-03-08"}, Period(TODAY, TODAY)),
    ],
)
def test_q6_ranges(asked: dict[str, str], expected: Period) -> None:
    assert ranged(**asked).period(TODAY) == expected


@pytest.mark.parametrize(
    "asked",
    [
        {"last": "7", "from": "2031-03-01"},
        {"from": "2031-03-02", "to": "2031-03-01"},
        {"last": "0"},
        {"last": "-1"},
        {"last": "10001"},
        {"last": "99999999999999999999999"},
        {"last": "week"},
        {"from": "0000-00-00"},
        {"from": "0001-01-01"},
        {"from": "1969-12-31"},
        {"to": "2100-01-01"},
        {"to": "9999-12-31"},
        {"from": "2031-02-30"},
        {"from": "2031-3-1"},
        {"from": "20310301"},
        {"from": "1900000000"},
        {"from": "2031-03-01T00:00:00Z"},
        {"from": "now"},
        {"from": "\uff12031-03-01"},
        {"first_day": "2031-03-01"},
        {"until": "2031-03-01"},
    ],
)
def test_q6_what_is_no_range_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ranged(**asked)


def test_q1_a_scope_is_a_project_or_an_item() -> None:
    assert SeriesParameters.model_validate({}).scope == ORGANIZATION
    assert SeriesParameters.model_validate({"project": "1-a"}).scope == Scope.project("1-a")
    assert SeriesParameters.model_validate({"item": "41"}).scope == Scope.item("41")
    with pytest.raises(ValidationError, match="and not of both"):
        SeriesParameters.model_validate({"project": "1-a", "item": "41"})


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 10_001}, {"cursor": "A" * 4_097}, {"sort": "used"}, {"x": "1"}]
)
def test_pages_are_bounded(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ItemsParameters.model_validate(asked)
