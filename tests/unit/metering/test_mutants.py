"""Rules whose breach no other test of the core sees: each test here kills a mutant of scripts/mutation.py."""

from dataclasses import asdict
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import pytest

from licmeter.metering.acceptance import check_report
from licmeter.metering.alerting import HeldLevels
from licmeter.metering.authorization import Authorization
from licmeter.metering.breaches import BreachFact, NoticeBook, breach_message
from licmeter.metering.catalog_checks import catalog_mistakes
from licmeter.metering.counters import item_counters, organization_counters
from licmeter.metering.decoding import CatalogChange, decode, decode_by_contract
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.idleness import next_change
from licmeter.metering.items import DAY_MS, MeteredItem, instant_ms
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.meter import count_refused
from licmeter.metering.organization import ItemUse, OrganizationState
from licmeter.metering.recipients import parse_recipients
from licmeter.metering.recount import Recount
from licmeter.metering.refused import Refused
from licmeter.metering.report import CONTENT_BYTES, IDENTITY_BYTES, Report
from licmeter.metering.requests import RequestWindows
from licmeter.metering.seats import RETAIN_MS, Seat, SeatBook
from licmeter.metering.slot_use import SlotUse
from licmeter.metering.slots import SLOT_SECONDS, SLOTS_PER_DAY, slot_index
from licmeter.metering.states import measure
from licmeter.schemas.authorizations import AuthorizationData, authorization
from licmeter.schemas.catalog import LicenseItem, Recipients, catalog_event
from licmeter.schemas.outcomes import BreachKind, Outcome, RejectReason, UsageKind
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization, report
from tests.unit.metering.bench import DAY, HOUR, MINUTE, Bench, instant

CHECK = SLOT + 10 * MINUTE
DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def metered(**changes: Any) -> MeteredItem:
    return MeteredItem.of(LicenseItem.model_validate(item(**changes)))


def messages(bench: Bench) -> list[dict[str, Any]]:
    """Return what is said of each breach, without its hash."""
    found = [breach_message(fact).model_dump(mode="json", exclude_none=True) for fact in bench.breaches]
    return [{key: value for key, value in message.items() if key != "breach_id"} for message in found]


# Sections 2 and 3: items and slots.


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        pytest.param("2031-12-31T23:59:59Z", "2032-01-01T00:00:00Z", id="the last second"),
        pytest.param("2031-12-31T23:59:59.999Z", "2032-01-01T00:00:00Z", id="the last millisecond"),
        pytest.param("2032-01-01T01:59:59+02:00", "2032-01-01T00:00:00Z", id="another zone"),
        pytest.param("2031-12-31T23:59:58Z", "2031-12-31T23:59:58Z", id="a second before"),
        pytest.param("2032-01-01T00:00:00Z", "2032-01-01T00:00:00Z", id="midnight"),
        pytest.param("2031-12-31T23:58:59Z", "2031-12-31T23:58:59Z", id="a minute before"),
    ],
)
def test_section_2_an_end_at_the_last_second_is_the_next_midnight(stated: str, meant: str) -> None:
    ends = metered(expires_at=stated, expiry_grace_days=7)
    assert ends.expires_ms == ms(instant(meant))
    assert ends.ends_ms == ms(instant(meant) + 7 * DAY)


def test_an_instant_is_rounded_to_its_millisecond() -> None:
    assert instant_ms(datetime.fromisoformat("2031-01-01T00:00:00.001+00:00")) == ms(instant("2031-01-01T00:00Z")) + 1


def test_v1_n3_what_an_item_does_not_have_is_zero_or_none() -> None:
    scans, seats, slots = metered(), metered(**DEVICES, quota=5), metered(**CONCURRENT, quota=5)
    assert [each.period_ms for each in (scans, seats, slots)] == [0, 30 * DAY_MS, 0]
    assert [each.budget for each in (scans, seats, slots)] == [None, None, 5_000]
    assert [each.grace for each in (scans, seats, slots)] == [100, 1, 0]
    unlimited = [metered(quota=None), metered(**DEVICES, quota=None), metered(**CONCURRENT, quota=None)]
    assert [(each.grace, each.budget) for each in unlimited] == [(0, None)] * 3


def test_n3_the_budget_may_be_given() -> None:
    assert metered(**CONCURRENT, quota=5, overuse_budget=7).budget == 7


def test_w3_daily_is_said_of_devices_only() -> None:
    assert metered(charge_way="per_device", activity_period="daily").daily
    assert not metered(**DEVICES).daily


def test_i3_nothing_declared_is_one_seat() -> None:
    instances = metered(charge_way="per_concurrent_instance")
    assert [instances.seats_of(number) for number in (None, 1, 3)] == [1, 1, 3]
    assert metered(**CONCURRENT).seats_of(3) == 1


def test_n5_g9_the_budget_year_turns_at_its_millisecond() -> None:
    slots = metered(**CONCURRENT)
    turn = slots.starts_ms + 365 * DAY_MS
    assert [slots.budget_year(at) for at in (slots.starts_ms - 1, turn - 1, turn, turn + 365 * DAY_MS)] == [0, 0, 1, 2]


def test_t3_the_last_slot_of_a_day() -> None:
    assert SLOTS_PER_DAY * SLOT_SECONDS == 86_400
    assert slot_index(86_399) == SLOTS_PER_DAY - 1


# Section 5: acceptance.


