"""The header of an item, for each charge way (domain, Q2)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from licmeter.analytics.statistics.items import ItemHeader, item_headers
from licmeter.schemas.catalog import LicenseFile, LicenseItem, Organization, Project
from licmeter.schemas.outcomes import ActivityPeriod, ChargeWay, ItemState

NOW = datetime(2031, 3, 8, 12, tzinfo=UTC)
START = datetime(2031, 1, 1, tzinfo=UTC)


def header(
    way: ChargeWay,
    quota: int | None,
    counters: dict[str, Any] | None = None,
    *,
    active: int = 0,
    peak: int = 0,
    now: datetime = NOW,
    **fields: Any,
) -> ItemHeader:
    period = {"activity_period": ActivityPeriod.MONTHLY} if way is ChargeWay.PER_DEVICE else {}
    if way is ChargeWay.PER_DOMAIN:
        fields["validation_fields"] = [{"kind": "domain", "value": "example.org"}]
    values = {"starts_at": START, "expires_at": datetime(2031, 12, 31, 23, 59, 59, tzinfo=UTC)} | period | fields
    item = LicenseItem(item_id="41", charge_way=way, quota=quota, **values)
    document = Organization(
        organization_id="300417",
        license_files=(LicenseFile(license_id="L1", alias="first", items=(item,)),),
        projects=(Project(project_id="300417-b", item_ids=("41",)), Project(project_id="300417-a", item_ids=("41",))),
    )
    rows = [] if counters is None else [{"item_id": "41"} | counters]
    (found,) = item_headers(document, rows, {"41": active}, {"41": peak}, now)
    return found


def test_q2_units_of_a_quota() -> None:
    found = header(ChargeWay.PER_PAGE, 2_000, {"used": 1_610, "attributed": 1_610}, modules=("core",))
    assert found.text == "1,610 of 2,000 pages used (80.50 %)"
    assert (found.percent, found.state, found.license_id, found.license_alias) == ("80.50", "active", "L1", "first")
    assert found.project_ids == ("300417-a", "300417-b")
    assert found.expires_at == datetime(2032, 1, 1, tzinfo=UTC)


def test_q2_percent_is_half_up_and_may_exceed_100() -> None:
    assert header(ChargeWay.PER_SCAN, 3, {"used": 2}).percent == "66.67"
    assert header(ChargeWay.PER_SCAN, 2_000, {"used": 2_135}).percent == "106.75"


def test_e28_no_quota_has_no_percent() -> None:
    found = header(ChargeWay.PER_SCAN, None, {"used": 7})
    assert (found.text, found.percent, found.limit) == ("7 scans used", None, None)


def test_q2_devices_are_those_that_live_now_whatever_the_counters_last_said() -> None:
    found = header(ChargeWay.PER_DEVICE, 5, {"active": 5, "attributed": 90}, active=2)
    assert (found.text, found.state) == ("2 of 5 devices used (40.00 %)", ItemState.ACTIVE)


def test_q2_concurrency_shows_peak_of_the_quota_and_consumed_of_the_budget() -> None:
    found = header(ChargeWay.PER_CONCURRENT_DEVICE, 4, {"consumed": 2_400, "budget_year": 0}, peak=7)
    assert found.text == "peak 7 of 4, 2,400 of 4,000 exceptions consumed (60.00 %)"
    assert found.state is ItemState.OVERUSING


def test_n5_a_new_budget_year_begins_with_nothing_consumed() -> None:
    later = START + timedelta(days=365)
    found = header(
        ChargeWay.PER_CONCURRENT_DEVICE,
        4,
        {"consumed": 4_000, "budget_year": 0},
        now=later,
        expires_at=START + timedelta(days=800),
    )
    assert (found.consumed, found.state) == (0, ItemState.ACTIVE)


def test_o4_a_domain_item_has_no_percent() -> None:
    found = header(ChargeWay.PER_DOMAIN, 1, {"attributed": 12})
    assert (found.text, found.percent) == ("12 units used", None)


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (START - timedelta(seconds=1), ItemState.PENDING),
        (datetime(2032, 1, 7, 23, 59, tzinfo=UTC), ItemState.ACTIVE),
        (datetime(2032, 1, 8, tzinfo=UTC), ItemState.EXPIRED),
    ],
)
def test_the_state_is_that_of_now(now: datetime, state: ItemState) -> None:
    found = header(ChargeWay.PER_SCAN, 10, {"used": 1, "state": "active"}, now=now)
    assert found.state is state
    assert found.in_expiry_grace is (now.year == 2032 and state is ItemState.ACTIVE)


def test_an_item_that_nobody_used_stands_at_zero() -> None:
    assert header(ChargeWay.PER_SCAN, 1).text == "0 of 1 scan used (0.00 %)"
