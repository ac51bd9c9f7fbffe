"""Checks 1 to 7 (domain, section 5), through the decoder, as the stream runs them."""

from datetime import timedelta
from typing import Any

import pytest

from licmeter.metering.decoding import Refused, decode
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.report import Report
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, RECEIVED, SLOT, ms, report

KEY = ORGANIZATION.encode()


def outcome(event: dict[str, Any] | bytes | None, *, key: bytes | None = KEY, received: Any = RECEIVED) -> object:
    value = event if event is None or isinstance(event, bytes) else encode_event(event)
    decoded = decode(key, value, ms(received), DEFAULT_LIMITS)
    return decoded.reason if isinstance(decoded, Refused) else type(decoded)


def without(name: str) -> dict[str, Any]:
    event = report()
    del event[name]
    return event


def data(**changes: Any) -> dict[str, Any]:
    event = report()
    event["data"] |= changes
    return event


R = RejectReason
GOOD = encode_event(report())
CASES: list[tuple[str, Any, Any]] = [
    ("tombstone", None, R.TOMBSTONE),
    ("empty record", b"", R.EMPTY_RECORD),
    ("not JSON", b"{nope", R.NOT_JSON),
    ("not UTF-8", b"\xff\xfe\x00", R.NOT_JSON),
    ("a million brackets", b"[" * 60_000, R.NOT_JSON),
    ("a lone surrogate", GOOD.replace(b'"r1"', b'"\\ud800"'), R.NOT_JSON),
    ("a list", b"[]", R.INVALID_SCHEMA),
    ("a string", b'"report"', R.INVALID_SCHEMA),
    ("null", b"null", R.INVALID_SCHEMA),
    ("10 MB", b"x" * 10_000_000, R.PAYLOAD_TOO_LARGE),
    ("just too large", GOOD + b" " * 65_536, R.PAYLOAD_TOO_LARGE),
    ("unknown type", {**report(), "type": "license.usage.report.v9"}, R.UNKNOWN_EVENT_TYPE),
    ("type is a number", {**report(), "type": 7}, R.INVALID_SCHEMA),
    ("no type", without("type"), R.INVALID_SCHEMA),
    ("check 1: no id", without("id"), R.INVALID_SCHEMA),
    ("check 1: no client", without("source"), R.INVALID_SCHEMA),
    ("check 1: no slot", without("time"), R.INVALID_SCHEMA),
    ("check 1: no counts", {**report(), "data": {}}, R.INVALID_SCHEMA),
    ("check 1: id too long", {**report(), "id": "x" * 65}, R.INVALID_SCHEMA),
    ("check 1: empty id", {**report(), "id": ""}, R.INVALID_SCHEMA),
    ("check 1: client too long", {**report(), "source": "x" * 129}, R.INVALID_SCHEMA),
    ("check 1: E20 count is text", data(counts={"qr": "1"}), R.INVALID_SCHEMA),
    ("check 1: E20 count is fractional", data(counts={"qr": 1.5}), R.INVALID_SCHEMA),
    ("check 1: count is 1.0", data(counts={"qr": 1.0}), R.INVALID_SCHEMA),
    ("check 1: count is true", data(counts={"qr": True}), R.INVALID_SCHEMA),
    ("check 1: count is null", data(counts={"qr": None}), R.INVALID_SCHEMA),
    ("check 1: 1e400", GOOD.replace(b'"qr":1', b'"qr":1e400'), R.INVALID_SCHEMA),
    ("check 1: NaN", GOOD.replace(b'"qr":1', b'"qr":NaN'), R.INVALID_SCHEMA),
    ("check 1: 65 features", data(counts={f"f{n}": 1 for n in range(65)}), R.INVALID_SCHEMA),
    ("check 1: total is not the sum", data(total=2), R.INVALID_SCHEMA),
    ("check 1: instances 0", data(instances=0), R.INVALID_SCHEMA),
    ("check 1: T1 no zone", {**report(), "time": "2031-03-08T10:00:00"}, R.INVALID_SCHEMA),
    ("check 1: T1 epoch number", {**report(), "time": 1930730400}, R.INVALID_SCHEMA),
    ("check 1: T1 epoch text", {**report(), "time": "1930730400"}, R.INVALID_SCHEMA),
    ("check 1: sent_at without zone", data(sent_at="2031-03-08T10:00:00"), R.INVALID_SCHEMA),
    ("check 1: neither project nor organization", without("subject"), R.INVALID_SCHEMA),
    ("check 1: a project without organization", {**report(), "subject": "kiosk"}, R.INVALID_SCHEMA),
    ("check 1: year 1", {**report(), "time": "0001-01-01T00:00:00+14:00"}, R.TOO_OLD),
    ("key of another organization", {**report(), "subject": "999-kiosk"}, R.KEY_MISMATCH),
    ("organization id of another", {**report(), "organizationid": "999"}, R.KEY_MISMATCH),
    ("check 2: E20 negative", data(counts={"qr": -1}), R.NEGATIVE_COUNT),
    ("check 2 before 3", data(counts={"a": 10**7, "b": -1}), R.NEGATIVE_COUNT),
    ("check 2 before 4", {**data(counts={"qr": -1}), "time": "2031-03-08T10:00:01Z"}, R.NEGATIVE_COUNT),
    ("check 3: E20 huge", data(counts={"qr": 1_000_001}), R.COUNT_OUT_OF_RANGE),
    ("check 3: thousand digits", data(counts={"qr": 10**1000}), R.COUNT_OUT_OF_RANGE),
    ("check 3: the largest", data(counts={"qr": 1_000_000}), Report),
    ("check 4: one second off", {**report(), "time": "2031-03-08T10:00:01Z"}, R.SLOT_MISALIGNED),
    ("check 4: half a second off", {**report(), "time": "2031-03-08T10:00:00.5Z"}, R.SLOT_MISALIGNED),
    ("check 4: aligned in another zone", {**report(), "time": "2031-03-08T15:30:00+05:30"}, Report),
    ("64 features", data(counts={f"f{n}": 1 for n in range(64)}), Report),
    ("A6: no counts at all", data(counts={}), Report),
    ("a field we do not know", data(extra={"a": 1}), Report),
]