def test_checks_2_and_3_a_zero_is_not_negative() -> None:
    bench = Bench(organization(item()))
    answer = bench.try_to_send(counts={"a": 0, "b": 1_000_001})
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail) == ("count_out_of_range", "b: 1000001 is above 1000000")
    answer = bench.try_to_send(counts={"a": 1_000_001, "b": -1})
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail) == ("negative_count", "b: -1")


def test_check_3_names_the_largest_count() -> None:
    answer = Bench(organization(item())).try_to_send(counts={"a": 1_000_001, "b": 2_000_000, "c": 5})
    assert isinstance(answer, Refused)
    assert answer.detail == "b: 2000000 is above 1000000"


def test_checks_2_and_3_a_huge_number_is_not_written_out() -> None:
    def detail(count: int) -> str:
        refusal = check_report(Report("1", "1-x", "A", "r1", 0, 0, {"a": count}), DEFAULT_LIMITS)
        return "" if refusal is None else refusal[1]

    assert detail(2**128 - 1) == "a: 340282366920938463463374607431768211455 is above 1000000"
    assert detail(2**128) == "a: a number of 129 bits is above 1000000"


def test_the_fast_way_and_the_contract_read_the_same_report() -> None:
    words = {"product": "dbr", "version": "9", "edition": "pro", "deployment_type": "server", "instances": 3}
    more = {
        "validation": {"kind": "domain", "value": "a.org"},
        "total": 1,
        "sent_at": SLOT,
        "usage_kind": UsageKind.RESERVATION,
    }
    for changes in ({}, words, more, words | more):
        fields: dict[str, Any] = {**changes}
        value = encode_event(report(**fields))
        key, at = ORGANIZATION.encode(), ms(RECEIVED)
        fast = decode(key, value, at, DEFAULT_LIMITS)
        assert isinstance(fast, Report), fast
        assert decode_by_contract(key, value, at, DEFAULT_LIMITS) == fast


def test_limits_of_section_14() -> None:
    assert asdict(DEFAULT_LIMITS) == {
        "count_max": 1_000_000,
        "report_bytes_max": 65_536,
        "catalog_bytes_max": 4_194_304,
        "future_ms": 300_000,
        "skew_ms": 86_400_000,
        "age_ms": 30 * 86_400_000,
        "duplicate_days": 32,
    }


def padded(event: dict[str, Any], size: int) -> bytes:
    return encode_event(event).ljust(size)


def decoded(value: bytes, key: bytes | None = ORGANIZATION.encode()) -> Any:
    return decode(key, value, ms(RECEIVED), Limits(report_bytes_max=8_000, catalog_bytes_max=16_000))


def test_only_a_catalog_may_be_larger_than_a_report_and_it_has_a_bound_too() -> None:
    catalog = catalog_event(organization(item()), event_id="c1", source="test", time=RECEIVED)
    assert isinstance(decoded(padded(catalog, 16_000)), CatalogChange)
    too_large = decoded(padded(catalog, 16_001))
    assert (too_large.reason, too_large.detail) == ("payload_too_large", "16001 bytes; a report has 8000")
    request = authorization(auth_id="a1", client_uuid="A", at=RECEIVED, project_id=PROJECT)
    assert isinstance(decoded(padded(request, 8_000)), Authorization)
    assert decoded(padded(request, 8_001)).reason == "payload_too_large"


def test_g2_g21_what_is_wrong_with_the_envelope_of_an_authorization() -> None:
    def refusal(key: bytes | None = ORGANIZATION.encode(), at: datetime = RECEIVED, **named: Any) -> Any:
        return decoded(encode_event(authorization(auth_id="a1", client_uuid="A", at=at, **named)), key)

    assert refusal().reason == "invalid_schema"
    assert refusal(None, project_id=PROJECT).reason == "missing_key"
    other = refusal(project_id="9-x")
    detail = f"the event is of organization 9, the key says {ORGANIZATION}"
    assert other == Refused(RejectReason.KEY_MISMATCH, detail)
    assert refusal(project_id=PROJECT, organization_id="9") == other
    assert refusal(organization_id="9") == other
    assert isinstance(refusal(organization_id=ORGANIZATION), Authorization)
    skewed = refusal(project_id=PROJECT, at=RECEIVED + 6 * MINUTE)
    detail = "the request's time is 360 s from the arrival"
    assert skewed == Refused(RejectReason.CLOCK_SKEW, detail, "A", PROJECT)


def test_a_catalog_names_its_organization_in_key_subject_and_document() -> None:
    event = catalog_event(organization(item()), event_id="c1", source="test", time=RECEIVED)
    assert decoded(encode_event(event), None).reason == "missing_key"
    assert decoded(encode_event(event), b"9").reason == "key_mismatch"
    assert decoded(encode_event(event | {"subject": "9"})).reason == "invalid_schema"


def test_g14_every_item_with_too_many_domains_is_named() -> None:
    fields = [{"kind": "domain", "value": host} for host in ("b.org", "x.a.org", "a.org")]
    items = [item(str(n), charge_way="per_domain", quota=n, validation_fields=fields) for n in (1, 2)]
    document = organization(item("9", validation_fields=fields), *items, item("8", quota=None, **DEVICES))
    (mistake,) = catalog_mistakes(document)
    path = "license_files[0].items[1].validation_fields"
    assert mistake == f"{path}: 2 different domains (a.org, b.org), the quota is 1"
    unlimited = organization(item(charge_way="per_domain", quota=None, validation_fields=fields))
    assert catalog_mistakes(unlimited)


