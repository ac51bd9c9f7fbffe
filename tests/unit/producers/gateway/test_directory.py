from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from licmeter.producers.gateway.directory import Directory, Tenant
from licmeter.schemas.catalog import LicenseKey, Organization
from licmeter.schemas.counters import ItemCounters
from licmeter.schemas.license_keys import make_license_key
from tests.support.build import RECEIVED, item, ms, organization

_seeds = count()


def key(**fields: Any) -> tuple[str, LicenseKey]:
    text, kept = make_license_key(
        lambda size: bytes((next(_seeds) * 37 + n * 11) % 248 for n in range(size)), created_at=RECEIVED
    )
    return text, kept.model_copy(update=fields)


def with_keys(name: str, *keys: LicenseKey) -> Organization:
    kept = [each.model_dump() for each in keys]
    return organization(item(), organization_id=name, project={"license_keys": kept})


def counters(item_id: str = "41", offset: int = 1, **fields: Any) -> ItemCounters:
    base = {
        "organization_id": "300417",
        "source_partition": 0,
        "applied_offset": offset,
        "updated_at": RECEIVED,
        "item_id": item_id,
        "charge_way": "per_scan",
        "quota": 2_000,
        "used": 0,
        "in_quota": 0,
        "in_grace": 0,
        "over": 0,
        "percent": "0.00",
        "state": "active",
    }
    return ItemCounters.model_validate(base | fields)


def test_a_key_stands_for_its_project() -> None:
    directory, (text, kept) = Directory(), key()
    directory.adopt(with_keys("300417", kept))
    access = directory.access(text, RECEIVED)
    assert access is not None
    assert (access.organization_id, access.project_id, access.key_id) == ("300417", "300417-kiosk", kept.key_id)
    assert access.usable


@pytest.mark.parametrize(
    ("fields", "usable"),
    [
        ({"expires_at": RECEIVED}, False),
        ({"expires_at": RECEIVED + timedelta(seconds=1)}, True),
        ({"revoked_at": RECEIVED}, False),
        ({"revoked_at": RECEIVED + timedelta(seconds=1)}, True),
    ],
)
def test_a_key_ends(fields: dict[str, Any], usable: bool) -> None:
    directory, (text, kept) = Directory(), key(**fields)
    directory.adopt(with_keys("300417", kept))
    access = directory.access(text, RECEIVED)
    assert access is not None
    assert access.usable is usable


def test_only_the_whole_key_opens() -> None:
    directory, (text, kept), (other, _) = Directory(), key(), key()
    directory.adopt(with_keys("300417", kept))
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    for tried in ("", "lmk_", text[:-1], text + "x", wrong, other, f"lmk_{kept.key_id}_{other[-43:]}", text.lower()):
        assert directory.access(tried, RECEIVED) is None


def test_a_key_goes_with_its_document() -> None:
    directory, (old, kept), (new, renewed) = Directory(), key(), key()
    directory.adopt(with_keys("300417", kept))
    directory.adopt(with_keys("300417", renewed))
    assert directory.access(old, RECEIVED) is None
    assert directory.access(new, RECEIVED) is not None
    directory.remove("300417")
    assert directory.access(new, RECEIVED) is None


def test_nobody_takes_over_the_key_of_another() -> None:
    directory, (text, kept) = Directory(), key()
    directory.adopt(with_keys("300417", kept))
    directory.adopt(with_keys("300418", kept))
    access = directory.access(text, RECEIVED)
    assert access is not None
    assert access.organization_id == "300417"


def test_counters_may_come_before_the_catalog_and_older_ones_change_nothing() -> None:
    directory = Directory()
    directory.note(counters(offset=5, used=2_000, percent="100.00"))
    directory.adopt(organization(item()))
    tenant = directory.tenants["300417"]
    metered = tenant.catalog.items["41"]
    assert tenant.item_standing(metered, ms(RECEIVED)).to_json() == {
        "item_id": "41",
        "state": "grace",
        "percent": "100.00",
    }
    directory.note(counters(offset=4, used=3))
    assert tenant.item_standing(metered, ms(RECEIVED)).state == "grace"
    directory.note(counters(offset=6, used=2_100, percent="105.00"))
    assert tenant.item_standing(metered, ms(RECEIVED)).state == "blocked"


@pytest.mark.parametrize(
    ("way", "fields", "state"),
    [
        ({}, {"used": 1_999}, "active"),
        ({"charge_way": "per_device", "activity_period": "daily", "quota": 20}, {"active": 20}, "grace"),
        ({"charge_way": "per_device", "activity_period": "daily", "quota": 20}, {"active": 22}, "blocked"),
        ({"charge_way": "per_concurrent_device", "quota": 2}, {"consumed": 1, "budget_year": 0}, "overusing"),
        ({"charge_way": "per_concurrent_device", "quota": 2}, {"consumed": 2_000, "budget_year": 0}, "capped"),
        # Of a year that is over: the budget is a new one, though no message has said so yet.
        ({"charge_way": "per_concurrent_device", "quota": 2}, {"consumed": 2_000, "budget_year": 1}, "active"),
        ({"expires_at": "2031-03-01T00:00:00Z", "expiry_grace_days": 0}, {"used": 0}, "expired"),
        ({"starts_at": "2031-03-09T00:00:00Z"}, {"used": 0}, "pending"),
        ({"revoked_at": "2031-03-08T00:00:00Z"}, {"used": 0}, "revoked"),
    ],
)
def test_an_item_stands_as_its_counters_and_the_time_say(
    way: dict[str, Any], fields: dict[str, Any], state: str
) -> None:
    tenant = Tenant(organization(item(**way)))
    tenant.note(counters(**fields))
    assert tenant.item_standing(tenant.catalog.items["41"], ms(RECEIVED)).state == state
