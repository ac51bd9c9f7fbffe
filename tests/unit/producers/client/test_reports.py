"""Counts become reports that the server takes, and add up to the counts."""

import json
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.producers.client.reports import COUNT_MAX, Report, UnusableCountsError, make_reports
from licmeter.producers.client.tally import SLOT_MAX, SLOT_SECONDS, Entry
from licmeter.schemas.reports import parse_report

SLOT = 1_930_000_140
OWNED = '{"project_id":"300417-kiosk"}'


def reports(entries: list[Entry]) -> list[Report]:
    ids = count()
    return list(make_reports(entries, "device-1", lambda: f"r-{next(ids)}"))


entry = st.builds(
    Entry,
    st.sampled_from([OWNED, '{"product":"reader"}']),
    st.integers(0, 3).map(lambda n: SLOT + n * SLOT_SECONDS),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    st.integers(0, 3 * COUNT_MAX),
    st.integers(1, 2**60),
)


@given(st.lists(entry, max_size=100, unique_by=lambda one: (one.attributes, one.slot, one.feature)))
def test_reports_follow_the_contract_and_add_up(entries: list[Entry]) -> None:
    expected, found = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for one in entries:
        expected[one.slot, one.feature] += one.units
    for report in reports(entries):
        event = parse_report(report.event)
        assert max(event["data"]["counts"].values()) <= COUNT_MAX
        assert sum(event["data"]["counts"].values()) == report.units
        for feature, units in event["data"]["counts"].items():
            found[report.slot, feature] += units
    assert +found == +expected


def test_nothing_makes_no_report() -> None:
    assert reports([Entry(OWNED, SLOT, "qr", 0, 1)]) == []


def test_a_slot_and_program_is_one_report() -> None:
    found = reports([Entry(OWNED, SLOT, "qr", 1, 2), Entry(OWNED, SLOT, "page", 2, 3), Entry("{}", SLOT, "qr", 4, 1)])
    assert sorted((report.units, json.loads(report.event)["data"].get("instances")) for report in found) == [
        (3, 3),
        (4, None),
    ]


@pytest.mark.parametrize(
    ("attributes", "slot"),
    [("{", SLOT), ("[]", SLOT), ('{"counts":1}', SLOT), ('{"report_id":"x"}', SLOT), ("{}", SLOT_MAX + 180)],
)
def test_counts_that_no_report_can_be_made_of_are_named(attributes: str, slot: int) -> None:
    with pytest.raises(UnusableCountsError):
        reports([Entry(attributes, slot, "qr", 1, 1)])
