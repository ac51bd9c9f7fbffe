from datetime import UTC, datetime, timedelta

import pytest

from licmeter.producers.sending import OffsetSpan
from licmeter.runtime.cli.instants import instant_of
from licmeter.runtime.cli.rejects_options import received, selection_of
from licmeter.runtime.errors import UsageError
from licmeter.runtime.rejects import parse_places, spans_of
from licmeter.schemas.replays import Place

NOW = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)


def test_places_that_follow_each_other_are_one_span() -> None:
    places = [(1, 7), (0, 3), (0, 1), (0, 2), (1, 9), (1, 8), (0, 5)]
    assert spans_of(places) == [OffsetSpan(0, 1, 3), OffsetSpan(0, 5, 5), OffsetSpan(1, 7, 9)]
    assert spans_of([]) == []


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("6h", NOW - timedelta(hours=6)),
        ("7d", NOW - timedelta(days=7)),
        ("999999d", NOW - timedelta(days=36_500)),
        ("2031-03-01T00:00:00Z", datetime(2031, 3, 1, tzinfo=UTC)),
        ("2031-03-01T02:00:00+02:00", datetime(2031, 3, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_is_an_age_or_has_a_zone(text: str, instant: datetime) -> None:
    assert instant_of("--since", text, NOW) == instant


@pytest.mark.parametrize("text", ["", "7", "7w", "-7d", "yesterday", "2031-03-01", "2031-03-01T00:00:00"])
def test_t1_anything_else_is_refused_with_the_name_of_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--until"):
        instant_of("--until", text, NOW)


def test_a_selection_has_what_the_options_say() -> None:
    found = selection_of(["not_json", "undecodable"], "300417", "1d", "1h", NOW)
    assert (found.reasons, found.organization_id) == ({"not_json", "undecodable"}, "300417")
    assert (found.until_ms or 0) - (found.since_ms or 0) == 23 * 3_600_000


def test_a_reason_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="not_jason") as caught:
        selection_of(["not_jason", "too_old"], None, None, None, NOW)
    assert "not_json" in caught.value.hint


def test_places_are_read_or_refused() -> None:
    assert parse_places(["0:17", "usage.events/1/2"]) == {Place("usage.events", 0, 17), Place("usage.events", 1, 2)}
    with pytest.raises(UsageError, match="is no place"):
        parse_places(["0:17", "here"])


def test_an_arrival_that_no_calendar_has_is_the_latest_that_there_is() -> None:
    assert received(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert received(10**18).year == 9999
