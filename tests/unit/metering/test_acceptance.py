"""Acceptance, duplicates, late and out-of-order data (domain, section 5); checks 1 to 7 through the decoder."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from licmeter.metering.codes import client_code
from licmeter.metering.decoding import decode
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.schemas.outcomes import Outcome, RefusalCode, RejectReason
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization, report
from tests.unit.metering.bench import DAY, MINUTE, SLOT_LENGTH, Bench, charged, instant

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


@pytest.mark.parametrize(
    ("received", "sent_at", "expected"),
    [
        pytest.param(SLOT - timedelta(minutes=5), None, Report, id="check 6 E1 five minutes ahead"),
        pytest.param(SLOT - timedelta(minutes=5) - MS, None, R.FUTURE_SLOT, id="check 6 E2 a little more"),
        pytest.param(RECEIVED, RECEIVED + DAY, Report, id="check 5 sent_at 24 h ahead"),
        pytest.param(RECEIVED, RECEIVED + DAY + 1000 * MS, R.CLOCK_SKEW, id="check 5 E2 sent_at further ahead"),
        pytest.param(RECEIVED, RECEIVED - DAY, Report, id="check 5 E3 sent_at 24 h behind"),
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


@pytest.mark.parametrize(
    ("received", "sent_at", "expected"),
    [
        pytest.param(RECEIVED, RECEIVED + DAY + MS, R.CLOCK_SKEW, id="check 5 one ms more than 24 h ahead"),
        pytest.param(RECEIVED + 999 * MS, RECEIVED + 999 * MS - DAY, Report, id="check 5 exactly 24 h behind"),
    ],
)
def test_times_within_a_second(received: Any, sent_at: Any, expected: Any) -> None:
    event = report()
    event["data"]["sent_at"] = sent_at
    assert outcome(event, received=received) == expected


def test_the_detail_names_the_field_and_not_the_value() -> None:
    decoded = decode(KEY, encode_event(data(counts={"qr": "SECRET"})), ms(RECEIVED), DEFAULT_LIMITS)
    assert isinstance(decoded, Refused)
    assert "data.counts.qr" in decoded.detail
    assert "SECRET" not in decoded.detail


def test_the_checks_run_in_the_order_of_their_numbers() -> None:
    """A report with everything wrong; each mistake is put right in turn."""
    event = report(slot=SLOT + timedelta(hours=1, seconds=1), counts={"a": -1, "b": 10**7}, project_id=f"{PROJECT}-2")
    event["data"] |= {"total": 1, "sent_at": RECEIVED + 2 * DAY}
    document = organization(item(), project={"disabled_at": SLOT})
    bench = Bench(document)
    bench.send(slot=SLOT - SLOT_LENGTH, report_id="r1")

    def reason() -> RejectReason | None:
        return bench.count(event, RECEIVED).reason

    assert reason() is R.INVALID_SCHEMA
    del event["data"]["total"]
    assert reason() is R.NEGATIVE_COUNT
    event["data"]["counts"]["a"] = 1
    assert reason() is R.COUNT_OUT_OF_RANGE
    event["data"]["counts"]["b"] = 1
    assert reason() is R.SLOT_MISALIGNED
    event["time"] = SLOT + timedelta(hours=1)
    assert reason() is R.CLOCK_SKEW
    event["data"]["sent_at"] = RECEIVED
    assert reason() is R.FUTURE_SLOT
    event["time"] = SLOT
    assert reason() is R.UNKNOWN_PROJECT
    event["subject"] = PROJECT
    assert reason() is R.PROJECT_DISABLED
    event["time"] = SLOT - SLOT_LENGTH
    assert reason() is R.CONFLICT
    event["data"]["counts"] = {"qr": 1}
    assert bench.count(event, RECEIVED).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("reason", "project_id", "code"),
    [
        pytest.param(R.INVALID_SCHEMA, PROJECT, None, id="check 1"),
        pytest.param(R.NEGATIVE_COUNT, PROJECT, None, id="check 2"),
        pytest.param(R.COUNT_OUT_OF_RANGE, PROJECT, None, id="check 3"),
        pytest.param(R.SLOT_MISALIGNED, PROJECT, None, id="check 4"),
        pytest.param(R.CLOCK_SKEW, PROJECT, 151, id="check 5"),
        pytest.param(R.FUTURE_SLOT, PROJECT, 151, id="check 6"),
        pytest.param(R.TOO_OLD, PROJECT, None, id="check 7"),
        pytest.param(R.UNKNOWN_PROJECT, PROJECT, 101, id="check 8 project"),
        pytest.param(R.UNKNOWN_PROJECT, None, 121, id="check 8 organization"),
        pytest.param(R.PROJECT_DISABLED, PROJECT, 104, id="check 9"),
        pytest.param(R.CONFLICT, PROJECT, None, id="check 10"),
    ],
)
def test_the_code_that_the_client_is_told(reason: RejectReason, project_id: str | None, code: int | None) -> None:
    told = client_code(reason, project_id)
    assert (None if told is None else told.number) == code
    assert told is not RefusalCode.STANDBY_REFUSES


def test_example_5_check_7_t6_thirty_days_and_a_millisecond() -> None:
    bench = Bench(organization(item(starts_at="2031-01-01T00:00:00Z")))
    slot, edge = instant("2031-05-01T09:00:00Z"), instant("2031-05-31T09:03:00Z")
    accepted = bench.try_to_send(edge, slot=slot)
    refused = bench.try_to_send(edge + MS, slot=slot)
    assert accepted.outcome is Outcome.CHARGED
    assert (refused.reason, refused.late) == (R.TOO_OLD, True)


def test_check_8_unknown_project_and_missing_default() -> None:
    bench = Bench(organization(item(), default_project_id=None))
    assert bench.send(project_id=f"{ORGANIZATION}-other").reason is RejectReason.UNKNOWN_PROJECT
    assert bench.send(project_id=None, organization_id=ORGANIZATION).reason is RejectReason.UNKNOWN_PROJECT


def test_the_organization_alone_means_its_default_project() -> None:
    decision = Bench(organization(item())).send(project_id=None, organization_id=ORGANIZATION)
    assert (decision.outcome, decision.project_id) == (Outcome.CHARGED, PROJECT)


def test_check_9_e10_reports_for_slots_before_the_project_was_disabled_still_count() -> None:
    bench = Bench(organization(item(), project={"disabled_at": "2031-03-08T10:00:00Z"}))
    assert bench.send().reason is RejectReason.PROJECT_DISABLED
    assert bench.send(slot=SLOT - SLOT_LENGTH).outcome is Outcome.CHARGED


def test_a1_the_same_report_again_is_a_duplicate_whatever_was_sent_when() -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    later = RECEIVED + 20 * DAY
    again = bench.send(report_id="same", sent_at=later, attempt=2, received=later)
    assert again.outcome is Outcome.DUPLICATE
    assert bench.parts() == (1, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"counts": {"qr": 2}},
        {"counts": {"ean": 1}},
        {"slot": SLOT - SLOT_LENGTH},
        {"instances": 2},
        {"product": "x"},
        {"version": "1"},
        {"edition": "x"},
        {"deployment_type": "server"},
        {"validation": {"kind": "domain", "value": "example.org"}},
        {"project_id": None, "organization_id": ORGANIZATION},
    ],
    ids=str,
)
def test_check_10_a1_other_content_under_one_id_is_a_conflict(change: dict[str, Any]) -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    decision = bench.send(**({"report_id": "same"} | change))
    assert decision.reason is RejectReason.CONFLICT
    assert bench.parts() == (1, 0, 0)
    assert bench.send(report_id="same").outcome is Outcome.DUPLICATE  # the first accepted one stands


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"received": RECEIVED + 31 * DAY}, R.TOO_OLD, id="check 7"),
        pytest.param({"sent_at": RECEIVED - 2 * DAY}, R.CLOCK_SKEW, id="check 5"),
    ],
)
def test_a_copy_that_fails_a_check_is_no_duplicate(change: dict[str, Any], reason: RejectReason) -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    assert bench.try_to_send(**({"report_id": "same"} | change)).reason is reason


def test_a1_the_id_belongs_to_the_client() -> None:
    bench = Bench(organization(item()))
    assert bench.send(report_id="same", client_uuid="a").outcome is Outcome.CHARGED
    assert bench.send(report_id="same", client_uuid="b").outcome is Outcome.CHARGED
    assert bench.send(report_id="same", client_uuid="B").outcome is Outcome.CHARGED  # byte for byte


def test_a1_what_was_rejected_leaves_its_id_free() -> None:
    bench = Bench(organization(item()))
    bench.try_to_send(report_id="same", counts={"qr": -1})
    bench.send(report_id="same", project_id=f"{ORGANIZATION}-other")
    assert bench.send(report_id="same").outcome is Outcome.CHARGED


def test_a2_two_reports_of_one_client_and_slot_both_count() -> None:
    bench = Bench(organization(item()))
    bench.send()
    bench.send()
    assert bench.parts() == (2, 0, 0)


def test_a3_an_id_is_free_again_after_32_days() -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    for days, expected in ((32, Outcome.REJECTED), (33, Outcome.CHARGED)):
        later = days * DAY
        assert bench.send(report_id="same", slot=SLOT + later, received=RECEIVED + later).outcome is expected


def test_a3_no_copy_is_accepted_twice() -> None:
    """Whenever a copy comes: a duplicate for as long as check 7 lets it through, and too old after that."""
    bench = Bench(organization(item()))
    bench.send(SLOT - 5 * MINUTE, report_id="same")  # the earliest arrival that is accepted
    outcomes = [bench.try_to_send(SLOT + days * DAY, report_id="same") for days in range(40)]
    assert [getattr(each, "outcome", None) for each in outcomes[:31]] == [Outcome.DUPLICATE] * 31
    assert {each.reason for each in outcomes[31:]} == {R.TOO_OLD}
    assert bench.parts() == (1, 0, 0)


def test_a4_totals_do_not_depend_on_the_order_of_arrival() -> None:
    soon = item("soon", quota=5, expires_at="2031-06-01T00:00:00Z")
    sent = [(SLOT, {"qr": 4}), (SLOT, {"qr": 3, "ean": 2}), (SLOT - SLOT_LENGTH, {"ean": 6}), (SLOT, {"qr": 1})]
    seen = set()
    for order in permutations(sent):
        bench = Bench(organization(soon, item("last", quota=5)))
        for slot, counts in order:
            bench.send(slot=slot, counts=counts)
        assert bench.recount.units[ORGANIZATION, PROJECT] == {
            ms(SLOT - SLOT_LENGTH) // 1000: {"ean": 6},
            ms(SLOT) // 1000: {"qr": 8, "ean": 2},
        }
        seen.add((bench.parts("soon"), bench.parts("last")))
    assert seen == {((5, 0, 0), (5, 0, 6))}


def test_a5_a_late_report_changes_today_and_reopens_no_alert_of_the_past() -> None:
    bench = Bench(organization(item(quota=10)))
    assert bench.check(SLOT + 10 * MINUTE) is None
    bench.send(SLOT + DAY, counts={"qr": 8})  # of yesterday's slot
    alert = bench.check(SLOT + DAY + 10 * MINUTE)
    assert alert is not None
    assert alert.checked_at == SLOT + DAY + 10 * MINUTE
    assert bench.item_use().used == 8


def test_a5_a_late_report_may_raise_exceptions_in_a_past_slot() -> None:
    bench = Bench(organization(item(charge_way="per_concurrent_device", quota=1)))
    bench.use("A")
    bench.use("B", SLOT, SLOT + 5 * DAY)
    assert (bench.slot(SLOT).exceptions, bench.consumed()) == (1, 1)


def test_a6_a_zero_total_is_a_submission_and_no_consumption() -> None:
    bench = Bench(organization(item()))
    for counts, features in (({}, [""]), ({"qr": 0, "ean": 0}, ["ean", "qr"])):
        decision = bench.send(counts=counts)
        assert decision.outcome is Outcome.CHARGED
        assert charged(decision) == [(feature, "", 0) for feature in features]
    assert bench.parts() == (0, 0, 0)
    assert bench.state.outcomes[Outcome.CHARGED] == 2


def test_a6_g23_without_an_item_a_contact_is_uncharged_and_breaks_nothing() -> None:
    bench = Bench(organization())
    assert bench.send(counts={}).outcome is Outcome.UNCHARGED
    assert bench.breaches == []


def test_a7_accepted_usage_never_decreases() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 12})
    for change in (
        lambda: bench.try_to_send(counts={"qr": -5}),
        lambda: bench.send(report_id="r1", counts={"qr": 1}),  # another, smaller version of the first
        lambda: bench.adopt(organization(item(quota=1_000))),
        lambda: bench.adopt(organization(item("other"))),
        lambda: bench.adopt(organization(item(quota=10))),
        lambda: bench.send(counts={}),
    ):
        change()
        assert (bench.item_use().used, bench.project()) == (12, {"qr": 12})


def test_a8_a_replay_gives_the_same_counters_and_breaches() -> None:
    document = organization(
        item("scans", quota=10, modules=["qr"]),
        item("devices", charge_way="per_device", activity_period="daily", quota=1, modules=["core"]),
        item("slots", charge_way="per_concurrent_device", quota=1, modules=["ocr"]),
    )
    first, second = Bench(document), Bench(document)
    for bench in (first, second):
        for client in "ABC":
            bench.use(client, counts={"qr": 5, "core": 1, "ocr": 1})
            bench.authorize(client, charge_way="per_device")
    assert [fact.breach_id for fact in first.breaches] == [fact.breach_id for fact in second.breaches]
    assert len(first.breaches) > 5
    assert first.state.to_bytes() == second.state.to_bytes()
    for item_id in ("scans", "devices", "slots"):
        assert first.counters(item_id) == second.counters(item_id)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "charged"),
        ({"counts": {"unknown": 1}}, "uncharged"),
        ({"report_id": "known"}, "duplicate"),
        ({"counts": {"qr": 2}, "report_id": "known"}, "rejected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_report_has_one_outcome_and_only_use_counts(changes: dict[str, Any], outcome: str) -> None:
    bench = Bench(organization(item(modules=["qr"])))
    bench.send(report_id="known")
    before = dict(bench.recount.totals)
    decision = bench.send(**changes)
    assert decision.outcome.value == outcome
    after = dict(bench.recount.totals)
    assert {name for name in after if after[name] != before.get(name, 0)} == {"received", outcome}
    assert sum(bench.project().values()) == (2 if outcome in ("charged", "uncharged") else 1)
    assert bench.item_use().used == (2 if outcome == "charged" else 1)


def test_l5_a_refused_report_says_why_and_is_refused_again_when_resent() -> None:
    bench = Bench(organization(item()))
    for _ in range(2):
        refused = bench.try_to_send(report_id="same", counts={"qr": 2_000_000})
        assert (refused.reason, refused.detail) == (R.COUNT_OUT_OF_RANGE, "qr: 2000000 is above 1000000")
    assert bench.recount.totals["rejected"] == 2


def test_l6_content_is_never_deduplicated() -> None:
    """The client decided already what is one scan (4): code Z at 0.0, 2.9, 5.1 and 9.0 s comes as two."""
    bench = Bench(organization(item()))
    bench.send(counts={"qr": 2})
    bench.send(counts={"qr": 2})
    assert bench.parts() == (4, 0, 0)