@pytest.mark.parametrize(("event", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_check(event: Any, expected: Any) -> None:
    assert outcome(event) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [(None, R.MISSING_KEY), (b"", R.MISSING_KEY), (b"\xff", R.MISSING_KEY), (b"999", R.KEY_MISMATCH), (KEY, Report)],
)
def test_the_key_is_the_organization(key: bytes | None, expected: Any) -> None:
    assert outcome(report(), key=key) == expected


MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("received", "sent_at", "expected"),
    [
        pytest.param(SLOT - timedelta(minutes=5), None, Report, id="E1 five minutes ahead"),
        pytest.param(SLOT - timedelta(minutes=5) - MS, None, R.FUTURE_SLOT, id="E2 a little more"),
        pytest.param(RECEIVED, RECEIVED + DAY, Report, id="check 5 sent_at 24 h ahead"),
        pytest.param(RECEIVED, RECEIVED + DAY + 1000 * MS, R.CLOCK_SKEW, id="check 5 sent_at further ahead"),
        pytest.param(RECEIVED, RECEIVED - DAY - 1000 * MS, R.CLOCK_SKEW, id="check 5 sent_at behind"),
        pytest.param(SLOT - timedelta(minutes=6), SLOT + 2 * DAY, R.CLOCK_SKEW, id="check 5 before 6"),
        pytest.param(SLOT + timedelta(minutes=3) + 30 * DAY, None, Report, id="check 7 exactly 30 days"),
        pytest.param(SLOT + timedelta(minutes=3) + 30 * DAY + MS, None, R.TOO_OLD, id="check 7 one ms more"),
    ],
)
def test_times(received: Any, sent_at: Any, expected: Any) -> None:
    event = report()
    if sent_at is not None:
        event["data"]["sent_at"] = sent_at
    assert outcome(event, received=received) == expected


def test_the_detail_names_the_field_and_not_the_value() -> None:
    decoded = decode(KEY, encode_event(data(counts={"qr": "SECRET"})), ms(RECEIVED), DEFAULT_LIMITS)
    assert isinstance(decoded, Refused)
    assert "data.counts.qr" in decoded.detail
    assert "SECRET" not in decoded.detail
