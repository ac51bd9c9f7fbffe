"""Items that count devices and servers (domain, 6.2 and 6.5)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from licmeter.metering.refused import Refused
from licmeter.schemas.outcomes import ItemState, Outcome, RejectReason
from tests.support.build import ORGANIZATION, RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, SLOT_LENGTH, Bench, charged

MS = timedelta(milliseconds=1)


def devices(quota: int | None = 5, period: str = "monthly", item_id: str = "41", **changes: Any) -> dict[str, Any]:
    return item(item_id, charge_way="per_device", activity_period=period, quota=quota, **changes)


def end_of(bench: Bench, client: str, item_id: str = "41") -> int:
    return bench.seats(item_id).seats[client].expires_ms


def test_example_6_2_v2_v4_v5_monthly_devices() -> None:
    bench = Bench(organization(devices(5)))

    def stands(day: int) -> tuple[int, str | None, ItemState]:
        counters = bench.counters(at=SLOT + day * DAY)
        return counters.active, counters.percent, counters.state

    for client in "ABCDE":
        bench.authorize(client, at=SLOT)
    assert stands(0) == (5, "100.00", ItemState.GRACE)
    bench.authorize("F", at=SLOT + DAY)
    assert stands(1) == (6, "120.00", ItemState.BLOCKED)
    refused = bench.authorize("G", at=SLOT + 2 * DAY)
    assert refused.code is not None
    assert (refused.outcome, refused.code.number) == ("refused", 120)
    bench.use("A", SLOT + 20 * DAY, SLOT + 20 * DAY)
    assert end_of(bench, "A") == ms(SLOT + 50 * DAY)
    assert stands(30) == (2, "40.00", ItemState.ACTIVE)
    assert bench.authorize("G", at=SLOT + 30 * DAY).outcome == "granted"
    assert stands(30) == (3, "60.00", ItemState.ACTIVE)
    assert stands(31) == (2, "40.00", ItemState.ACTIVE)


@pytest.mark.parametrize(
    ("period", "lives"),
    [("yearly", 365 * DAY), ("quarterly", 90 * DAY), ("monthly", 30 * DAY), ("daily", 24 * HOUR)],
)
def test_v1_the_active_time_rolls(period: str, lives: timedelta) -> None:
    bench = Bench(organization(devices(period=period, expires_at="2040-01-01T00:00:00Z")))
    bench.authorize("A", at=SLOT + 7 * MINUTE)
    assert end_of(bench, "A") == ms(SLOT + 7 * MINUTE + lives)


def test_v2_each_contact_moves_the_end() -> None:
    bench = Bench(organization(devices()))
    bench.authorize("A", at=SLOT)
    bench.use("A", SLOT, SLOT + DAY)
    assert end_of(bench, "A") == ms(SLOT + 31 * DAY)
    answer = bench.authorize("A", at=SLOT + 2 * DAY)
    assert answer.local_expires_ms == end_of(bench, "A") == ms(SLOT + 32 * DAY)
    seat = bench.seats().seats["A"]
    assert (seat.first_ms, seat.last_ms) == (ms(SLOT), ms(SLOT + 2 * DAY))


def test_v2_no_seat_outlives_the_item() -> None:
    bench = Bench(organization(devices(expires_at=SLOT + 10 * DAY)))
    bench.authorize("A", at=SLOT)
    assert end_of(bench, "A") == ms(SLOT + 10 * DAY)


def test_v2_during_expiry_grace_the_cap_is_the_end_of_the_grace() -> None:
    bench = Bench(organization(devices(expires_at=SLOT, expiry_grace_days=7)))
    bench.authorize("A", at=SLOT - MS)
    bench.authorize("B", at=SLOT)
    assert (end_of(bench, "A"), end_of(bench, "B")) == (ms(SLOT), ms(SLOT + 7 * DAY))


def test_v2_g5_a_contact_without_use_refreshes_a_seat_and_takes_none() -> None:
    bench = Bench(organization(devices()))
    bench.use("A")
    for client in "AB":
        bench.use(client, SLOT, SLOT + DAY, counts={})
    assert end_of(bench, "A") == ms(SLOT + 31 * DAY)
    assert bench.active(SLOT + DAY) == 1


@pytest.mark.parametrize("contact", ["authorization", "report"])
def test_v3_a_seat_ends_at_its_end_exactly(contact: str) -> None:
    bench = Bench(organization(devices(period="daily")))
    if contact == "report":
        bench.use("A", SLOT, SLOT)
    else:
        bench.authorize("A", at=SLOT)
    assert [bench.active(at) for at in (SLOT + DAY - MS, SLOT + DAY)] == [1, 0]


def test_v4_a_new_device_is_refused_at_the_limit_and_a_seated_one_passes() -> None:
    bench = Bench(organization(devices(5)))  # and one in grace
    outcomes = [bench.authorize(client).outcome.value for client in "ABCDEFG"]
    assert outcomes == ["granted"] * 6 + ["refused"]
    assert [bench.authorize(client).outcome.value for client in "AF"] == ["granted", "granted"]
    assert bench.active(RECEIVED) == 6


def test_v4_invariant_4_seats_above_the_limit_still_pass_when_the_quota_was_lowered() -> None:
    bench = Bench(organization(devices(5)))
    for client in "ABCDE":
        bench.authorize(client)
    bench.adopt(organization(devices(1)))
    assert bench.active(RECEIVED) == 5
    assert {bench.authorize(client).outcome.value for client in "ABCDE"} == {"granted"}
    assert {bench.use(client).lines[0].tier.value for client in "ABCDE"} == {"quota"}
    assert bench.authorize("F").outcome == "refused"


def test_v4_the_tier_says_in_which_pass_a_seat_was_found() -> None:
    bench = Bench(organization(devices(5)))
    assert [bench.use(client).lines[0].tier.value for client in "ABCDEFG"] == ["quota"] * 5 + ["grace", ""]


def test_v5_the_item_leaves_blocked_and_grace_by_itself() -> None:
    bench = Bench(organization(devices(5, "daily")))
    for number, client in enumerate("ABCDEF"):
        bench.authorize(client, at=SLOT + number * HOUR)
    later = [bench.item_state(at=SLOT + DAY + number * HOUR - MS) for number in range(3)]
    assert later == [ItemState.BLOCKED, ItemState.GRACE, ItemState.ACTIVE]
    assert bench.authorize("G", at=SLOT + DAY).outcome == "granted"  # A has just ended


def test_v6_a_device_stays_with_its_item() -> None:
    first, second = devices(1, item_id="1"), devices(5, item_id="2", expires_at="2031-12-01T00:00:00Z")
    bench = Bench(organization(first))
    bench.authorize("A")
    bench.adopt(organization(first, second))  # the second is used first from now on
    assert charged(bench.use("A")) == [("qr", "1", 1)]
    assert bench.authorize("A").item_id == "1"
    assert charged(bench.use("B")) == [("qr", "2", 1)]
    assert (bench.active(RECEIVED, "1"), bench.active(RECEIVED, "2")) == (1, 1)


def test_v6_a_second_item_only_without_a_live_seat_on_any_eligible_one() -> None:
    first, second = devices(1, "daily", item_id="1"), devices(5, "yearly", item_id="2")
    bench = Bench(organization(first, second, project={"usage_order": ["1", "2"]}))
    bench.authorize("A", at=SLOT)
    bench.authorize("B", at=SLOT + DAY)  # A's seat has ended
    assert bench.authorize("A", at=SLOT + DAY).item_id == "2"
    assert [bench.active(SLOT + DAY, name) for name in "12"] == [1, 1]


def test_v6_e22_one_seat_whichever_projects_it_comes_from() -> None:
    names = [f"{ORGANIZATION}-{name}" for name in "KM"]
    projects = [{"project_id": name, "item_ids": ["41"]} for name in names]
    bench = Bench(organization(devices(1), projects=projects, default_project_id=None))
    for name in names:
        assert bench.authorize("A", project_id=name).outcome == "granted"
        assert bench.use("A", project_id=name).outcome is Outcome.CHARGED
    assert bench.active(RECEIVED) == 1


@pytest.mark.parametrize("other", ["a", "A ", "Ä", "A\u0308", "https://shop.example.org:8443", "x" * 128])
def test_v7_a_device_is_its_uuid_byte_for_byte(other: str) -> None:
    bench = Bench(organization(devices()))
    bench.use("A")
    bench.use(other)
    assert bench.active(RECEIVED) == 2


def test_v8_e24_a_reinstalled_device_takes_a_second_seat_until_the_first_ends() -> None:
    bench = Bench(organization(devices()))
    bench.use("before", SLOT, SLOT)
    bench.use("after", SLOT + DAY, SLOT + DAY)
    assert [bench.active(SLOT + days * DAY) for days in (1, 29, 30, 31)] == [2, 2, 1, 0]


@pytest.mark.parametrize("kind", ["license.release.v1", "license.seat.released.v1"])
def test_v9_nothing_frees_a_seat_but_time(kind: str) -> None:
    bench = Bench(organization(devices()))
    bench.use("A")
    event = {"specversion": "1.0", "type": kind, "id": "x", "source": "A", "subject": f"{ORGANIZATION}-kiosk"}
    answer = bench.count(event | {"time": RECEIVED, "data": {}}, RECEIVED)
    assert isinstance(answer, Refused)
    assert answer.reason is RejectReason.UNKNOWN_EVENT_TYPE
    bench.adopt(organization())
    bench.adopt(organization(devices()))  # nor does taking the item away for a while
    assert bench.active(RECEIVED) == 1


def test_e19_a_report_without_an_authorization_takes_a_free_seat() -> None:
    bench = Bench(organization(devices(1)))
    assert bench.use("A").outcome is Outcome.CHARGED
    assert bench.use("B").outcome is Outcome.UNCHARGED
    assert bench.kinds() == ["quota_reached", "grace_exhausted", "device_refused", "unlicensed_use"]


def test_e19_a_refused_device_is_charged_when_a_seat_is_free() -> None:
    bench = Bench(organization(devices(1, "daily")))
    bench.authorize("A", at=SLOT)
    assert bench.authorize("B", at=SLOT).outcome == "refused"
    assert bench.use("B", SLOT + DAY, SLOT + DAY).outcome is Outcome.CHARGED


def test_e23_a_device_that_comes_back_has_a_new_seat() -> None:
    bench = Bench(organization(devices(period="daily")))
    for days in (0, 3):
        bench.authorize("A", at=SLOT + days * DAY)
    seat = bench.seats().seats["A"]
    assert (seat.first_ms, seat.expires_ms) == (ms(SLOT + 3 * DAY), ms(SLOT + 4 * DAY))
    assert len(bench.seats().seats) == 1


def test_g4_a_recorded_refusal_takes_no_seat_and_a_refused_grant_neither() -> None:
    bench = Bench(organization(devices(1)))
    assert bench.authorize("A", result="refused", code="limit_exceeded").outcome == "refused"
    assert bench.active(RECEIVED) == 0
    bench.authorize("B")
    raced = bench.authorize("C", result="ok", item_id="41")
    assert (raced.outcome, raced.agrees) == ("granted", False)  # as recorded
    assert bench.active(RECEIVED) == 1


def test_s1_a_server_is_counted_like_a_device() -> None:
    bench = Bench(organization(item(charge_way="per_server", quota=5)))
    outcomes = [bench.authorize(client, at=SLOT).outcome.value for client in "ABCDEFG"]
    assert outcomes == ["granted"] * 6 + ["refused"]
    counters = bench.counters(at=SLOT)
    assert (counters.active, counters.percent, counters.state) == (6, "120.00", ItemState.BLOCKED)
    assert bench.use("A").outcome is Outcome.CHARGED


def test_s2_a_server_seat_lives_365_days() -> None:
    bench = Bench(organization(item(charge_way="per_server", quota=2, expires_at="2040-01-01T00:00:00Z")))
    bench.use("A", SLOT, SLOT)
    assert end_of(bench, "A") == ms(SLOT + 365 * DAY)


@pytest.mark.parametrize(("quota", "limit"), [(1, 1), (4, 4), (5, 6), (15, 17), (25, 28)])
def test_s2_ten_percent_grace_and_none_for_one_server(quota: int, limit: int) -> None:
    bench = Bench(organization(item(charge_way="per_server", quota=quota)))
    outcomes = [bench.authorize(str(number)).outcome.value for number in range(limit + 1)]
    assert outcomes == ["granted"] * limit + ["refused"]


@pytest.mark.parametrize(("quota", "limit"), [(4, 4), (5, 6), (15, 17), (25, 28)])
def test_example_6_v4_rounding_of_ten_percent(quota: int, limit: int) -> None:
    bench = Bench(organization(devices(quota)))
    for number in range(limit + 3):
        bench.use(str(number))
    assert bench.active(RECEIVED) == limit


def contact_at(bench: Bench, at: datetime) -> int:
    bench.use("A", SLOT, at)
    return end_of(bench, "A")


def test_g1_contacts_out_of_order_never_shorten_a_seat() -> None:
    bench = Bench(organization(devices(period="daily")))
    assert contact_at(bench, SLOT + HOUR) == ms(SLOT + HOUR + DAY)
    bench.authorize("A", at=SLOT + 30 * MINUTE, received=SLOT + HOUR + SLOT_LENGTH)
    assert end_of(bench, "A") == ms(SLOT + HOUR + DAY)
