import json

import pytest

from licmeter.producers.reading import ReadEvent, ReadProblem, read_events
from licmeter.schemas.reports import encode_event, parse_report
from tests.support.build import report

PLAIN = {
    "report_id": "r1",
    "slot": "2031-03-08T10:00:00Z",
    "project_id": "300417-kiosk",
    "client_uuid": "device-1",
    "counts": {"qr": 1},
}


def read(*lines: object) -> list[ReadEvent | ReadProblem]:
    return list(read_events(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))


def test_a_plain_report_becomes_the_event_that_the_builder_makes() -> None:
    (line,) = read(PLAIN)
    assert isinstance(line, ReadEvent)
    assert line.key == b"300417"
    assert parse_report(line.value) == parse_report(encode_event(report()))


def test_an_event_is_sent_as_it_stands() -> None:
    event = encode_event({**report(), "traceparent": "00-x"})
    assert read(event + b"\n") == [ReadEvent(b"300417", event, 1)]


def test_blank_lines_are_skipped_and_still_counted() -> None:
    assert [line.line_number for line in read(b"", b"  \n", PLAIN, b"", PLAIN)] == [3, 5]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{nope", ["key must be a string"]),
        (b"[1]", ["not list"]),
        ({**PLAIN, "counts": 3}, ["counts"]),
        ({**PLAIN, "counts": {"qr": 1.5}}, ["counts.qr"]),
        ({**PLAIN, "slot": "2031-03-08T10:00:00"}, ["timezone"]),
        ({**PLAIN, "slot": 17}, ["RFC 3339"]),
        ({k: v for k, v in PLAIN.items() if k not in ("slot", "counts")}, ["slot: is missing", "counts: is missing"]),
        ({**PLAIN, "instance": 2, "cuonts": 1}, ["instance: is no field", "cuonts: is no field"]),
        ({k: v for k, v in PLAIN.items() if k != "project_id"}, ["project_id: is missing"]),
        ({**PLAIN, "organization_id": "9"}, ["project_id: is not a project of organization_id"]),
        ({**PLAIN, "instances": 0, "attempt": "x"}, ["instances: ", "attempt: "]),
        (b'"' + b"x" * 5_000_000 + b'"', ["bytes"]),
    ],
)
def test_what_is_wrong_is_said_in_full(line: object, words: list[str]) -> None:
    (problem,) = read(line)
    assert isinstance(problem, ReadProblem)
    for word in words:
        assert word in problem.message
