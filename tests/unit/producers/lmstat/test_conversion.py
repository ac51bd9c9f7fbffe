"""From snapshots to events: who the client is, what it holds, and which ids make a repeated import harmless."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from licmeter.producers.lmstat import (
    LmstatError,
    NoticeKind,
    SnapshotTimeUnknown,
    convert,
    parse,
    reports,
    slot_of,
    snapshot_instant,
)
from licmeter.schemas.reports import encode_event, parse_report

SLOT = datetime(2031, 3, 8, 14, 12, tzinfo=UTC)
TEXT = """\
Flexible License Manager status on Fri 10/20/2017 17:02
License server status: 28000@host1
Users of F:  (Total of 99 licenses issued;  Total of 10 licenses in use)
    u1 h1 d1 (v1) (host1/28000 1), start Fri 10/20 16:40, 4 licenses
    u1 h1 d1 (v1) (host1/28000 2), start Fri 10/20 16:41
    u2 h2 (v1) (host1/28000 3), start Fri 10/20 16:42
    2 RESERVATIONs for GROUP DED (host1/28000)
    2 RESERVATIONs for GROUP DED (host1/28000)
"""


def _reports(text: str = TEXT, slot: datetime = SLOT, project_id: str = "300417-cad") -> list[dict[str, Any]]:
    return reports(parse(text), project_id=project_id, slot=slot)


def _ids(events: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(event["source"], event["id"]) for event in events}


def test_one_report_per_line_and_instances_are_what_the_client_holds() -> None:
    rows = [
        (event["source"], event["data"]["counts"], event["data"]["instances"], event["data"].get("usage_kind"))
        for event in _reports()
    ]
    assert rows == [
        ("u1@h1:d1", {"F": 4}, 5, None),
        ("u1@h1:d1", {"F": 1}, 5, None),
        ("u2@h2:h2", {"F": 1}, 1, None),
        ("reservation:GROUP DED@host1/28000", {"F": 2}, 4, "reservation"),
        ("reservation:GROUP DED@host1/28000", {"F": 2}, 4, "reservation"),
    ]


def test_events_keep_the_contract() -> None:
    for event in reports(parse(TEXT), project_id="300417-cad", slot=SLOT, sent_at=SLOT, attempt=1):
        read = parse_report(encode_event(event))
        assert (read["time"], read["data"].get("attempt")) == (SLOT, 1)


def test_ids_are_one_to_a_line() -> None:
    assert len(_ids(_reports())) == 5


def test_the_same_import_again_gives_the_same_ids() -> None:
    assert _reports() == _reports()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"text": TEXT.replace("17:02", "17:03")}, id="later snapshot"),
        pytest.param({"text": TEXT.replace("28000@host1", "1@host1")}, id="other server"),
        pytest.param({"slot": SLOT + timedelta(minutes=3)}, id="other slot"),
        pytest.param({"project_id": "300417-cae"}, id="other project"),
    ],
)
def test_another_import_gives_other_ids(other: dict[str, Any]) -> None:
    assert not _ids(_reports()) & _ids(_reports(**other))


def test_the_same_output_twice_in_one_text_is_one() -> None:
    conversion = convert(parse(TEXT + TEXT), project_id="300417-cad", slot=SLOT)
    assert list(conversion.reports) == _reports()
    assert [said.kind for said in conversion.notices] == [NoticeKind.SNAPSHOT_REPEATED]


def test_holdings_add_up_over_servers() -> None:
    events = _reports(TEXT + TEXT.replace("28000@host1", "1@host1"))
    assert {event["data"]["instances"] for event in events if event["source"] == "u1@h1:d1"} == {10}


def test_a_later_look_at_one_server_does_not_add_to_what_a_client_holds() -> None:
    events = _reports(TEXT + TEXT.replace("17:02", "17:03").replace("4 licenses", "6 licenses"))
    assert {event["data"]["instances"] for event in events if event["source"] == "u1@h1:d1"} == {7}


def test_long_names_are_shortened_and_stay_apart() -> None:
    long = "x" * 200
    text = TEXT.replace("u1", long).replace("u2", f"{long}y").replace("Users of F", f"Users of {long}")
    conversion = convert(parse(text), project_id="300417-cad", slot=SLOT)
    for event in conversion.reports:
        parse_report(encode_event(event))
    assert len({event["source"] for event in conversion.reports}) == 3
    assert {said.kind for said in conversion.notices} == {NoticeKind.NAME_SHORTENED}


def test_no_license_is_no_report() -> None:
    (snapshot,) = parse(TEXT.replace("4 licenses", "0 licenses").replace("2 RESERVATIONs", "0 RESERVATIONs"))
    assert len(reports([snapshot], project_id="300417-cad", slot=SLOT)) == 2
    kinds = [said.kind for said in snapshot.notices if said.kind is NoticeKind.ZERO_LICENSES]
    assert len(kinds) == 3


def test_more_than_a_report_may_count_is_said_and_not_sent() -> None:
    conversion = convert(parse(TEXT.replace("4 licenses", "1000001 licenses")), project_id="300417-cad", slot=SLOT)
    assert len(conversion.reports) == 4
    assert [said.kind for said in conversion.notices] == [NoticeKind.COUNT_OUT_OF_RANGE]


def test_a_feature_without_a_name_has_one() -> None:
    assert [event["data"]["counts"] for event in _reports(TEXT.replace("of F:", "of :"))][2] == {"(unnamed)": 1}


@pytest.mark.parametrize(
    ("instant", "slot"),
    [
        (datetime(2031, 3, 8, 14, 14, 59, 999_999, tzinfo=UTC), datetime(2031, 3, 8, 14, 12, tzinfo=UTC)),
        (datetime(2031, 3, 8, 1, 1, 30, tzinfo=ZoneInfo("Asia/Kolkata")), datetime(2031, 3, 7, 19, 30, tzinfo=UTC)),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), datetime(1969, 12, 31, 23, 57, tzinfo=UTC)),
    ],
)
def test_slot_of(instant: datetime, slot: datetime) -> None:
    assert slot_of(instant) == slot


def test_a_snapshot_without_a_time_cannot_be_placed_by_it() -> None:
    (snapshot,) = parse(TEXT.replace("Fri 10/20/2017 17:02", "some day"))
    with pytest.raises(SnapshotTimeUnknown, match="some day") as raised:
        snapshot_instant(snapshot, UTC)
    assert isinstance(raised.value, LmstatError)
    assert (raised.value.line_number, raised.value.time_text) == (1, "some day")
