"""Where an item stands, and what is said at once when a limit is crossed (domain, section 8)."""

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from licmeter.metering.breaches import NOTICES_A_DAY_MAX, BreachFact, NoticeBook, breach_message
from licmeter.schemas.outcomes import ItemState
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, SLOT_LENGTH, Bench, instant

DAILY = {"charge_way": "per_device", "activity_period": "daily"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def after(count: int, at: datetime = RECEIVED, **changes: Any) -> ItemState:
    """Return the state after use: a count for cumulative items, so many devices for the others."""
    bench = Bench(organization(item(**changes)))
    if changes.get("charge_way", "per_scan") in ("per_scan", "per_page"):
        bench.send(counts={"qr": count})
    else:
        for number in range(count):
            bench.use(str(number))
    return bench.item_state(at=at)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revoked_at": "2031-03-08T10:01:00Z"}, ItemState.REVOKED),
        ({"revoked_at": "2031-03-08T10:01:01Z"}, ItemState.ACTIVE),
        ({"starts_at": "2031-03-08T10:01:01Z"}, ItemState.PENDING),
        ({"starts_at": "2031-03-08T10:01:00Z"}, ItemState.ACTIVE),
        ({"expires_at": "2031-03-08T10:01:00Z", "expiry_grace_days": 0}, ItemState.EXPIRED),
        ({"expires_at": "2031-03-08T10:01:01Z", "expiry_grace_days": 0}, ItemState.ACTIVE),
        ({"expires_at": "2031-03-08T10:01:00Z"}, ItemState.ACTIVE),
        ({"expires_at": "2031-03-01T10:01:01Z"}, ItemState.ACTIVE),
        ({"expires_at": "2031-03-01T10:01:00Z"}, ItemState.EXPIRED),
    ],
    ids=str,
)
def test_8_1_states_by_time(changes: dict[str, Any], expected: ItemState) -> None:
    assert Bench(organization(item(**changes))).item_state() is expected


@pytest.mark.parametrize(
    ("count", "changes", "expected"),
    [
        (19, {"quota": 20}, ItemState.ACTIVE),
        (20, {"quota": 20}, ItemState.GRACE),
        (21, {"quota": 20}, ItemState.BLOCKED),
        (99, {"quota": 20}, ItemState.BLOCKED),
        (8, {"quota": 9}, ItemState.ACTIVE),
        (9, {"quota": 9}, ItemState.BLOCKED),
        (10**6, {"quota": None}, ItemState.ACTIVE),
        (4, {"quota": 5} | DAILY, ItemState.ACTIVE),
        (5, {"quota": 5} | DAILY, ItemState.GRACE),
        (6, {"quota": 5} | DAILY, ItemState.BLOCKED),
        (4, {"quota": 4} | DAILY, ItemState.BLOCKED),
        (2, {"quota": 2} | CONCURRENT, ItemState.ACTIVE),
        (3, {"quota": 2} | CONCURRENT, ItemState.OVERUSING),
        (3, {"quota": 2, "overuse_budget": 1} | CONCURRENT, ItemState.CAPPED),
        (9, {"quota": None} | CONCURRENT, ItemState.ACTIVE),
    ],
)
def test_8_1_states_by_use(count: int, changes: dict[str, Any], expected: ItemState) -> None:
    assert after(count, **changes) is expected


@pytest.mark.parametrize(
    ("changes", "at", "expected"),
    [
        pytest.param({"revoked_at": SLOT, "starts_at": SLOT + HOUR}, SLOT, ItemState.REVOKED, id="revoked pending"),
        pytest.param(
            {"revoked_at": SLOT + HOUR, "expires_at": SLOT + HOUR}, SLOT + 9 * DAY, ItemState.REVOKED, id="and expired"
        ),
        pytest.param({"expires_at": SLOT + HOUR}, SLOT + 9 * DAY, ItemState.EXPIRED, id="expired blocked"),
        pytest.param({}, SLOT + 9 * DAY, ItemState.BLOCKED, id="blocked"),
    ],
)
def test_8_1_the_first_match_wins(changes: dict[str, Any], at: datetime, expected: ItemState) -> None:
    assert after(50, at=at, quota=10, **changes) is expected


@pytest.mark.parametrize(
    ("at", "flag"),
    [
        ("2031-03-07T23:59:59Z", False),
        ("2031-03-08T00:00:00Z", True),
        ("2031-03-14T23:59:59Z", True),
        ("2031-03-15T00:00:00Z", False),
    ],
)
def test_8_1_expiry_grace_is_a_flag_of_its_own(at: str, flag: bool) -> None:
    bench = Bench(organization(item(expires_at="2031-03-08T00:00:00Z", quota=10)))
    assert bench.counters(at=instant(at)).in_expiry_grace is flag


def test_8_1_expiry_grace_does_not_hide_the_state() -> None:
    bench = Bench(organization(item(expires_at="2031-03-08T00:00:00Z", quota=10)))
    bench.send(counts={"qr": 10})
    counters = bench.counters()
    assert (counters.state, counters.in_expiry_grace) == (ItemState.GRACE, True)