def test_a1_g3_digests_have_their_sizes_and_fields() -> None:
    def request(**changes: Any) -> Authorization:
        fields: dict[str, Any] = {
            "organization_id": "1",
            "project_id": "1-x",
            "client_uuid": "A",
            "auth_id": "a1",
            "at_ms": 5,
            "received_ms": 6,
            "data": AuthorizationData(),
        }
        return Authorization(**(fields | changes))

    first = request()
    assert (len(first.identity()), len(first.content())) == (IDENTITY_BYTES, CONTENT_BYTES) == (16, 8)
    assert request(received_ms=7).content() == first.content()
    changes: list[dict[str, Any]] = [{"organization_id": "2"}, {"client_uuid": "B"}, {"auth_id": "a2"}]
    assert len({first.identity(), *(request(**change).identity() for change in changes)}) == 4
    changes = [{"project_id": None}, {"at_ms": 6}, {"data": AuthorizationData(product="dbr")}]
    assert len({first.content(), *(request(**change).content() for change in changes)}) == 4
    report = Report("1", "1-x", "A", "a1", 0, 0, {})
    assert (len(report.identity()), len(report.content())) == (16, 8)
    assert report.identity() != first.identity()


def test_a3_the_memory_is_inclusive() -> None:
    memory = DictMemory(32)
    memory.add(b"i", b"c", 100)
    assert [memory.get(b"i", day) for day in (100, 132, 133)] == [b"c", b"c", None]


def test_invariant_7_what_was_refused_is_counted_and_moves_the_clock() -> None:
    state = OrganizationState(ORGANIZATION)
    assert count_refused(state, 5_000) == []
    assert (state.outcomes[Outcome.REJECTED], state.updated_ms) == (1, 5_000)
    (fact,) = count_refused(
        state, 6_000, reason=RejectReason.FUTURE_SLOT, organization_id=ORGANIZATION, client_uuid="A"
    )
    assert (fact.late, fact.detail) == (False, "future_slot")
    assert count_refused(state, 6_000, reason=RejectReason.FUTURE_SLOT, organization_id=ORGANIZATION) == []
    assert (state.outcomes[Outcome.REJECTED], state.updated_ms) == (3, 6_000)
    (fact,) = count_refused(state, DAY_MS, reason=RejectReason.UNKNOWN_PROJECT, organization_id=ORGANIZATION)
    assert (fact.identity, fact.project_id) == (("", 1), None)


def test_invariant_7_every_report_moves_the_clock_and_one_count() -> None:
    bench = Bench(organization(item()))
    for minute, report_id, count in ((1, "r1", 1), (2, "r1", 1), (3, "r1", 2)):
        bench.send(SLOT + minute * MINUTE, report_id=report_id, counts={"qr": count})
        assert bench.state.updated_ms == ms(SLOT + minute * MINUTE)
    assert bench.state.outcomes == {"charged": 1, "uncharged": 0, "duplicate": 1, "rejected": 1}
    conflict = bench.send(report_id="r1", counts={"qr": 3})
    assert conflict.detail == "the client reported other content under this id before"


# Section 6.2: seats.


def test_v2_a_seat_is_of_one_instance_and_remembers_its_contacts() -> None:
    book = SeatBook()
    assert book.contact("A", 5, 10)
    assert not book.contact("A", 7, 9)
    assert book.seats["A"] == Seat(5, 7, 10, 1)
    assert not book.contact("A", 6, 12, 3)
    assert book.seats["A"] == Seat(5, 7, 12, 3)
    assert book.changed == {"A"}


def test_g1_a_loaded_book_answers_as_before() -> None:
    book = SeatBook()
    for client, end in (("C", 30), ("B", 20), ("A", 10)):
        book.load(client, Seat(0, 0, end))
    book.loaded()
    assert (book.next_end(0), book.next_end(10)) == (10, 20)
    assert [book.count(at) for at in (10, 20, 30, 9)] == [2, 1, 0, 3]
    assert book.changed == set()
    assert [client for client, _ in book.live_seats(10)] == ["C", "B"]


@pytest.mark.parametrize("asked", [True, False], ids=["asked in between", "not asked"])
def test_e23_a_new_seat_is_not_forgotten_with_the_old_one(asked: bool) -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    if asked:
        assert book.count(15) == 0
    assert book.contact("A", 20, 9 * RETAIN_MS)
    assert [book.count(at) for at in (20, 5, 10 + 2 * RETAIN_MS)] == [1, 1, 1]
    assert set(book.seats) == {"A"}


def test_g1_a_seat_prolonged_to_the_last_instant_asked_ended_there() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert book.count(100) == 0
    assert not book.contact("A", 5, 100)
    assert book.contact("A", 100, 200)
    assert [book.count(at) for at in (100, 199, 200)] == [1, 1, 0]


def test_g1_no_live_seat_ends_before_next_end() -> None:
    book = SeatBook()
    assert book.next_end(0) is None
    book.contact("A", 0, 10)
    assert (book.next_end(0), book.next_end(9), book.next_end(10)) == (10, 10, None)


def test_g1_what_ended_is_kept_for_two_days() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert RETAIN_MS == 2 * DAY_MS
    book.count(10 + RETAIN_MS - 1)
    assert (book.count(9), set(book.seats)) == (1, {"A"})
    book.count(10 + RETAIN_MS)
    assert book.seats == {}


