"""Slots and clocks (domain, section 3)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.metering.slots import is_late, slot_end, slot_index, slot_start
from licmeter.schemas.outcomes import ItemState, Outcome
from tests.support.build import RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, SLOT_LENGTH, Bench, instant

CASES = [
    ("2031-03-08T14:14:59.999+00:00", "2031-03-08T14:12:00+00:00", 284),
    ("2031-03-08T14:17:42.500+00:00", "2031-03-08T14:15:00+00:00", 285),
    ("2031-03-08T06:00:00.000+00:00", "2031-03-08T06:00:00+00:00", 120),
    ("2031-03-08T23:59:59.999+00:00", "2031-03-08T23:57:00+00:00", 479),
    ("2031-03-08T01:01:30+05:30", "2031-03-07T19:30:00+00:00", 390),
]


@pytest.mark.parametrize(("moment", "start", "index"), CASES, ids=[case[0] for case in CASES])
def test_example_3_t2_slots_of_five_instants(moment: str, start: str, index: int) -> None:
    epoch = int(instant(moment).timestamp())
    assert slot_start(epoch) == int(instant(start).timestamp())
    assert slot_index(epoch) == index


def test_t1_input_with_an_offset_is_converted() -> None:
    bench = Bench(organization(item()))
    bench.count(
        {
            "specversion": "1.0",
            "type": "license.usage.report.v1",
            "id": "r",
            "source": "device-1",
            "subject": "300417-kiosk",
            "time": "2031-03-08T15:30:00+05:30",
            "data": {"counts": {"qr": 4}},
        },
        RECEIVED,
    )
    assert bench.recount.units["300417", "300417-kiosk"] == {ms(SLOT) // 1000: {"qr": 4}}


def test_t2_an_instant_on_a_boundary_is_in_the_later_slot() -> None:
    assert [slot_start(epoch) for epoch in (179, 180, 359, 360)] == [0, 180, 180, 360]
    assert slot_end(180) == slot_start(360)


def test_t3_a_day_has_480_slots_an_hour_20() -> None:
    midnight = int(instant("2031-03-08T00:00:00Z").timestamp())
    assert [slot_index(midnight + 180 * number) for number in range(480)] == list(range(480))
    for seconds, slots in ((3_600, 20), (7_200, 40)):
        assert len({slot_start(midnight + second) for second in range(seconds)}) == slots


def test_t3_no_slot_straddles_midnight() -> None:
    midnight = int(instant("2031-03-09T00:00:00Z").timestamp())
    assert slot_start(midnight) == midnight
    assert slot_end(slot_start(midnight - 1)) == midnight


def test_t4_an_operation_belongs_to_its_slot_whenever_it_is_reported() -> None:
    bench = Bench(organization(item()))
    for days in (0, 1, 29):
        bench.send(RECEIVED + days * DAY, counts={"qr": 2})
    assert bench.recount.units["300417", "300417-kiosk"] == {ms(SLOT) // 1000: {"qr": 6}}


def test_t5_the_slot_rules_concurrency() -> None:
    bench = Bench(organization(item(charge_way="per_concurrent_device", quota=1)))
    bench.use("A", SLOT, RECEIVED)
    bench.use("B", SLOT - SLOT_LENGTH, RECEIVED)  # arrives together, was active before
    assert (bench.slot(SLOT).total, bench.slot(SLOT - SLOT_LENGTH).total, bench.consumed()) == (1, 1, 0)


def test_t5_the_slot_rules_the_validity_of_an_item() -> None:
    bench = Bench(organization(item(expires_at=SLOT + SLOT_LENGTH, expiry_grace_days=0)))
    assert bench.send(RECEIVED + DAY).outcome is Outcome.CHARGED
    assert bench.send(RECEIVED + DAY, slot=SLOT + SLOT_LENGTH).outcome is Outcome.UNCHARGED


def test_t5_the_arrival_of_a_report_rules_its_seat() -> None:
    bench = Bench(organization(item(charge_way="per_device", activity_period="daily", quota=5)))
    arrival = SLOT + 10 * DAY
    bench.use("A", SLOT, arrival)
    assert bench.seats().seats["A"].expires_ms == ms(arrival + DAY)


def test_t5_the_instant_of_an_authorization_rules_its_seat() -> None:
    bench = Bench(organization(item(charge_way="per_device", activity_period="daily", quota=5)))
    bench.authorize("A", at=SLOT, received=SLOT + HOUR)
    assert bench.seats().seats["A"].expires_ms == ms(SLOT + DAY)


def test_t5_the_arrival_rules_the_duplicate_horizon() -> None:
    bench = Bench(organization(item()))
    bench.send(SLOT + 20 * DAY, report_id="same")
    assert bench.send(SLOT + 30 * DAY, report_id="same").outcome is Outcome.DUPLICATE
    late = SLOT + 52 * DAY  # 32 days after the arrival, 52 after the slot
    assert bench.send(late, report_id="same", slot=late).outcome is Outcome.REJECTED


def test_t5_the_check_rules_what_an_alert_says() -> None:
    bench = Bench(organization(item(charge_way="per_device", activity_period="daily", quota=1)))
    bench.authorize("A", at=SLOT)
    assert bench.item_state(at=SLOT + DAY) is ItemState.ACTIVE
    assert bench.check(SLOT + DAY) is None
    alert = bench.check(SLOT + DAY - timedelta(minutes=10))
    assert alert is not None
    assert alert.conditions[0].state is ItemState.BLOCKED


@given(st.integers(min_value=0, max_value=10**11))
def test_invariant_9_slot_start_is_idempotent(epoch: int) -> None:
    assert slot_start(slot_start(epoch)) == slot_start(epoch) <= epoch < slot_start(epoch) + 180


def test_t6_a_report_is_late_from_six_minutes_after_the_slot() -> None:
    assert not is_late(slot_s=0, received_ms=540_000 - 1)
    assert is_late(slot_s=0, received_ms=540_000)


def test_t6_a_late_report_counts_all_the_same() -> None:
    bench = Bench(organization(item(quota=2)))
    decision = bench.send(SLOT + timedelta(minutes=9), counts={"qr": 2})
    assert decision.outcome is Outcome.CHARGED
    assert bench.parts() == (2, 0, 0)
    assert [fact.late for fact in decision.breaches] == [True, True]
