"""Counters, and the organization's record."""

from typing import Any

from licmeter.metering.counters import item_counters, organization_counters
from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import ItemUse, OrganizationState
from licmeter.schemas.catalog import LicenseItem
from licmeter.schemas.outcomes import Outcome
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import HOUR, MINUTE

CHECK = SLOT + 10 * MINUTE
DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def metered(**changes: Any) -> MeteredItem:
    return MeteredItem.of(LicenseItem.model_validate(item(**changes)))


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