def test_g1_a_seat_may_be_prolonged_in_the_past_of_what_was_asked() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert book.count(100) == 0
    assert not book.contact("A", 5, 20)
    assert [book.count(at) for at in (15, 19, 20, 100)] == [1, 1, 0, 0]
    assert not book.contact("A", 6, 200)
    assert [book.count(at) for at in (15, 100, 199, 200)] == [1, 1, 1, 0]
    assert book.contact("A", 200, 300)
    assert book.count(200) == 1


# Section 6.3 and 6.4: slots.


def test_i3_the_highest_number_of_a_slot_counts() -> None:
    use = SlotUse()
    assert [use.hold("A", seats) for seats in (3, 2, 3, 5)] == [3, 0, 0, 2]
    assert (use.total, use.holders, use.changed) == (5, {"A": 5}, {"A"})
    use.changed.clear()
    assert use.hold("A", 5) == 0
    assert use.changed == set()


# Section 7 and 9: items in use.


def test_c3_one_report_over_the_quota_is_split_exactly() -> None:
    bench = Bench(organization(item(quota=2_000)))
    found = []
    for count in (1_995, 10, 94, 3, 1):
        (line,) = bench.send(counts={"qr": count}).lines
        found.append((line.in_quota, line.in_grace, line.over, line.tier.value))
    assert found == [
        (1_995, 0, 0, "quota"),
        (5, 5, 0, "grace"),
        (0, 94, 0, "grace"),
        (0, 1, 2, "over"),
        (0, 0, 1, "over"),
    ]
    assert bench.parts() == (2_000, 100, 3)


def test_7_3_invariant_3_no_item_takes_beyond_its_grace_before_the_last() -> None:
    bench = Bench(organization(item("1", quota=10), item("2", quota=10)))
    found = []
    for count in (9, 12, 3):
        lines = bench.send(counts={"qr": count}).lines
        found.append([(line.item_id, line.in_quota, line.in_grace, line.over) for line in lines])
    assert found == [
        [("1", 9, 0, 0)],
        [("1", 1, 1, 0), ("2", 10, 0, 0)],
        [("2", 0, 1, 2)],
    ]


def test_a_recorded_answer_is_merged_with_the_verdict_g4() -> None:
    def merged(*, full: bool = False, **data: Any) -> tuple[Any, ...]:
        bench = Bench(organization(item(quota=1)))
        if full:
            bench.send()
        answer = bench.authorize(**data)
        end = answer.local_expires_ms
        code = None if answer.code is None else answer.code.number
        return answer.outcome.value, answer.item_id, code, answer.agrees, None if end is None else end - ms(RECEIVED)

    days = 3 * DAY_MS
    end = RECEIVED + HOUR
    assert merged() == ("granted", "41", None, True, days)
    assert merged(full=True) == ("refused", "", 120, True, None)
    assert merged(result="ok") == ("granted", "41", None, True, days)
    assert merged(result="ok", item_id="41") == ("granted", "41", None, True, days)
    assert merged(result="ok", item_id="42", local_expires_at=end) == ("granted", "42", None, False, 3_600_000)
    assert merged(result="ok", full=True) == ("granted", "", None, False, None)
    assert merged(result="refused") == ("refused", "", None, False, None)
    assert merged(result="refused", full=True) == ("refused", "", 120, True, None)
    assert merged(result="refused", full=True, code="limit_exceeded") == ("refused", "", 120, True, None)
    assert merged(result="refused", full=True, code="expired") == ("refused", "", 111, False, None)


def test_g4_only_devices_and_concurrency_hold_anything_after_a_grant() -> None:
    for changes, held in (({}, 0), ({"charge_way": "per_page"}, 0), (DEVICES, 1), (CONCURRENT, 1)):
        bench = Bench(organization(item(quota=5, **changes)))
        assert bench.authorize().outcome == "granted"
        assert len(bench.seats().seats) == held, changes


def test_n8_a_lease_holds_what_was_asked() -> None:
    bench = Bench(organization(item(quota=5, charge_way="per_concurrent_instance")))
    bench.authorize(requested_instances=3)
    assert bench.seats().seats["device-1"] == Seat(ms(RECEIVED), ms(RECEIVED), ms(SLOT) + 360_000, 3)


def capped() -> Bench:
    """Return an instance item, N = 5, whose budget is used up a slot before."""
    bench = Bench(organization(item(charge_way="per_concurrent_instance", quota=5, overuse_budget=1)))
    bench.use("Z", SLOT - 3 * MINUTE, instances=6)
    return bench


@pytest.mark.parametrize(
    ("reported", "asked", "outcome"),
    [
        pytest.param(None, 2, "granted", id="beside the lease"),
        pytest.param(None, 3, "refused", id="more than the lease leaves"),
        pytest.param(2, 2, "granted", id="the lease is larger than what was reported"),
        pytest.param(2, 3, "refused", id="it is not the smaller"),
        pytest.param(4, 1, "granted", id="more was reported than leased"),
        pytest.param(4, 2, "refused", id="and that counts"),
    ],
)
def test_g15_of_each_client_the_larger_of_lease_and_report_is_held(
    reported: int | None, asked: int, outcome: str
) -> None:
    bench = capped()
    assert bench.authorize("A", requested_instances=3).outcome == "granted"
    if reported is not None:
        bench.use("A", instances=reported)
    assert bench.authorize("B", requested_instances=asked).outcome == outcome


def test_g15_a_client_that_holds_as_much_passes() -> None:
    bench = capped()
    bench.use("A", instances=3)
    bench.use("B", instances=4)
    asked = [bench.authorize(client, requested_instances=number) for client, number in (("A", 3), ("A", 4), ("B", 4))]
    assert [answer.outcome.value for answer in asked] == ["granted", "refused", "granted"]