def test_example_8_without_grace_from_active_to_blocked() -> None:
    assert [after(count, quota=9) for count in (8, 9)] == [ItemState.ACTIVE, ItemState.BLOCKED]
    assert [after(count, quota=4, **DAILY) for count in (3, 4)] == [ItemState.ACTIVE, ItemState.BLOCKED]


def of(bench: Bench, kind: str) -> list[BreachFact]:
    return [fact for fact in bench.breaches if fact.kind == kind]


def test_example_8_one_report_over_both_limits_gives_both_in_order() -> None:
    bench = Bench(organization(item(quota=200)))
    bench.send(counts={"qr": 250})
    assert [(fact.kind.value, fact.quota, fact.limit, fact.value) for fact in bench.breaches] == [
        ("quota_reached", 200, 200, 250),
        ("grace_exhausted", 200, 210, 250),
    ]


def test_8_2_quota_reached_and_grace_exhausted_once_for_a_quota() -> None:
    bench = Bench(organization(item(quota=20)))
    kinds = []
    for count in (19, 1, 1, 5):
        before = len(bench.breaches)
        bench.send(counts={"qr": count})
        kinds.append([fact.kind.value for fact in bench.breaches[before:]])
    assert kinds == [[], ["quota_reached"], ["grace_exhausted"], []]


def test_8_2_quota_reached_again_with_a_larger_quota_is_another_message() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 10})
    bench.adopt(organization(item(quota=30)))
    bench.send(counts={"qr": 20})
    first, second = of(bench, "quota_reached")
    assert (first.quota, second.quota) == (10, 30)
    assert first.breach_id != second.breach_id


def test_8_2_quota_reached_by_a_gauge_once_for_the_slot_of_the_crossing() -> None:
    bench = Bench(organization(item(quota=2, **DAILY)))
    for client, at in (
        ("A", SLOT),
        ("B", SLOT + MINUTE),
        ("B", SLOT + DAY + 2 * MINUTE),
        ("A", SLOT + DAY + 2 * MINUTE),
    ):
        bench.authorize(client, at=at)
    facts = of(bench, "quota_reached")
    assert [instant("1970-01-01T00:00:00Z") + timedelta(seconds=fact.slot_s) for fact in facts] == [SLOT, SLOT + DAY]
    assert len({fact.breach_id for fact in facts}) == 2


def test_8_2_grace_exhausted_by_a_gauge() -> None:
    bench = Bench(organization(item(quota=5, **DAILY)))
    for client in "ABCDEF":
        bench.authorize(client)
    (fact,) = of(bench, "grace_exhausted")
    assert (fact.quota, fact.limit, fact.value, fact.item_id) == (5, 6, 6, "41")


def test_8_2_g10_an_edited_quota_crosses_nothing() -> None:
    bench = Bench(organization(item(quota=100)))
    bench.send(counts={"qr": 90})
    bench.adopt(organization(item(quota=80)))
    bench.send(counts={"qr": 1})
    assert bench.breaches == []


def test_8_2_device_refused_once_for_item_client_and_day() -> None:
    bench = Bench(organization(item(quota=1, charge_way="per_device", activity_period="yearly")))
    bench.authorize("A")
    for client, at in (("B", SLOT), ("B", SLOT + HOUR), ("C", SLOT + HOUR), ("B", SLOT + 14 * HOUR)):
        bench.authorize(client, at=at)
        bench.use("B", SLOT, SLOT + HOUR)
    facts = of(bench, "device_refused")
    assert [fact.client_uuid for fact in facts] == ["B", "C", "B"]  # 14 hours later it is another UTC day
    assert (facts[0].item_id, facts[0].quota, facts[0].limit, facts[0].value) == ("41", 1, 1, 1)


def test_8_2_device_refused_is_not_said_when_another_item_took_it() -> None:
    bench = Bench(organization(item("1", quota=1, **DAILY), item("2")))
    for client in "AB":
        bench.use(client)
        bench.authorize(client)
    assert of(bench, "device_refused") == []


def test_8_2_concurrency_exceeded_with_the_first_exception_of_a_slot() -> None:
    bench = Bench(organization(item(quota=1, **CONCURRENT)))
    for slot in (SLOT, SLOT + SLOT_LENGTH):
        for client in "ABC":
            bench.use(client, slot)
    facts = of(bench, "concurrency_exceeded")
    assert [(fact.slot_s, fact.limit, fact.value) for fact in facts] == [
        (int(SLOT.timestamp()), 1, 2),
        (int(SLOT.timestamp()) + 180, 1, 2),
    ]
    assert len({fact.breach_id for fact in facts}) == 2


def test_8_2_overuse_exhausted_once_a_budget_year() -> None:
    bench = Bench(organization(item(quota=1, overuse_budget=2, expires_at="2040-01-01T00:00:00Z", **CONCURRENT)))
    for slot in (SLOT, SLOT + SLOT_LENGTH, SLOT + 365 * DAY):
        for client in "ABC":
            bench.use(client, slot)
    facts = of(bench, "overuse_exhausted")
    assert [(fact.identity, fact.limit, fact.value) for fact in facts] == [(("41", 0), 2, 2), (("41", 1), 2, 2)]
    assert [breach_message(fact).percent for fact in facts] == ["100.00", "100.00"]


