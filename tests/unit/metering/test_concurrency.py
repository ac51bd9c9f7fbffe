"""Items that count who is active in a slot (domain, 6.3 and 6.4)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from licmeter.metering.authorizing import AuthDecision
from licmeter.schemas.outcomes import ItemState, Outcome, RefusalCode
from tests.support.build import ORGANIZATION, PROJECT, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, SLOT_LENGTH, Bench

DEVICE, INSTANCE = "per_concurrent_device", "per_concurrent_instance"
BOTH = pytest.mark.parametrize("way", [DEVICE, INSTANCE])
YEAR = 365 * DAY
STARTS = datetime.fromisoformat("2031-01-01T00:00:00Z")


def limited(quota: int | None, way: str = DEVICE, **changes: Any) -> Bench:
    return Bench(organization(item(charge_way=way, quota=quota, **changes)))


def fill(bench: Bench, slot: datetime, *clients: str, **changes: Any) -> list[str]:
    """Let clients use a slot; return the tiers in which they were taken."""
    return [bench.use(client, slot, **changes).lines[0].tier.value for client in clients]


def refused(answer: AuthDecision) -> int | None:
    return None if answer.code is None else answer.code.number


def test_example_6_3_n2_n3_n4_seven_devices_in_every_slot() -> None:
    bench = limited(4)
    consumed = {}
    for number in range(1, 1_335):
        fill(bench, SLOT + (number - 1) * SLOT_LENGTH, *"ABCDEFG")
        consumed[number] = bench.consumed()
        assert bench.item_state(at=SLOT) is (ItemState.CAPPED if number == 1_334 else ItemState.OVERUSING)
    assert [consumed[number] for number in (1, 800, 1_066, 1_067, 1_333, 1_334)] == [
        3,
        2_400,
        3_198,
        3_201,
        3_999,
        4_002,
    ]
    assert timedelta(hours=66, minutes=42) == 1_334 * SLOT_LENGTH
    assert bench.counters(at=SLOT).percent == "100.05"


def test_example_6_3_n6_a_stored_report_raises_a_past_slot() -> None:
    bench = limited(2)
    fill(bench, SLOT, "A", "B")
    assert (bench.slot().total, bench.slot().exceptions, bench.consumed()) == (2, 0, 0)
    decision = bench.use("C", SLOT, SLOT + 9 * DAY)
    assert (bench.slot().total, bench.slot().exceptions, bench.consumed()) == (3, 1, 1)
    assert decision.lines[0].exceptions == 1
    assert [fact.late for fact in decision.breaches] == [True]


def test_example_6_4_i4_i5_three_servers() -> None:
    bench = limited(6, INSTANCE)
    servers = (("server-1", 6), ("server-2", 4), ("server-3", 2))
    for number in range(1_000):
        assert bench.item_state(at=SLOT) is not ItemState.CAPPED
        slot = SLOT + number * SLOT_LENGTH
        for server, instances in servers:
            bench.use(server, slot, instances=instances)
        assert (bench.slot(slot).total, bench.slot(slot).exceptions) == (12, 6)
    assert (bench.consumed(), bench.item_state(at=SLOT)) == (6_000, ItemState.CAPPED)
    at = SLOT + 51 * HOUR
    answers = [bench.authorize(f"server-{n}", at=at, requested_instances=x) for n, x in ((1, 4), (2, 2), (3, 1))]
    assert [refused(answer) for answer in answers] == [None, None, 120]


@BOTH
def test_n1_any_number_of_devices_is_authorized_before_the_budget_is_used_up(way: str) -> None:
    bench = limited(2, way)
    assert {bench.authorize(client).outcome.value for client in "ABCDEFGHIJ"} == {"granted"}
    assert (bench.slot().total, bench.consumed()) == (0, 0)  # nobody was active


@BOTH
def test_n1_i2_a_report_without_use_is_no_activity(way: str) -> None:
    bench = limited(1, way)
    bench.use("A", counts={"qr": 0}, instances=3)
    bench.use("B", counts={})
    assert bench.slot().total == 0


def test_n1_e26_two_reports_of_one_device_in_a_slot_are_one_active_device() -> None:
    bench = limited(1)
    fill(bench, SLOT, "A", "A")
    assert (bench.slot().total, bench.consumed(), bench.project()) == (1, 0, {"qr": 2})
    assert bench.counters().attributed == 2


def test_n2_exceptions_are_what_a_slot_has_above_n() -> None:
    bench = limited(2)
    exceptions = [bench.use(client).lines[0].exceptions for client in "ABCABD"]
    assert exceptions == [0, 0, 1, 0, 0, 1]
    assert (bench.slot().exceptions, bench.consumed()) == (2, 2)


def test_n2_slots_are_counted_each_for_itself() -> None:
    bench = limited(2)
    for number, clients in enumerate(("ABC", "AB", "CDEF", "")):
        fill(bench, SLOT + number * SLOT_LENGTH, *clients)
    found = [bench.slot(SLOT + number * SLOT_LENGTH).exceptions for number in range(4)]
    assert (found, bench.consumed()) == ([1, 0, 2, 0], 3)


@pytest.mark.parametrize("feature", ["qr", "core"])
def test_n2_several_features_of_a_device_are_one_active_device(feature: str) -> None:
    bench = limited(1)
    bench.use("A", counts={"qr": 1, "core": 2, "ocr": 3})
    bench.use("A", counts={feature: 5})
    assert (bench.slot().total, bench.consumed()) == (1, 0)


@BOTH
@pytest.mark.parametrize(("quota", "budget"), [(1, 1_000), (4, 4_000), (6, 6_000)])
def test_n3_the_budget_is_a_thousand_times_n(way: str, quota: int, budget: int) -> None:
    assert limited(quota, way).counters().budget == budget


@BOTH
def test_n3_the_budget_is_configurable(way: str) -> None:
    bench = limited(1, way, overuse_budget=2)
    fill(bench, SLOT, *"ABC")
    assert (bench.counters().budget, bench.item_state(at=SLOT)) == (2, ItemState.CAPPED)


@BOTH
def test_n4_i5_used_up_only_n_a_slot_are_authorized(way: str) -> None:
    bench = limited(2, way, overuse_budget=1)
    fill(bench, SLOT, *"ABC")
    later = SLOT + HOUR
    answers = [bench.authorize(client, at=later + MINUTE) for client in "DEFD"]
    assert [refused(answer) for answer in answers] == [None, None, 120, None]


def test_n4_a_device_that_is_active_in_the_slot_passes_when_capped() -> None:
    bench = limited(2, overuse_budget=1)
    fill(bench, SLOT, *"ABC")
    assert [refused(bench.authorize(client, at=SLOT + 2 * MINUTE)) for client in "ABCD"] == [None, None, None, 120]


def test_n4_within_n_use_goes_on_when_capped() -> None:
    bench = limited(2, overuse_budget=1)
    fill(bench, SLOT, *"ABC")
    assert fill(bench, SLOT + SLOT_LENGTH, *"ABC") == ["quota", "quota", "over"]


def test_n5_e4_the_budget_starts_again_every_365_days_from_the_start() -> None:
    bench = limited(1, overuse_budget=2, expires_at="2034-01-01T00:00:00Z")
    last = STARTS + YEAR - SLOT_LENGTH
    fill(bench, last, *"ABC")
    assert (bench.consumed(year=0), bench.consumed(year=1)) == (2, 0)
    assert bench.item_state(at=last) is ItemState.CAPPED
    assert bench.item_state(at=STARTS + YEAR) is ItemState.ACTIVE
    fill(bench, STARTS + YEAR, *"AB")
    assert (bench.consumed(year=0), bench.consumed(year=1)) == (2, 1)
    counters = bench.counters(at=STARTS + YEAR)
    assert (counters.budget_year, counters.consumed, counters.percent) == (1, 1, "50.00")


def test_n5_the_slot_and_not_the_arrival_says_which_year_it_is() -> None:
    bench = limited(1, expires_at="2034-01-01T00:00:00Z")
    last = STARTS + YEAR - SLOT_LENGTH
    for client in "AB":
        bench.use(client, last, last + 10 * DAY)
    assert (bench.consumed(year=0), bench.consumed(year=1)) == (1, 0)


def test_n5_g9_a_slot_that_began_before_the_start_is_of_the_first_year() -> None:
    bench = limited(1, starts_at=SLOT + MINUTE)
    fill(bench, SLOT, *"AB")
    assert bench.consumed(year=0) == 1


def test_n6_consumed_never_falls_within_a_year() -> None:
    bench = limited(1)
    seen = []
    for number, clients in enumerate(("AB", "A", "", "ABC")):
        fill(bench, SLOT + number * SLOT_LENGTH, *clients)
        seen.append(bench.consumed())
    bench.adopt(organization(item(charge_way=DEVICE, quota=100)))
    seen.append(bench.consumed())
    assert seen == [1, 1, 1, 3, 3]


def test_n7_use_over_the_cap_is_counted_flagged_and_adds_exceptions() -> None:
    bench = limited(1, overuse_budget=1)
    assert fill(bench, SLOT, *"ABCD") == ["quota", "grace", "over", "over"]
    assert (bench.slot().exceptions, bench.consumed()) == (3, 3)
    assert (bench.state.outcomes[Outcome.CHARGED], bench.project()) == (4, {"qr": 4})


@BOTH
@pytest.mark.parametrize(
    ("at", "end"),
    [
        (SLOT, SLOT + 2 * SLOT_LENGTH),
        (SLOT + SLOT_LENGTH - timedelta(milliseconds=1), SLOT + 2 * SLOT_LENGTH),
        (SLOT + SLOT_LENGTH, SLOT + 3 * SLOT_LENGTH),
    ],
    ids=["start", "end", "next"],
)
def test_n8_a_lease_runs_to_the_end_of_the_next_slot(way: str, at: datetime, end: datetime) -> None:
    assert limited(2, way).authorize(at=at).local_expires_ms == ms(end)


def test_n8_a_lease_ends_and_makes_room() -> None:
    bench = limited(1, overuse_budget=1)
    fill(bench, SLOT, *"AB")
    at = SLOT + HOUR
    assert refused(bench.authorize("C", at=at)) is None
    waits = [refused(bench.authorize("D", at=at + minutes * MINUTE)) for minutes in (0, 5, 6)]
    assert waits == [120, 120, None]


def test_e22_one_device_in_two_projects_is_one_in_a_slot() -> None:
    names = [PROJECT, f"{ORGANIZATION}-other"]
    projects = [{"project_id": name, "item_ids": ["41"]} for name in names]
    bench = Bench(organization(item(charge_way=DEVICE, quota=1), projects=projects))
    for name in names:
        bench.use("A", project_id=name)
    assert (bench.slot().total, bench.consumed()) == (1, 0)


def test_i1_a_request_of_up_to_n_is_granted_on_each_server() -> None:
    bench = limited(6, INSTANCE)
    granted = [bench.authorize(f"server-{n}", requested_instances=6).outcome.value for n in range(4)]
    assert granted == ["granted"] * 4


def test_i1_more_than_n_is_refused() -> None:
    answer = limited(6, INSTANCE).authorize(requested_instances=7)
    assert answer.code is RefusalCode.REQUEST_COUNT_EXCEEDED


def test_i2_in_a_slot_with_use_all_declared_seats_count() -> None:
    bench = limited(6, INSTANCE)
    bench.authorize("A", at=SLOT, requested_instances=5)
    bench.use("A", SLOT, counts={"core": 1}, instances=5)  # one instance was busy
    bench.use("A", SLOT + SLOT_LENGTH, counts={}, instances=5)
    assert [bench.slot(SLOT + number * SLOT_LENGTH).total for number in range(3)] == [5, 0, 0]


@pytest.mark.parametrize(
    ("declared", "seats"),
    [
        pytest.param([3, 5], 5, id="E27 three and five"),
        pytest.param([5, 3], 5, id="E27 five and three"),
        pytest.param([None], 1, id="nothing declared"),
        pytest.param([None, None], 1, id="twice nothing"),
        pytest.param([None, 4], 4, id="nothing and four"),
    ],
)
def test_i3_the_programs_of_a_device_share_its_seats(declared: list[int | None], seats: int) -> None:
    bench = limited(2, INSTANCE)
    for instances in declared:
        bench.use("A", instances=instances)
    assert (bench.slot().total, bench.slot().exceptions) == (seats, max(0, seats - 2))
    assert bench.consumed() == max(0, seats - 2)


def test_i3_instances_mean_nothing_to_an_item_that_counts_devices() -> None:
    bench = limited(2)
    bench.use("A", instances=9)
    assert bench.slot().total == 1


def test_i4_exceptions_are_of_the_sum_of_seats() -> None:
    bench = limited(4, INSTANCE)
    added = [bench.use(client, instances=x).lines[0].exceptions for client, x in (("A", 3), ("B", 3), ("A", 5))]
    assert (added, bench.slot().total, bench.consumed()) == ([0, 2, 2], 8, 4)


def test_i4_the_budget_year_turns_for_instances_too() -> None:
    bench = limited(1, INSTANCE, expires_at="2034-01-01T00:00:00Z")
    bench.use("A", STARTS + YEAR - SLOT_LENGTH, instances=3)
    bench.use("A", STARTS + YEAR, instances=2)
    assert (bench.consumed(year=0), bench.consumed(year=1)) == (2, 1)


def test_i5_a_request_is_granted_whole_or_refused() -> None:
    bench = limited(6, INSTANCE, overuse_budget=1)
    bench.use("x", instances=7)
    at = SLOT + HOUR
    asked = [("A", 4), ("B", 3), ("B", 2), ("C", 1), ("A", 4), ("A", 5)]
    codes = [refused(bench.authorize(client, at=at, requested_instances=x)) for client, x in asked]
    assert codes == [None, 120, None, 120, None, 120]


def test_i6_more_instances_than_n_are_counted_as_sent() -> None:
    bench = limited(2, INSTANCE)
    decision = bench.use("A", instances=50)
    assert decision.outcome is Outcome.CHARGED
    assert (bench.slot().total, bench.consumed()) == (50, 48)


@BOTH
def test_without_quota_no_slot_has_exceptions(way: str) -> None:
    bench = limited(None, way)
    assert fill(bench, SLOT, *"ABCDEF") == ["quota"] * 6
    assert (bench.slot().total, bench.consumed(), bench.counters().percent) == (6, 0, None)