def test_n5_an_authorizer_looks_at_the_budget_year_of_the_instant() -> None:
    bench = Bench(organization(item(quota=1, overuse_budget=1, expires_at="2033-01-01T00:00:00Z", **CONCURRENT)))
    last = instant("2031-12-31T23:57Z")
    for client in "AB":
        bench.use(client, last)
    assert bench.authorize("C", last + MINUTE).code == "limit_exceeded"
    for client in "AB":
        bench.use(client, last + 6 * MINUTE)
    bench.item_use().consumed[1] = 0
    assert bench.authorize("C", last + 7 * MINUTE).outcome == "granted"


def test_g3_a_repeated_authorization_moves_the_clock_and_one_count() -> None:
    bench = Bench(organization(item()))
    bench.authorize(auth_id="a")
    assert bench.authorize(auth_id="a", received=RECEIVED + MINUTE).outcome == "duplicate"
    conflict = bench.authorize(auth_id="a", product="x", received=RECEIVED + 2 * MINUTE)
    assert (conflict.outcome, conflict.reason) == ("rejected", "conflict")
    assert bench.state.updated_ms == ms(RECEIVED + 2 * MINUTE)
    assert bench.state.outcomes == {"charged": 0, "uncharged": 0, "duplicate": 1, "rejected": 1}
    assert (bench.state.granted, bench.state.refused) == (1, 0)


# Section 8.2: what is said.


def test_8_2_device_refused_says_all() -> None:
    bench = Bench(organization(item(quota=5, **DEVICES)))
    for number in range(7):
        bench.use(f"device-{number}", received=SLOT + 9 * MINUTE)
    assert [message for message in messages(bench) if message["kind"] == "device_refused"] == [
        {
            "kind": "device_refused",
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
            "item_id": "41",
            "client_uuid": "device-6",
            "slot": "2031-03-08T10:09:00Z",
            "quota": 5,
            "limit": 6,
            "value": 6,
            "percent": "120.00",
            "late": True,
            "at": "2031-03-08T10:09:00Z",
        }
    ]


def test_8_2_a_gauge_crosses_at_its_contact_and_says_so() -> None:
    bench = Bench(organization(item(quota=1, **DEVICES)))
    bench.use("A", received=SLOT + 9 * MINUTE)
    said = {"value": 1, "quota": 1, "percent": "100.00", "limit": 1, "slot": "2031-03-08T10:09:00Z", "late": True}
    assert [{key: message[key] for key in said} for message in messages(bench)] == [said, said]


def test_8_2_domain_refused_says_all() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    bench = Bench(organization(item(quota=1, charge_way="per_domain", validation_fields=fields)))
    bench.send(SLOT + 9 * MINUTE, validation={"kind": "domain", "value": "www.b.org"})
    assert messages(bench)[0] == {
        "kind": "domain_refused",
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "item_id": "41",
        "slot": "2031-03-08T10:09:00Z",
        "late": True,
        "at": "2031-03-08T10:09:00Z",
        "detail": "b.org",
    }


def test_8_2_unlicensed_use_says_all() -> None:
    bench = Bench(organization(project={"item_ids": []}))
    bench.send(SLOT + 9 * MINUTE)
    assert messages(bench) == [
        {
            "kind": "unlicensed_use",
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
            "client_uuid": "device-1",
            "slot": "2031-03-08T10:00:00Z",
            "late": True,
            "at": "2031-03-08T10:09:00Z",
        }
    ]


def test_8_2_clock_skew_and_unknown_project_say_all() -> None:
    bench = Bench(organization(item()))
    bench.try_to_send(SLOT + 9 * MINUTE, sent_at=SLOT + 2 * DAY)
    bench.send(SLOT + 9 * MINUTE, project_id=f"{ORGANIZATION}-x")
    common = {"organization_id": ORGANIZATION, "slot": "2031-03-08T10:09:00Z", "late": True}
    common["at"] = "2031-03-08T10:09:00Z"
    assert messages(bench) == [
        {"kind": "clock_skew", "client_uuid": "device-1", "detail": "clock_skew"} | common,
        {"kind": "unknown_project", "project_id": f"{ORGANIZATION}-x"} | common,
    ]


def test_8_2_concurrency_says_all() -> None:
    bench = Bench(organization(item(quota=1, overuse_budget=2, **CONCURRENT)))
    for client in "ABC":
        bench.use(client, received=SLOT + 9 * MINUTE)
    common = {
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "item_id": "41",
        "slot": "2031-03-08T10:00:00Z",
        "quota": 1,
        "value": 2,
        "late": True,
        "at": "2031-03-08T10:09:00Z",
    }
    assert messages(bench) == [
        {"kind": "concurrency_exceeded", "limit": 1, "percent": "200.00"} | common,
        {"kind": "overuse_exhausted", "limit": 2, "percent": "100.00"} | common,
    ]
    assert (bench.slot().exceptions, bench.slot().total) == (2, 3)


def test_8_2_o4_only_a_domain_item_refuses_a_host() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    bench = Bench(organization(item(validation_fields=fields)))
    assert bench.send(validation={"kind": "domain", "value": "b.org"}).outcome == "uncharged"
    assert bench.kinds() == ["unlicensed_use"]


