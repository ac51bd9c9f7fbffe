"""What takes the fast way, what does not, and that the way never shows in the result."""

from typing import Any

import pytest

from licmeter.metering.decoding import decode, decode_by_contract
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.metering.report_decoding import decode_good_report
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, RECEIVED, SLOT, ms, report

KEY = ORGANIZATION.encode()
USUAL = encode_event(report())


def fast(value: bytes, key: bytes | None = KEY) -> Report | None:
    return decode_good_report(key, value, ms(RECEIVED), DEFAULT_LIMITS)


def full(value: bytes) -> Any:
    decoded = decode(KEY, value, ms(RECEIVED), DEFAULT_LIMITS)
    assert decoded == decode_by_contract(KEY, value, ms(RECEIVED), DEFAULT_LIMITS)
    return decoded


def data(**changes: Any) -> bytes:
    event = report()
    event["data"] |= changes
    return encode_event(event)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(USUAL, id="the least"),
        pytest.param(encode_event(report(organization_id=ORGANIZATION, project_id=None)), id="the default project"),
        pytest.param(encode_event(report(organization_id=ORGANIZATION)), id="project and organization"),
        pytest.param(encode_event(report() | {"time": "2031-03-08T15:30:00+05:30"}), id="another zone"),
        pytest.param(data(sent_at="2031-03-08T10:00:30.123456Z"), id="microseconds"),
        pytest.param(data(total=1, instances=2, attempt=3, usage_kind="reservation"), id="numbers"),
        pytest.param(data(product=None, validation=None, sent_at=None, total=None, instances=None), id="null"),
        pytest.param(data(validation={"kind": "domain", "value": "bücher.example"}), id="a validation"),
        pytest.param(data(counts={f"f{n}": n for n in range(64)}), id="64 features"),
        pytest.param(data(counts={"\N{GRINNING FACE}" * 128: 1}), id="128 characters in 512 bytes"),
        pytest.param(data(counts={}), id="no counts"),
        pytest.param(b" \r\n\t" + USUAL + b"\n", id="spaces around"),
    ],
)
def test_usual_reports_take_the_fast_way(value: bytes) -> None:
    assert fast(value) == full(value)
    assert isinstance(full(value), Report)


@pytest.mark.parametrize(
    "value",
    [
        # msgspec skips what it does not know, whatever it is.
        pytest.param(USUAL.replace(b"{", b'{"traceparent":"00-0af7-00",', 1), id="an unknown field"),
        pytest.param(data(extra={"a": [1]}), id="an unknown field in the data"),
        pytest.param(encode_event(report() | {"time": "2031-03-08T10:00Z"}), id="no seconds"),
        pytest.param(encode_event(report() | {"time": f"2031-03-08T10:00:00.{'0' * 40}Z"}), id="a long fraction"),
    ],
)
def test_unusual_reports_are_left_to_the_contract(value: bytes) -> None:
    assert isinstance(full(value), Report)
    assert fast(value) in (None, full(value))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(encode_event(report() | {"time": "2031-03-08T10:00:00"}), id="no zone"),
        pytest.param(USUAL.replace(b"{", b'{"extra":"\xff",', 1), id="no UTF-8 in an unknown field"),
        pytest.param(
            USUAL.replace(b"{", b'{"extra":' + b"[" * 250 + b"]" * 250 + b",", 1), id="too deep unknown field"
        ),
        pytest.param(USUAL.replace(b'"r1"', b'"r\xed\xa0\x80"'), id="a surrogate in UTF-8"),
        pytest.param(USUAL.replace(b'"r1"', b'"r\\ud800"'), id="half a surrogate pair"),
        pytest.param(USUAL.replace(b'"qr":1', b'"qr":1.0'), id="1.0"),
        pytest.param(USUAL.replace(b'"qr":1', b'"qr":"x","qr":1'), id="a bad count, then a good one"),
        pytest.param(USUAL.replace(b'"qr":1', b'"qr":' + b"9" * 4301), id="more digits than Python reads"),
        pytest.param(USUAL.replace(b'kiosk"', b'kiosk\\n"'), id="a project with a newline at its end"),
        pytest.param(USUAL.replace(b'kiosk"', b'ki\\u2003osk"'), id="a project with an em space"),
        pytest.param(b"\xef\xbb\xbf" + USUAL, id="a byte order mark"),
        pytest.param(data(attempt=0), id="attempt 0"),
        pytest.param(data(total=1.0), id="total 1.0"),
        pytest.param(data(counts={"x" * 129: 1}), id="a long feature"),
    ],
)
def test_bad_records_are_refused_by_the_contract(value: bytes) -> None:
    assert fast(value) is None
    assert isinstance(full(value), Refused)


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    decoded = full(USUAL.replace(b'"qr":1', b'"qr":1,"\\u0071r":2').replace(b'"id"', b'"id":"r0","id"'))
    assert (decoded.report_id, decoded.counts) == ("r1", {"qr": 2})


def test_a_fraction_beyond_microseconds_is_cut_off_and_not_rounded() -> None:
    decoded = full(data(sent_at="2031-03-08T09:59:59.9999999Z"))
    assert decoded.sent_ms == ms(SLOT) - 1
    assert full(encode_event(report() | {"time": "2031-03-08T10:00:00.0000009Z"})).slot_fraction_us == 0


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"999"])
def test_without_the_right_key_there_is_no_fast_way(key: bytes | None) -> None:
    assert fast(USUAL, key) is None


def test_a_bad_text_is_refused_again_after_good_ones_were_remembered() -> None:
    bad = USUAL.replace(b"kiosk", b"ki osk")
    for value in (USUAL, bad, USUAL, bad):
        assert (fast(value) is None) == (value == bad)
