"""Files of reports: what is sent, and what is said of a line that cannot be."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.producers.reading import ReadEvent, ReadProblem, read_events, read_lines
from licmeter.producers.simulation import Fleet, load_scenario
from licmeter.schemas.outcomes import Outcome
from licmeter.schemas.reports import encode_event, parse_report, usage_report
from tests.support.build import catalog_record, item, organization
from tests.unit.producers.simulation.against_core import NOW

PLAIN: dict[str, Any] = {
    "report_id": "r1",
    "client_uuid": "device-1",
    "slot": "2031-03-08T10:00:00Z",
    "project_id": "300417-kiosk",
    "counts": {"qr": 2, "ean13": 1},
}
EVENT = usage_report(
    report_id="r1", client_uuid="device-1", slot=NOW.replace(minute=0), counts={"qr": 1}, project_id="300417-kiosk"
)


def line(fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def read_one(raw: bytes) -> ReadEvent | ReadProblem:
    (found,) = read_events([raw])
    return found


def event_of(raw: bytes) -> ReadEvent:
    found = read_one(raw)
    assert isinstance(found, ReadEvent), found
    return found


def problem_of(raw: bytes) -> str:
    found = read_one(raw)
    assert isinstance(found, ReadProblem), found
    return found.message


def test_a_plain_report_is_put_into_an_envelope_with_all_its_fields() -> None:
    data = {
        "total": 3,
        "product": "reader",
        "version": "11",
        "edition": "pro",
        "deployment_type": "mobile",
        "instances": 2,
        "validation": {"kind": "domain", "value": "shop.example.org"},
        "usage_kind": "reservation",
        "sent_at": "2031-03-08T10:03:00+00:00",
        "attempt": 2,
    }
    found = event_of(line(PLAIN | data))
    event: Any = json.loads(found.value)
    parse_report(found.value)
    assert found.key == b"300417"
    assert (event["id"], event["source"], event["subject"]) == ("r1", "device-1", "300417-kiosk")
    assert event["time"] == "2031-03-08T10:00:00Z"
    assert event["data"] == {"counts": PLAIN["counts"], **data}


def test_the_organization_stands_for_its_default_project() -> None:
    fields = {name: value for name, value in PLAIN.items() if name != "project_id"} | {"organization_id": "300417"}
    found = event_of(line(fields))
    event: Any = parse_report(found.value)
    assert found.key == b"300417"
    assert event["organizationid"] == "300417"
    assert "subject" not in event


def test_a_cloud_event_is_sent_byte_for_byte() -> None:
    raw = b'{ "comment": "\\u00e9", ' + encode_event(EVENT)[1:]
    assert event_of(raw + b"\r\n") == ReadEvent(b"300417", raw, 1)


def test_a_catalog_is_sent_under_its_organization() -> None:
    value = catalog_record(organization(item())).value
    assert value is not None
    assert event_of(value) == ReadEvent(b"300417", value, 1)


def test_blank_lines_count_as_lines_and_a_byte_order_mark_as_nothing() -> None:
    lines = [b"\xef\xbb\xbf" + line(PLAIN), b"\n", b"  \r\n", line(PLAIN), b"{"]
    assert [found.line_number for found in read_events(lines)] == [1, 4, 5]
    assert isinstance(next(iter(read_events(lines))), ReadEvent)


@pytest.mark.parametrize(
    ("raw", "mistakes"),
    [
        (b"{", ["not JSON"]),
        (b"\xff\xfe", ["not JSON"]),
        (b"[1]", ["a report is an object, not list"]),
        (line({}), [*(f"{name}: is missing" for name in ("report_id", "client_uuid", "slot", "counts", "project_id"))]),
        (line(PLAIN | {"cuonts": {}, "totall": 3}), ["cuonts: is no field", "totall: is no field"]),
        (line(PLAIN | {"slot": "2031-03-08T10:00:00", "attempt": 0}), ["slot: ", "attempt: "]),
        (line(PLAIN | {"slot": 1732442400}), ["slot: an instant is written as RFC 3339"]),
        (line(PLAIN | {"counts": {"qr": 1.5, "aztec": "2"}}), ["counts.qr: ", "counts.aztec: "]),
        (line(PLAIN | {"counts": [], "total": "x", "instances": 0}), ["counts: ", "total: ", "instances: "]),
        (line(PLAIN | {"usage_kind": "leased"}), ["usage_kind: "]),
        (line(PLAIN | {"total": 4}), ["total: is not the sum of counts"]),
        (line(PLAIN | {"organization_id": "300418"}), ["project_id: is not a project of organization_id"]),
        (line(PLAIN | {"project_id": "kiosk"}), ["project_id: "]),
        (line(PLAIN | {"project_id": 5, "report_id": "x" * 65}), ["project_id: ", "report_id: "]),
        (b'{"counts":{"qr":1' + b"0" * 5_000 + b"}}", ["not JSON"]),
        (line({"specversion": "1.0", "type": "license.usage.report.v99"}), ["type: must be license.usage.report.v1"]),
        (line({"specversion": "1.0", "type": "license.usage.report.v1"}), ["id: ", "source: ", "time: ", "data: "]),
        (line({"specversion": "1.0", "type": "license.catalog.v1"}), ["id: ", "data: "]),
    ],
)
def test_every_mistake_of_a_line_is_named(raw: bytes, mistakes: list[str]) -> None:
    message = problem_of(raw)
    assert [mistake for mistake in mistakes if mistake not in message] == []


def test_a_cloud_event_is_held_against_the_contract_too() -> None:
    event = json.loads(encode_event(EVENT))
    event["data"] |= {"total": 7, "attempt": "first"}
    event["organizationid"] = "other"
    message = problem_of(line(event))
    assert [part.partition(":")[0] for part in message.split("; ")] == ["data.attempt", "subject", "total"]


def test_a_problem_says_nothing_of_the_content() -> None:
    assert "secret" not in problem_of(line(PLAIN | {"attempt": "secret", "product": ["secret"]}))


def test_long_lines_are_a_problem_and_are_never_held_whole() -> None:
    content = line(PLAIN) + b'{"counts":"' + b"x" * 10_000 + b'"}\n' + line(PLAIN) + b" " * 700 + b"\n" + line(PLAIN)
    lines = list(read_lines(io.BytesIO(content), line_bytes_max=500))
    assert max(map(len, lines)) == 501
    found = list(read_events(lines, line_bytes_max=500))
    assert [type(one) for one in found] == [ReadEvent, ReadProblem, ReadEvent, ReadEvent]
    assert found[1] == ReadProblem(2, "the line is longer than 500 bytes")


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_bound_is_exact(excess: int, end: bytes) -> None:
    plain = line(PLAIN).strip()
    lines = list(read_lines(io.BytesIO(plain + end + plain + b"\n"), line_bytes_max=len(plain) - excess))
    if end:
        assert len(lines) == 2
        (first, _) = read_events(lines, line_bytes_max=len(plain) - excess)
        assert isinstance(first, ReadProblem if excess else ReadEvent)


def test_what_a_fleet_sends_can_be_sent_again_from_a_file() -> None:
    fleet = Fleet(load_scenario(organizations=3, devices=9, reports=500), now=NOW, seed=1, run="t")
    good = [e for e in fleet.emissions() if e.expected in (None, Outcome.CHARGED, Outcome.UNCHARGED)]
    found = list(read_events((emission.value or b"") + b"\n" for emission in good))
    assert [one[:2] for one in found] == [(emission.key, emission.value) for emission in good]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys((*PLAIN, "total", "validation", "usage_kind", "specversion", "data"), json_values),
    )
)
def test_no_line_is_dropped_and_none_breaks_the_reader(changes: dict[str, Any]) -> None:
    found = read_one(line(PLAIN | changes))
    if isinstance(found, ReadEvent):
        parse_report(found.value)


@given(st.binary(min_size=1, max_size=60).filter(lambda raw: bool(raw.strip()) and not raw.startswith(b"\xef")))
def test_any_bytes_give_one_answer(raw: bytes) -> None:
    assert isinstance(read_one(raw), ReadProblem)
