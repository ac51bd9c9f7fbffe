"""Items and slots, to the last instant (domain, sections 2 and 3)."""

from datetime import datetime
from typing import Any

import pytest

from licmeter.metering.items import DAY_MS, MeteredItem, instant_ms
from licmeter.metering.slots import SLOT_SECONDS, SLOTS_PER_DAY, slot_index
from licmeter.schemas.catalog import LicenseItem
from tests.support.build import item, ms
from tests.unit.metering.bench import DAY, instant

DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def metered(**changes: Any) -> MeteredItem:
    return MeteredItem.of(LicenseItem.model_validate(item(**changes)))


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