def test_8_2_unlicensed_use_once_for_project_slot_and_client() -> None:
    bench = Bench(organization())
    for client, slot in (("A", SLOT), ("A", SLOT), ("B", SLOT), ("A", SLOT + SLOT_LENGTH)):
        bench.use(client, slot)
    facts = of(bench, "unlicensed_use")
    assert [(fact.client_uuid, fact.slot_s - int(SLOT.timestamp())) for fact in facts] == [
        ("A", 0),
        ("B", 0),
        ("A", 180),
    ]
    assert {fact.project_id for fact in facts} == {PROJECT}


def test_8_2_clock_skew_once_for_client_and_day_by_both_checks() -> None:
    bench = Bench(organization(item()))
    for client, received, changes in (
        ("A", SLOT, {"sent_at": SLOT - 2 * DAY}),
        ("A", SLOT, {"slot": SLOT + HOUR}),
        ("B", SLOT, {"slot": SLOT + HOUR}),
        ("A", SLOT + 14 * HOUR, {"slot": SLOT + 16 * HOUR}),
    ):
        bench.try_to_send(received, client_uuid=client, **changes)
    facts = of(bench, "clock_skew")
    assert [(fact.client_uuid, fact.detail) for fact in facts] == [
        ("A", "clock_skew"),
        ("B", "future_slot"),
        ("A", "future_slot"),
    ]


def test_8_2_clock_skew_g2_of_an_authorization() -> None:
    bench = Bench(organization(item()))
    bench.try_to_authorize("A", at=SLOT, received=SLOT + DAY + MINUTE)
    bench.try_to_authorize("B", at=SLOT, received=SLOT - 6 * MINUTE)
    bench.try_to_authorize("C", at=SLOT, received=SLOT - 5 * MINUTE)
    assert [fact.client_uuid for fact in of(bench, "clock_skew")] == ["A", "B"]


def test_8_2_unknown_project_once_for_project_and_day() -> None:
    bench = Bench(organization(item()))
    for name, client, received in (
        ("x", "A", SLOT),
        ("x", "B", SLOT),
        ("y", "A", SLOT),
        ("x", "A", SLOT + 14 * HOUR),
    ):
        bench.send(received, project_id=f"{ORGANIZATION}-{name}", client_uuid=client)
    assert [fact.project_id for fact in of(bench, "unknown_project")] == [f"{ORGANIZATION}-{name}" for name in "xyx"]


def test_8_2_the_message() -> None:
    bench = Bench(organization(item(quota=8)))
    bench.send(SLOT + 9 * MINUTE, counts={"qr": 7})
    bench.send(SLOT + 9 * MINUTE, counts={"qr": 2})
    message = breach_message(bench.breaches[0]).model_dump(mode="json", exclude_none=True)
    assert len(message.pop("breach_id")) == 32
    assert message == {
        "kind": "quota_reached",
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "item_id": "41",
        "slot": "2031-03-08T10:00:00Z",
        "quota": 8,
        "limit": 8,
        "value": 9,
        "percent": "112.50",
        "late": True,
        "at": "2031-03-08T10:09:00Z",
    }


def test_8_2_the_order_of_arrival_changes_no_ids_of_a_cumulative_item() -> None:
    ids, values = set(), set()
    for counts in permutations((6, 3, 2)):
        bench = Bench(organization(item(quota=10)))
        for count in counts:
            bench.send(counts={"qr": count})
        ids.add(frozenset(fact.breach_id for fact in bench.breaches))
        values.add(tuple(fact.value for fact in bench.breaches))
    assert len(ids) == 1
    assert values == {(11, 11)}


def test_8_2_the_identity_makes_the_id() -> None:
    def identifier(**changes: Any) -> str:
        fields: dict[str, Any] = {"kind": "device_refused", "identity": ("41", "A", 7), "slot_s": 0, "at_ms": 0}
        return BreachFact(**({"organization_id": "1"} | fields | changes)).breach_id

    assert identifier() == identifier(slot_s=180, at_ms=5, value=3, late=True, project_id="1-x")
    others = [
        {"organization_id": "2"},
        {"kind": "domain_refused"},
        {"identity": ("42", "A", 7)},
        {"identity": ("41", "B", 7)},
        {"identity": ("41", "A", 8)},
        {"identity": ("41A", "", 7)},
    ]
    assert len({identifier(), *(identifier(**change) for change in others)}) == 7


def test_g12_so_many_notices_a_day_and_no_more() -> None:
    book = NoticeBook()
    given = sum(book.note(20_000, str(number)) for number in range(NOTICES_A_DAY_MAX + 5))
    assert (given, book.withheld) == (10_000, 5)
    assert book.note(20_001, "0") is True  # the next day