def test_8_2_a8_the_id_is_the_same_in_every_version() -> None:
    fact = BreachFact("1", BreachKind.DEVICE_REFUSED, ("41", "é", 7), 0, 0)
    stated = '["1","device_refused","41","é",7]'.encode()
    assert fact.breach_id == blake2b(stated, digest_size=16).hexdigest()


def test_g12_notices_of_three_days_are_remembered() -> None:
    book = NoticeBook()
    assert [book.note(day, "x") for day in (10, 8, 7, 10, 8)] == [True, True, False, False, False]
    assert book.changed == [(10, "x"), (8, "x")]
    assert book.note(11, "x")
    assert set(book.days) == {10, 11}
    book.load(10, "y")
    assert not book.note(10, "y")
    assert (book.changed[2:], book.withheld) == ([(11, "x")], 0)


# Counters and state.


def test_the_counters_of_an_organization_say_all() -> None:
    state = OrganizationState(ORGANIZATION, applied_offset=7, updated_ms=ms(RECEIVED), granted=5, refused=6)
    state.outcomes.update(zip(Outcome, (1, 2, 3, 4), strict=True))
    state.notices.withheld = 8
    assert organization_counters(state, 9).model_dump(mode="json") == {
        "kind": "organization",
        "organization_id": ORGANIZATION,
        "source_partition": 9,
        "applied_offset": 7,
        "updated_at": "2031-03-08T10:01:00Z",
        "charged": 1,
        "uncharged": 2,
        "duplicate": 3,
        "rejected": 4,
        "granted": 5,
        "refused": 6,
        "notices_withheld": 8,
    }


def test_the_counters_of_an_item_say_all() -> None:
    state = OrganizationState(ORGANIZATION, applied_offset=7, updated_ms=ms(RECEIVED))
    state.uses["41"] = ItemUse(1, 2, 3, 4, {0: 5, 1: 6}, {})
    state.seat_book("41").contact("A", ms(RECEIVED), ms(RECEIVED + HOUR))

    def counters(**changes: Any) -> dict[str, Any]:
        (found,) = item_counters(state, 9, [metered(quota=10, **changes)], ms(RECEIVED))
        return found.model_dump(mode="json")

    slots = counters(**CONCURRENT, starts_at="2030-03-01T00:00:00Z", expires_at="2031-03-08T00:00:00Z")
    assert slots == {
        "kind": "item",
        "organization_id": ORGANIZATION,
        "source_partition": 9,
        "applied_offset": 7,
        "updated_at": "2031-03-08T10:01:00Z",
        "item_id": "41",
        "charge_way": "per_concurrent_device",
        "quota": 10,
        "used": 6,
        "in_quota": 1,
        "in_grace": 2,
        "over": 3,
        "attributed": 4,
        "active": 0,
        "consumed": 6,
        "budget": 10_000,
        "budget_year": 1,
        "percent": "0.06",
        "state": "overusing",
        "in_expiry_grace": True,
    }
    parts = ("active", "consumed", "budget_year", "percent", "in_expiry_grace")
    assert [counters()[part] for part in parts] == [0, 0, None, "60.00", False]
    assert [counters(**DEVICES)[part] for part in parts] == [1, 0, None, "10.00", False]
    domain = [{"kind": "domain", "value": "a.org"}]
    assert counters(charge_way="per_domain", validation_fields=domain)["percent"] is None


def test_the_state_survives_its_encoding() -> None:
    state = OrganizationState(ORGANIZATION, 1, 2, 3, 4, granted=5, refused=6)
    state.outcomes.update(zip(Outcome, (7, 8, 9, 10), strict=True))
    state.uses["41"] = ItemUse(1, 2, 3, 4, {0: 5}, {"quota_reached": 180})
    state.requests.add(PROJECT, ms(RECEIVED), "120", ms(RECEIVED))
    state.notices.withheld = 11
    again = OrganizationState.from_bytes(ORGANIZATION, state.to_bytes())
    assert again == state
    assert again.requests.window(PROJECT, ms(CHECK)) == {"120": 1}


def test_p2_a_catalog_brings_its_offset_and_its_items() -> None:
    state = OrganizationState(ORGANIZATION)
    state.adopt(organization(item("1"), item("2")), 12)
    assert (state.catalog_offset, set(state.uses)) == (12, {"1", "2"})


# Section 11: checks.


