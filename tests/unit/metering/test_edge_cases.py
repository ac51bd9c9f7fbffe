"""The edge cases of the domain, section 13, that no other file shows, or that several rules meet in."""

from datetime import timedelta
from typing import Any

import pytest

from licmeter.metering.meter import Decision
from licmeter.schemas.outcomes import ItemState, Outcome, RejectReason
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, SLOT_LENGTH, Bench, charged

MONTHLY = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}
END = SLOT + 10 * DAY


def code(answer: Any) -> int | None:
    return None if answer.code is None else answer.code.number


def renewal(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an old item, and the one that follows it where it ends."""
    old = item("old", quota=10, expires_at=END, expiry_grace_days=0) | changes
    return old, old | {"item_id": "new", "starts_at": END, "expires_at": END + 365 * DAY}


def test_e1_a_clock_five_minutes_ahead_is_accepted_in_the_claimed_slot() -> None:
    bench = Bench(organization(item()))
    assert bench.send(SLOT - 5 * MINUTE).outcome is Outcome.CHARGED
    assert list(bench.recount.units[ORGANIZATION, PROJECT]) == [ms(SLOT) // 1000]


@pytest.mark.parametrize(
    ("received", "changes", "reason"),
    [
        (SLOT - 5 * MINUTE - timedelta(milliseconds=1), {}, RejectReason.FUTURE_SLOT),
        (SLOT, {"sent_at": SLOT + DAY + MINUTE}, RejectReason.CLOCK_SKEW),
        (SLOT, {"sent_at": SLOT - DAY - MINUTE}, RejectReason.CLOCK_SKEW),
    ],
    ids=["ahead", "sent a day ahead", "sent a day behind"],
)
def test_e2_a_clock_further_off_is_rejected_and_said(received: Any, changes: Any, reason: RejectReason) -> None:
    bench = Bench(organization(item()))
    assert bench.try_to_send(received, **changes).reason is reason
    assert bench.kinds() == ["clock_skew"]
    assert (bench.project() if bench.recount.units[ORGANIZATION, PROJECT] else {}) == {}


def test_e3_a_clock_behind_by_less_than_a_day_is_accepted() -> None:
    bench = Bench(organization(item()))
    decision = bench.send(SLOT + 23 * HOUR, sent_at=SLOT + MINUTE)
    assert decision.outcome is Outcome.CHARGED


@pytest.mark.parametrize("changes", [{"charge_way": "per_scan"}, MONTHLY], ids=["cumulative", "device"])
def test_e4_no_period_reset(changes: dict[str, Any]) -> None:
    bench = Bench(organization(item(quota=10, **changes, expires_at="2034-01-01T00:00:00Z")))
    for number in range(3):
        bench.use(str(number), SLOT + 400 * DAY - number * DAY, SLOT + 400 * DAY, counts={"qr": 1})
    before = bench.counters(at=SLOT + 400 * DAY)
    assert (before.used, before.active) == ((3, 0) if changes["charge_way"] == "per_scan" else (0, 3))
    for at in (SLOT + 401 * DAY, SLOT + 429 * DAY):
        assert bench.counters(at=at).percent == before.percent


def test_e5_a_renewal_starts_at_zero() -> None:
    old, new = renewal()
    bench = Bench(organization(old))
    bench.send(counts={"qr": 9})
    bench.adopt(organization(old, new))
    bench.use("A", END, counts={"qr": 4})
    assert (bench.parts("old"), bench.parts("new")) == ((9, 0, 0), (4, 0, 0))
    assert (bench.item_state("old", END), bench.item_state("new", END)) == (ItemState.EXPIRED, ItemState.ACTIVE)


def test_e6_an_early_renewal_leaves_the_old_one_first() -> None:
    old, new = renewal()
    bench = Bench(organization(new | {"starts_at": SLOT}, old))
    bench.send(counts={"qr": 12})
    assert (bench.parts("old"), bench.parts("new")) == ((10, 0, 0), (2, 0, 0))


def test_e7_seats_are_not_moved_and_the_next_contact_seats_the_device_on_the_new_item() -> None:
    old, new = renewal(**MONTHLY)
    bench = Bench(organization(old, new))
    for client in "AB":
        bench.authorize(client, at=SLOT)
    assert (bench.active(END - MINUTE, "old"), bench.active(END, "old"), bench.active(END, "new")) == (2, 0, 0)
    assert bench.authorize("A", at=END + HOUR).item_id == "new"
    assert (bench.active(END + HOUR, "old"), bench.active(END + HOUR, "new")) == (0, 1)


def test_e8_more_quota_is_a_new_item_and_changes_no_percent() -> None:
    bench = Bench(organization(item("1", quota=10, expires_at="2031-06-01T00:00:00Z")))
    bench.send(counts={"qr": 8})
    bench.adopt(organization(item("1", quota=10, expires_at="2031-06-01T00:00:00Z"), item("2", quota=10)))
    assert [bench.counters(name).percent for name in "12"] == ["80.00", "0.00"]
    bench.send(counts={"qr": 4})
    assert [bench.counters(name).percent for name in "12"] == ["100.00", "20.00"]


def test_e9_an_edited_quota_changes_percent_and_state_at_once() -> None:
    bench = Bench(organization(item(quota=100)))
    bench.send(counts={"qr": 90})
    for quota, percent, state in (
        (80, "112.50", ItemState.BLOCKED),
        (90, "100.00", ItemState.GRACE),
        (1_000, "9.00", ItemState.ACTIVE),
    ):
        bench.adopt(organization(item(quota=quota)))
        counters = bench.counters()
        assert (counters.percent, counters.state) == (percent, state)


def test_e9_a_quota_below_the_use_alerts() -> None:
    bench = Bench(organization(item(quota=100)))
    bench.send(counts={"qr": 50})
    assert bench.check(SLOT + 10 * MINUTE) is None
    bench.adopt(organization(item(quota=40)))
    alert = bench.check(SLOT + 20 * MINUTE)
    assert alert is not None
    assert alert.conditions[0].crossed == (60, 80, 100)


def test_e10_a_disabled_project_refuses_with_104() -> None:
    bench = Bench(organization(item(), project={"disabled_at": SLOT}))
    assert code(bench.authorize(at=SLOT - MINUTE)) is None
    assert code(bench.authorize(at=SLOT)) == 104
    assert bench.send(slot=SLOT - SLOT_LENGTH, received=SLOT + DAY).outcome is Outcome.CHARGED
    assert bench.send(slot=SLOT, received=SLOT + DAY).reason is RejectReason.PROJECT_DISABLED


def test_e11_two_items_of_one_file_are_independent() -> None:
    bench = Bench(organization(item("1", quota=10, modules=["qr"]), item("2", quota=20, modules=["core"])))
    bench.send(counts={"qr": 10, "core": 1})
    assert [bench.counters(name).percent for name in "12"] == ["100.00", "5.00"]
    assert [bench.item_state(name) for name in "12"] == [ItemState.GRACE, ItemState.ACTIVE]


def test_e12_use_before_the_expiry_is_charged_when_it_arrives_after() -> None:
    bench = Bench(organization(item(expires_at="2031-03-08T12:00:00Z", expiry_grace_days=0)))
    assert bench.send(received=RECEIVED + 10 * DAY).outcome is Outcome.CHARGED


@pytest.mark.parametrize(
    ("days", "item_id", "flagged"),
    [(-1, "first", False), (0, "first", True), (6, "first", True), (7, "second", False)],
)
def test_e13_seven_days_after_the_expiry(days: int, item_id: str, flagged: bool) -> None:
    first = item("first", expires_at=SLOT)
    (line,) = Bench(organization(first, item("second"))).use("A", SLOT + days * DAY).lines
    assert (line.item_id, line.in_expiry_grace) == (item_id, flagged)


def test_e13_after_the_grace_and_without_another_item_use_is_uncharged() -> None:
    assert Bench(organization(item(expires_at=SLOT))).use("A", SLOT + 7 * DAY).outcome is Outcome.UNCHARGED


@pytest.mark.parametrize(("slot", "item_id"), [(SLOT, "first"), (SLOT + SLOT_LENGTH, "second")])
def test_e15_slots_that_began_before_the_revocation_are_charged(slot: Any, item_id: str) -> None:
    first = item("first", revoked_at=SLOT + MINUTE, expires_at="2031-12-01T00:00:00Z")
    bench = Bench(organization(first, item("second")))
    assert bench.use("A", slot, SLOT + DAY).lines[0].item_id == item_id


def test_e16_p2_a_removed_item_keeps_what_was_charged_to_it() -> None:
    bench = Bench(organization(item("old"), item("new", expires_at="2033-01-01T00:00:00Z")))
    bench.send(counts={"qr": 5})
    bench.adopt(organization(item("new")))
    bench.send(counts={"qr": 3})
    assert (bench.parts("old"), bench.parts("new")) == ((5, 0, 0), (3, 0, 0))
    assert bench.project() == {"qr": 8}


def test_e17_a_rejected_report_is_replayable_when_the_configuration_arrives() -> None:
    bench = Bench(organization(item()))
    other = f"{ORGANIZATION}-other"
    assert bench.send(report_id="same", project_id=other).reason is RejectReason.UNKNOWN_PROJECT
    assert (ORGANIZATION, other) not in bench.recount.units  # nothing is created
    projects = [{"project_id": name, "item_ids": ["41"]} for name in (PROJECT, other)]
    bench.adopt(organization(item(), projects=projects))
    assert bench.send(report_id="same", project_id=other).outcome is Outcome.CHARGED


def test_e17_an_unknown_organization_creates_nothing() -> None:
    bench = Bench(organization(item()))
    bench.recount.organizations.clear()
    answer = bench.try_to_send()
    assert isinstance(answer, Decision)
    assert answer.reason is RejectReason.UNKNOWN_PROJECT
    assert list(bench.recount.organizations) == [""]
    assert bench.kinds() == ["unknown_project"]


def test_e18_a_project_without_items() -> None:
    bench = Bench(organization())
    decision = bench.send(counts={"qr": 7})
    assert (decision.outcome, charged(decision)) == (Outcome.UNCHARGED, [("qr", "", 7)])
    assert code(bench.authorize()) == 104
    assert bench.project() == {"qr": 7}


def test_e19_a_device_that_was_refused_uses_a_cumulative_item_all_the_same() -> None:
    bench = Bench(organization(item(quota=1)))
    bench.send()
    assert code(bench.authorize()) == 120
    assert bench.send().outcome is Outcome.CHARGED
    assert bench.parts() == (1, 0, 1)


@pytest.mark.parametrize(
    "counts", [{"qr": -1}, {"qr": 1.5}, {"qr": 10**7}, {"qr": "1"}], ids=["negative", "fractional", "huge", "text"]
)
def test_e20_odd_counts_count_nothing(counts: dict[str, Any]) -> None:
    bench = Bench(organization(item()))
    bench.try_to_send(counts={"ean": 5} | counts)
    assert (bench.parts(), bench.recount.totals["rejected"]) == ((0, 0, 0), 1)


def test_e21_an_unknown_feature_is_counted_and_charged_only_to_items_that_cover_all() -> None:
    bench = Bench(organization(item("1", modules=["qr"]), item("2")))
    assert charged(bench.send(counts={"new-thing": 3})) == [("new-thing", "2", 3)]
    bench.adopt(organization(item("1", modules=["qr"])))
    assert charged(bench.send(counts={"new-thing": 4})) == [("new-thing", "", 4)]
    assert bench.project() == {"new-thing": 7}


def test_e25_a_report_through_main_and_standby_counts_once() -> None:
    bench = Bench(organization(item()))
    outcomes = [bench.send(RECEIVED + n * MINUTE, report_id="same", attempt=n + 1).outcome for n in range(2)]
    assert outcomes == [Outcome.CHARGED, Outcome.DUPLICATE]
    assert bench.parts() == (1, 0, 0)


@pytest.mark.parametrize("way", ["per_concurrent_device", "per_concurrent_instance"])
def test_e26_counts_add_up_for_one_active_device(way: str) -> None:
    bench = Bench(organization(item(charge_way=way, quota=1)))
    for count in (3, 4):
        bench.use("A", counts={"qr": count})
    assert (bench.slot().total, bench.consumed(), bench.counters().attributed) == (1, 0, 7)


def test_e28_devices_without_quota() -> None:
    bench = Bench(organization(item(quota=None, **MONTHLY)))
    for number in range(100):
        assert bench.use(str(number)).outcome is Outcome.CHARGED
    counters = bench.counters()
    assert (counters.active, counters.percent, counters.state) == (100, None, ItemState.ACTIVE)
    assert bench.check(SLOT + 10 * MINUTE) is None


def test_e29_both_breaches_of_one_report_have_ids_of_their_own() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 25})
    assert bench.kinds() == ["quota_reached", "grace_exhausted"]
    assert len({fact.breach_id for fact in bench.breaches}) == 2


def test_e30_stored_reports_go_each_to_its_slot() -> None:
    bench = Bench(organization(item(quota=1, **CONCURRENT)))
    for client in "AB":
        for days in range(30):
            bench.use(client, SLOT - days * DAY, SLOT)
    assert bench.consumed() == 30
    assert [bench.slot(SLOT - days * DAY).exceptions for days in range(30)] == [1] * 30


def test_e33_the_configuration_when_a_report_is_processed_decides() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 8})
    bench.adopt(organization(item(quota=5)))
    line = bench.send(counts={"qr": 1}).lines[0]  # of the same slot
    assert (line.in_quota, line.over) == (0, 1)
    bench.adopt(organization(item(quota=20)))
    line = bench.send(counts={"qr": 1}).lines[0]
    assert (line.in_quota, line.over) == (1, 0)
