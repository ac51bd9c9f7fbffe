import pytest

from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.replays import Place, ReplayMark, replay_headers
from licmeter.schemas.topics import USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.replay.advice import advice_on
from licmeter.sinks.replay.rejects import UNDECODABLE, Reject, Selection, read_reject
from tests.unit.sinks.records import FakeRecord

ORIGIN = RejectOrigin(RejectReason.UNKNOWN_PROJECT, "300417-kiosk", USAGE_EVENTS.name, 3, 1234, 1_930_000_000_123)
ORIGINAL = [("traceparent", b"1"), ("licmeter-reason", b"forged"), ("traceparent", b"2")]
MARK = ReplayMark(Place(USAGE_EVENTS.name, 3, 1000), "run-1")


def record(
    *, origin: RejectOrigin = ORIGIN, headers: list[tuple[str, bytes]] = ORIGINAL, **fields: object
) -> FakeRecord:
    given = {"value": b"{}", "key": b"300417", "topic": USAGE_REJECTED.name, "partition": 3, "offset": 7} | fields
    return FakeRecord(headers=reject_headers(origin, headers), **given)  # type: ignore[arg-type]


def test_the_original_is_as_it_was_sent() -> None:
    assert read_reject(record()) == Reject(
        place=Place("usage.events", 3, 1234),
        partition=3,
        offset=7,
        reason="unknown_project",
        detail="300417-kiosk",
        received_ms=1_930_000_000_123,
        key=b"300417",
        value=b"{}",
        headers=ORIGINAL,
    )


def test_what_a_replay_had_added_is_not_the_originals() -> None:
    reject = read_reject(record(headers=replay_headers(MARK, ORIGINAL)))
    assert (reject.headers, reject.mark) == (ORIGINAL, MARK)


def test_a_record_that_is_not_ours_is_its_own_origin() -> None:
    reject = read_reject(FakeRecord(b"?", topic=USAGE_REJECTED.name, partition=1, offset=2, headers=[("a", None)]))
    assert (reject.place, reject.reason, reject.of_events) == (Place(USAGE_REJECTED.name, 1, 2), UNDECODABLE, False)
    assert reject.headers == [("a", b"")]


def test_a_tombstone_without_a_key_has_no_value_again() -> None:
    tombstone = RejectOrigin(RejectReason.TOMBSTONE, "", USAGE_EVENTS.name, 0, 1, 1)
    assert read_reject(record(origin=tombstone, key=None, value=b"")).value is None
    assert read_reject(record(origin=tombstone, value=None)).value is None


@pytest.mark.parametrize(("key", "name"), [(b"300417", "300417"), (None, ""), (b"\xff", "")])
def test_the_organization_is_the_key(key: bytes | None, name: str) -> None:
    assert read_reject(record(key=key)).organization_id == name


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"unknown_project", "not_json"})), True),
        (Selection(reasons=frozenset({"not_json"})), False),
        (Selection(organization_id="300417"), True),
        (Selection(organization_id="300418"), False),
        (Selection(since_ms=ORIGIN.received_at_ms), True),
        (Selection(since_ms=ORIGIN.received_at_ms + 1), False),
        (Selection(until_ms=ORIGIN.received_at_ms + 1), True),
        (Selection(until_ms=ORIGIN.received_at_ms), False),
        (Selection(places=frozenset({Place("usage.events", 3, 1234)})), True),
        (Selection(places=frozenset({Place("usage.rejected", 3, 7)})), False),
    ],
)
def test_a_selection_takes_what_it_names(selection: Selection, taken: bool) -> None:
    assert selection.takes(read_reject(record())) is taken


@pytest.mark.parametrize("reason", [*RejectReason, UNDECODABLE])
def test_there_is_advice_on_every_reason(reason: str) -> None:
    assert advice_on(reason).endswith(".")
