import pytest
from pydantic import ValidationError

from licmeter.schemas.replays import (
    Place,
    ReplayMark,
    ReplayNote,
    RunAlive,
    RunBegun,
    RunEnded,
    parse_replay_record,
    replay_headers,
    split_replay_headers,
)

PLACE = Place("usage.events", 3, 1234)
MARK = ReplayMark(PLACE, "run-1")


@pytest.mark.parametrize("place", [PLACE, Place("usage.rejected", 0, 0), Place("a.b-c_d", 1, 10**17)], ids=str)
def test_a_place_is_read_as_it_is_written(place: Place) -> None:
    assert Place.parse(str(place)) == place
    assert Place.parse(place.short) == place


def test_a_place_on_the_log_has_a_short_text() -> None:
    assert (str(PLACE), PLACE.short) == ("usage.events/3/1234", "3:1234")


@pytest.mark.parametrize(
    "text",
    ["", "3", "3:", ":3", "a:b", "-1:3", "3:-1", "3:4:5", "3/4", "/3/4", "t/3/", "t/x/4", "t/3/4/", "٣:٤", "1:1 "],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        Place.parse(text)


def test_headers_of_a_replay_are_taken_off_again_and_only_those() -> None:
    original = [("traceparent", b"1"), ("licmeter-replay-of", b"forged"), ("licmeter-reason", b"forged")]
    headers = replay_headers(MARK, original)
    assert split_replay_headers(headers) == (original, MARK)
    assert split_replay_headers(original) == (original, None)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("licmeter-replay-of", b"usage.events/3/1")],
        [("licmeter-replay-run", b"r"), ("licmeter-replay-of", b"usage.events/3/1")],
        [("licmeter-replay-of", b"nowhere"), ("licmeter-replay-run", b"r")],
        [("licmeter-replay-of", b"\xff"), ("licmeter-replay-run", b"r")],
        [("licmeter-replay-of", b"usage.events/3/1"), ("licmeter-replay-run", b"\xff")],
        [*replay_headers(MARK, []), ("more", b"")],
    ],
    ids=str,
)
def test_other_headers_are_the_senders(headers: list[tuple[str, bytes]]) -> None:
    assert split_replay_headers(headers) == (headers, None)


@pytest.mark.parametrize(
    "record",
    [
        RunBegun(run="r", ends={0: 5, 3: 0}),
        RunAlive(run="r"),
        ReplayNote(run="r", replays=((0, 1, 2, 3), (0, 2, 2, 4))),
        RunEnded(run="r"),
    ],
    ids=lambda record: record.kind,
)
def test_a_record_is_read_as_it_is_written(record: RunBegun | RunAlive | ReplayNote | RunEnded) -> None:
    assert parse_replay_record(record.model_dump_json()) == record


@pytest.mark.parametrize("value", [b"", b"{}", b'{"kind": "else", "run": "r"}', b'{"kind": "ended", "run": ""}'])
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(ValidationError):
        parse_replay_record(value)