def test_w8_requests_are_forgotten_after_two_hours() -> None:
    windows = RequestWindows()
    windows.add("p", ms(SLOT), "", ms(SLOT))
    windows.add("p", ms(SLOT - 2 * HOUR), "", ms(SLOT))
    windows.add("p", ms(SLOT - 2 * HOUR) - 1, "", ms(SLOT))
    assert sorted(windows.projects["p"]) == [ms(SLOT - 2 * HOUR) // 600_000, ms(SLOT) // 600_000]
    windows.add("q", ms(SLOT + 2 * HOUR), "", ms(SLOT + 2 * HOUR))
    windows.add("p", ms(SLOT), "", ms(SLOT + 2 * HOUR + 10 * MINUTE))
    assert windows.projects["p"] == {}
    assert windows.to_json() == {"q": windows.projects["q"]}


def test_w8_g17_the_window_is_the_hour_before_the_check() -> None:
    windows = RequestWindows()
    for at, code in ((SLOT - 60 * MINUTE, "1"), (SLOT - MINUTE, "2"), (SLOT - 61 * MINUTE, "3"), (SLOT, "4")):
        windows.add("p", ms(at), code, ms(SLOT))
    assert windows.window("p", ms(SLOT)) == {"1": 1, "2": 1}


def test_w8_the_five_commonest_codes_are_named_and_never_none() -> None:
    bench = Bench(organization(item()))
    codes = ["limit_exceeded"] * 3 + ["expired"] * 2 + ["product_mismatch"] * 2
    codes += ["version_mismatch", "edition_mismatch", "item_invalid", "not_started"]
    for number, code in enumerate([*codes, None, None, None]):
        data: dict[str, Any] = {} if code is None else {"code": code}
        bench.authorize(f"device-{number}", at=SLOT, result="refused", **data)
    alert = bench.check(CHECK)
    assert alert is not None
    (condition,) = alert.conditions
    assert list((condition.top_codes or {}).items()) == [("120", 3), ("106", 2), ("111", 2), ("107", 1), ("109", 1)]
    assert (condition.value, condition.quota, condition.window_minutes) == (14, 14, 60)


def test_w2_conditions_come_by_item_and_by_project() -> None:
    names = [f"{ORGANIZATION}-{name}" for name in "ba"]
    projects = [{"project_id": name, "item_ids": ["2", "1"]} for name in names]
    document = organization(
        item("2", quota=1),
        item("1", quota=1),
        projects=projects,
        default_project_id=names[0],
        alerts={"preset": "legacy"},
    )
    bench = Bench(document)
    for item_id in "21":
        bench.item_use(item_id).in_quota = 1
    for name in names:
        for number in range(10):
            bench.authorize(f"device-{number}", at=SLOT, project_id=name, result="refused")
    alert = bench.check(CHECK)
    assert alert is not None
    assert [each.item_id or each.project_id for each in alert.conditions] == ["1", "2", *sorted(names)]
    assert [each.project_ids for each in alert.conditions] == [tuple(sorted(names))] * 2 + [None] * 2


def test_w7_a_level_arms_again_one_unit_below_five_points() -> None:
    bench = Bench(organization(item(quota=2_000)))
    crossed = []
    for number, used in enumerate((1_200, 1_100, 1_200, 1_099, 1_200)):
        bench.item_use().in_quota = used
        alert = bench.check(CHECK + number * 10 * MINUTE)
        crossed.append(alert is not None)
    assert crossed == [True, False, False, False, True]


def test_w6_levels_are_held_in_their_order() -> None:
    held = HeldLevels()
    assert held.update("x", {8, 1}, set()) == (1, 8)
    assert held.held == {"x": (1, 8)}
    assert held.update("x", {8}, {1}) == ()
    assert held.held == {"x": (8,)}
    assert held.update("x", set(), {8}) == ()
    assert held.held == {}


def test_w9_a_reminder_says_all() -> None:
    ends = CHECK + timedelta(milliseconds=1)
    bench = Bench(organization(item(expires_at=ends), alerts={"expiry_reminder_days": [30, 7, 1]}))
    alert = bench.check(CHECK)
    assert alert is not None
    assert [condition.model_dump(mode="json", exclude_none=True) for condition in alert.conditions] == [
        {
            "scope": "item",
            "item_id": "41",
            "project_ids": [PROJECT],
            "charge_way": "per_scan",
            "metric": "expires_in_days",
            "value": 1,
            "level": 1,
            "crossed": [1, 7, 30],
            "state": "active",
        }
    ]


@pytest.mark.parametrize("ends", [SLOT - DAY, CHECK], ids=["yesterday", "now"])
def test_w9_nobody_is_reminded_of_an_expiry_after_it(ends: datetime) -> None:
    bench = Bench(organization(item(expires_at=ends), alerts={"expiry_reminder_days": [30, 7, 1]}))
    assert bench.check(CHECK) is None


def test_w9_a_reminder_says_the_days_that_are_left_rounded_up() -> None:
    bench = Bench(organization(item(expires_at=CHECK + 7 * DAY), alerts={"expiry_reminder_days": [30, 7, 1]}))
    alert = bench.check(CHECK - MINUTE)
    assert alert is not None
    assert [(each.value, each.level, each.crossed) for each in alert.conditions] == [(8, 30, (30,))]
    alert = bench.check(CHECK)
    assert alert is not None
    assert [(each.value, each.level, each.crossed) for each in alert.conditions] == [(7, 7, (7,))]


def test_w10_mistakes_are_named_and_stop_nobody() -> None:
    lists, mistakes = parse_recipients(Recipients(to="x; ;y", cc="A@b.org; a@B.org;z", bcc="c@d.org;"))
    assert (lists.to, lists.cc, lists.bcc) == ((), ("A@b.org",), ("c@d.org",))
    assert mistakes == [
        "recipients.to: x is no address, it has no @",
        "recipients.to: y is no address, it has no @",
        "recipients.cc: z is no address, it has no @",
        "recipients.to: names no address",
    ]


# W1 and W11: a recount passes over checks that would see nothing new, so it must know when something changes.


def changes(bench: Bench, after: str, number: int) -> list[str]:
    """Return so many instants of change after one."""
    found, at_ms = [], ms(instant(after))
    for _ in range(number):
        next_ms = next_change(bench.state, at_ms)
        if next_ms is None:
            break
        at_ms = next_ms
        found.append((datetime.fromisoformat("1970-01-01T00:00Z") + timedelta(milliseconds=at_ms)).isoformat())
    return [text.removesuffix("T00:00:00+00:00") for text in found]


def test_w1_what_time_alone_changes_of_a_cumulative_item() -> None:
    bench = Bench(organization(item(revoked_at="2031-06-01T00:00:00Z"), alerts={"expiry_reminder_days": [30, 1]}))
    expected = ["2031-01-01", "2031-06-01", "2031-12-02", "2031-12-31", "2032-01-01", "2032-01-08"]
    assert changes(bench, "2030-12-01T00:00Z", 9) == expected
    assert changes(Bench(organization(item())), "2032-01-07T23:59:59.999Z", 9) == ["2032-01-08"]


def test_w1_n5_the_budget_year_turns() -> None:
    bench = Bench(organization(item(expires_at="2033-01-01T00:00:00Z", **CONCURRENT)))
    expected = ["2031-01-01", "2032-01-01", "2032-12-31", "2033-01-01", "2033-01-08", "2033-12-31"]
    assert changes(bench, "2030-12-01T00:00Z", 6) == expected


def test_w1_v5_a_seat_ends() -> None:
    bench = Bench(organization(item(quota=5, **DEVICES)))
    bench.use("A", received=SLOT)
    assert changes(bench, "2031-03-08T10:00Z", 2) == ["2031-04-07T10:00:00+00:00", "2032-01-01"]


def test_w1_w8_requests_come_into_the_window_and_leave_it() -> None:
    bench = Bench(organization(item()))
    bench.authorize(at=SLOT + MINUTE)

    def soon(check: datetime) -> bool:
        return next_change(bench.state, ms(check)) == ms(check) + 1

    checks = [SLOT + number * 10 * MINUTE for number in (-1, 0, 1, 6, 7)]
    assert [soon(check) for check in checks] == [False, True, True, True, False]


def test_w1_nothing_changes_without_a_catalog() -> None:
    assert next_change(OrganizationState(ORGANIZATION), 0) is None


def test_w1_a_first_event_at_a_check_is_not_seen_by_it() -> None:
    document = organization(item(quota=1))
    for received, checks in ((SLOT, [SLOT + 10 * MINUTE]), (SLOT + MINUTE, [SLOT + 10 * MINUTE])):
        bench = Bench(document)
        bench.recount.next_check_ms = None
        bench.send(received)
        assert bench.recount.next_check_ms == ms(checks[0])
        bench.recount.check_until(ms(SLOT + 30 * MINUTE))
        assert [alert.checked_at for alert in bench.recount.alerts] == checks


def test_w1_a_check_runs_before_what_arrives_at_its_instant() -> None:
    recount = Recount()
    recount.adopt(organization(item()))
    event = Refused(RejectReason.NOT_JSON, "")
    assert recount.count(ORGANIZATION, event, ms(CHECK)).answer == event
    assert (recount.next_check_ms, recount.now_ms) == (ms(CHECK + 10 * MINUTE), ms(CHECK))
    recount.check_until(ms(CHECK + 10 * MINUTE) - 1)
    assert recount.now_ms == ms(CHECK)
    assert recount.next_check_ms == ms(CHECK + 10 * MINUTE)
    recount.check_until(ms(CHECK + 10 * MINUTE))
    assert recount.now_ms == ms(CHECK + 10 * MINUTE)


def reminded(*ends: datetime) -> Recount:
    """Return a recount of organizations that are reminded of an item a day before its end."""
    recount = Recount()
    for number, end in enumerate(ends):
        recount.adopt(
            organization(item(expires_at=end), organization_id=f"{number}", alerts={"expiry_reminder_days": [1]})
        )
    return recount


def arrive(recount: Recount, at: datetime) -> list[datetime]:
    """Let something arrive; return which checks found something until then."""
    recount.count("0", Refused(RejectReason.NOT_JSON, ""), ms(at))
    return [alert.checked_at for alert in recount.alerts]


def test_w1_w11_the_first_check_is_not_before_the_first_event() -> None:
    assert arrive(reminded(SLOT + HOUR), SLOT) == [SLOT]
    assert arrive(reminded(SLOT + HOUR), SLOT + timedelta(milliseconds=1)) == []


def test_w1_every_check_that_sees_a_change_runs() -> None:
    recount = reminded(SLOT + DAY + 15 * MINUTE, SLOT + DAY + 35 * MINUTE)
    assert arrive(recount, SLOT + MINUTE) == []
    assert arrive(recount, SLOT + HOUR) == [SLOT + 20 * MINUTE, SLOT + 40 * MINUTE]


def test_w1_the_clock_stands_at_the_last_check() -> None:
    recount = reminded(SLOT + DAY + 15 * MINUTE)
    arrive(recount, SLOT + MINUTE)
    recount.check_until(ms(SLOT + 17 * MINUTE))
    assert recount.now_ms == ms(SLOT + 10 * MINUTE)
    assert recount.next_check_ms == ms(SLOT + 20 * MINUTE)
    recount.check_until(ms(SLOT + 5 * MINUTE))
    assert recount.now_ms == ms(SLOT + 10 * MINUTE)


def test_the_clock_stands_for_what_does_not_say_when_it_arrived() -> None:
    recount = reminded(SLOT)
    for at in (ms(SLOT), None, ms(SLOT) - 5):
        recount.count("0", Refused(RejectReason.NOT_JSON, ""), at)
        assert recount.organizations["0"].updated_ms == (ms(SLOT) if at is None else at)
    assert recount.now_ms == ms(SLOT)


def test_w3_what_is_measured_of_a_domain_item_is_its_units() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    domain = metered(charge_way="per_domain", quota=3, validation_fields=fields)
    assert measure(domain, ItemUse(in_quota=2), SeatBook(), 0) == (2, 3)
