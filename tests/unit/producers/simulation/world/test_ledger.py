"""The books of all charge ways by the worked examples of the domain, sections 6 and 7."""

from typing import Any

import pytest

from licmeter.producers.simulation.world import WorldLedger
from licmeter.producers.simulation.world.accounts import Caller
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import ItemState, Outcome, RejectReason

DAY_S = 86_400
NOW_S = 2_000_000_000 // DAY_S * DAY_S + 36_000
SLOT_S = NOW_S - 3_600
DATES = {"starts_at": NOW_S - 100 * DAY_S, "expires_at": NOW_S + 200 * DAY_S}


def books(*items: dict[str, Any], now_s: int = NOW_S, **project: Any) -> WorldLedger:
    ledger = WorldLedger(now_s)
    ledger.adopt(document(*items, **project))
    return ledger


def document(*items: dict[str, Any], **project: Any) -> Organization:
    entries = [DATES | item for item in items]
    projects = [{"project_id": "o-p", "item_ids": [item["item_id"] for item in items]} | project]
    return Organization.model_validate(
        {
            "organization_id": "o",
            "default_project_id": "o-p",
            "license_files": [{"license_id": "L", "items": entries}] if items else [],
            "projects": projects,
        }
    )


def report(
    ledger: WorldLedger, client: str, units: int = 1, *, slot_s: int = SLOT_S, feature: str = "qr", **caller: Any
) -> Outcome:
    return ledger.report("o", "o-p", Caller(client, **caller), slot_s, {feature: units})[0]


def ask(ledger: WorldLedger, client: str, at_s: int = SLOT_S, **caller: Any) -> bool:
    return ledger.request("o", "o-p", Caller(client, **caller), at_s)


def figures(ledger: WorldLedger, item_id: str, *names: str) -> tuple[Any, ...]:
    told = ledger.items["o", item_id].figures()
    return tuple(told[name] for name in names)


SEATS = {"item_id": "D", "charge_way": "per_device", "activity_period": "monthly", "quota": 5}


def test_pages_in_three_parts() -> None:
    """6.1: Q = 2,000, G = 100."""
    ledger = books({"item_id": "J", "charge_way": "per_page", "quota": 2_000})
    for units, percent, state in (
        (1_150, "57.50", ItemState.ACTIVE),
        (60, "60.50", ItemState.ACTIVE),
        (790, "100.00", ItemState.GRACE),
        (99, "104.95", ItemState.GRACE),
        (1, "105.00", ItemState.BLOCKED),
        (35, "106.75", ItemState.BLOCKED),
    ):
        assert report(ledger, "a", units) is Outcome.CHARGED
        assert figures(ledger, "J", "percent", "state") == (percent, state)
    assert figures(ledger, "J", "used", "in_quota", "in_grace", "over") == (2_135, 2_000, 100, 35)


def test_seats_up_to_quota_and_grace() -> None:
    """6.2: Q = 5, G = 1; the seventh device is refused, seated ones go on."""
    ledger = books(SEATS)
    assert [report(ledger, client) for client in "ABCDE"] == [Outcome.CHARGED] * 5
    assert figures(ledger, "D", "active", "percent", "state") == (5, "100.00", ItemState.GRACE)
    assert ask(ledger, "F")
    assert figures(ledger, "D", "active", "percent", "state") == (6, "120.00", ItemState.BLOCKED)
    assert not ask(ledger, "G")
    assert report(ledger, "G") is Outcome.UNCHARGED
    assert report(ledger, "A") is report(ledger, "F") is Outcome.CHARGED
    assert figures(ledger, "D", "active", "attributed") == (6, 7)
    assert (ledger.granted["o"], ledger.refused["o"]) == (1, 1)


def test_a_smaller_quota_takes_no_seat_away() -> None:
    ledger = books(SEATS)
    for client in "ABCDE":
        report(ledger, client)
    ledger.adopt(document(SEATS | {"quota": 2}))
    assert report(ledger, "A") is Outcome.CHARGED
    assert report(ledger, "F") is Outcome.UNCHARGED
    assert figures(ledger, "D", "quota", "active", "percent", "state") == (2, 5, "250.00", ItemState.BLOCKED)


@pytest.mark.parametrize(("quota", "limit"), [(4, 4), (5, 6), (15, 17), (25, 28)])
def test_the_grace_of_seats_is_rounded_half_up(quota: int, limit: int) -> None:
    ledger = books({"item_id": "S", "charge_way": "per_server", "quota": quota})
    outcomes = [report(ledger, str(number)) for number in range(40)]
    assert outcomes.count(Outcome.CHARGED) == limit


def test_exceptions_of_concurrent_devices() -> None:
    """6.3: N = 4, B = 4,000; 7 devices in every slot; used up at slot 1,334."""
    ledger = books({"item_id": "C", "charge_way": "per_concurrent_device", "quota": 4})
    for number in range(1, 1_335):
        for client in "ABCDEFG":
            assert report(ledger, client, slot_s=SLOT_S - number * 180) is Outcome.CHARGED
        if number in (800, 1_067):
            assert figures(ledger, "C", "consumed") == ({800: 2_400, 1_067: 3_201}[number],)
            assert figures(ledger, "C", "state") == (ItemState.OVERUSING,)
    assert figures(ledger, "C", "consumed", "budget", "state") == (4_002, 4_000, ItemState.CAPPED)
    assert [ask(ledger, client) for client in "ABCDE"] == [True] * 4 + [False]


def test_a_stored_report_makes_an_exception_in_its_slot() -> None:
    """6.3: N = 2; nine days later C's report for the slot of A and B arrives."""
    ledger = books({"item_id": "C", "charge_way": "per_concurrent_device", "quota": 2})
    slot_s = SLOT_S - 9 * DAY_S
    report(ledger, "A", slot_s=slot_s)
    report(ledger, "B", slot_s=slot_s)
    ledger.settle(slot_s, {"C"})
    assert figures(ledger, "C", "consumed") == (0,)
    report(ledger, "C", slot_s=slot_s)
    report(ledger, "C", slot_s=slot_s)
    assert figures(ledger, "C", "consumed") == (1,)


def test_exceptions_of_concurrent_instances() -> None:
    """6.4: N = 6, B = 6,000; servers hold 6, 4 and 2: used up after exactly 1,000 slots; then capped."""
    ledger = books({"item_id": "I", "charge_way": "per_concurrent_instance", "quota": 6})
    for number in range(1_000):
        assert figures(ledger, "I", "consumed") == (6 * number,)
        for client, instances in (("1", 6), ("2", 4), ("3", 2)):
            report(ledger, client, slot_s=SLOT_S - (number + 1) * 180, instances=instances)
    assert figures(ledger, "I", "consumed", "state") == (6_000, ItemState.CAPPED)
    assert ask(ledger, "1", instances=4)
    assert ask(ledger, "2", instances=2)
    assert not ask(ledger, "3", instances=1)
    assert not ask(ledger, "4", instances=7)


def test_the_highest_number_of_instances_counts() -> None:
    """E27: 3 and 5 in one slot are 5."""
    ledger = books({"item_id": "I", "charge_way": "per_concurrent_instance", "quota": 1})
    report(ledger, "A", instances=3)
    report(ledger, "A", instances=5)
    report(ledger, "A", instances=2)
    assert figures(ledger, "I", "consumed") == (4,)


def test_a_budget_year_begins_anew() -> None:
    item = {"item_id": "C", "charge_way": "per_concurrent_device", "quota": 1, "starts_at": NOW_S - 366 * DAY_S}
    ledger = books(item)
    for client in "AB":
        report(ledger, client, slot_s=NOW_S - DAY_S - 180)
    assert figures(ledger, "C", "consumed", "budget_year") == (0, 1)
    for client in "ABC":
        report(ledger, client, slot_s=NOW_S - DAY_S)
    assert figures(ledger, "C", "consumed", "budget_year") == (2, 1)


def test_a_new_limit_counts_from_then_on() -> None:
    """Decision 8, G8: exceptions are what a report adds with the N in force, and never fall."""
    item = {"item_id": "C", "charge_way": "per_concurrent_device", "quota": 1}
    ledger = books(item)
    report(ledger, "A")
    report(ledger, "B")
    ledger.adopt(document(item | {"quota": 3}))
    report(ledger, "C")
    assert figures(ledger, "C", "consumed", "budget") == (1, 3_000)
    report(ledger, "D")
    assert figures(ledger, "C", "consumed") == (2,)


def test_domains() -> None:
    """6.6: sub-domains, ports and letters do not matter; another host is outside."""
    fields = [{"kind": "domain", "value": "example.org"}]
    ledger = books({"item_id": "O", "charge_way": "per_domain", "validation_fields": fields})
    for host in ("a.shop.example.org:8443", "EXAMPLE.org."):
        assert report(ledger, "A", 3, host=host) is Outcome.CHARGED
        assert ask(ledger, "A", host=host)
    for host in ("example.com", None):
        assert report(ledger, "A", 3, host=host) is Outcome.UNCHARGED
        assert not ask(ledger, "A", host=host)
    assert figures(ledger, "O", "attributed", "percent", "state") == (6, None, ItemState.ACTIVE)


def test_quotas_before_graces() -> None:
    """7.3: J1 and J2; reports of 80, 50 and 480 pages."""
    ledger = books(
        {"item_id": "J1", "charge_way": "per_page", "quota": 100, "expires_at": NOW_S + 30 * DAY_S},
        {"item_id": "J2", "charge_way": "per_page", "quota": 500},
    )
    for units in (80, 50, 480):
        report(ledger, "A", units)
    parts = ("in_quota", "in_grace", "over", "state")
    assert figures(ledger, "J1", *parts) == (100, 5, 0, ItemState.BLOCKED)
    assert figures(ledger, "J2", *parts) == (500, 5, 0, ItemState.GRACE)


def test_a_seat_costs_no_scans() -> None:
    """7.3: D1 has one seat, first in order; the second device is charged to S1."""
    ledger = books(
        {"item_id": "S1", "charge_way": "per_scan", "quota": 100},
        SEATS | {"item_id": "D1", "quota": 1},
        usage_order=["D1"],
    )
    for client, units in (("A", 4), ("B", 7), ("A", 5)):
        assert report(ledger, client, units) is Outcome.CHARGED
    assert figures(ledger, "D1", "active", "attributed") == (1, 9)
    assert figures(ledger, "S1", "used") == (7,)


def test_validity_by_slot() -> None:
    """E12 to E15: usage before the end is charged whenever it comes, also in the grace; and before a revocation."""
    ended = {"expires_at": NOW_S - 10 * DAY_S, "expiry_grace_days": 7}
    ledger = books(
        {"item_id": "E", "charge_way": "per_scan"} | ended,
        {"item_id": "R", "charge_way": "per_scan", "modules": ["core"], "revoked_at": NOW_S - 2 * DAY_S},
    )
    assert report(ledger, "A", slot_s=NOW_S - 3 * DAY_S - 180) is Outcome.CHARGED
    assert report(ledger, "A", slot_s=NOW_S - 3 * DAY_S) is Outcome.UNCHARGED
    assert report(ledger, "A", slot_s=NOW_S - 2 * DAY_S - 180, feature="core") is Outcome.CHARGED
    assert report(ledger, "A", slot_s=NOW_S - 2 * DAY_S, feature="core") is Outcome.UNCHARGED
    assert figures(ledger, "E", "used", "state", "in_expiry_grace") == (1, ItemState.EXPIRED, False)
    assert figures(ledger, "R", "used", "state") == (1, ItemState.REVOKED)
    assert not ask(ledger, "A")


def test_a_disabled_project() -> None:
    """E10."""
    ledger = books({"item_id": "S", "charge_way": "per_scan"}, disabled_at=SLOT_S)
    assert report(ledger, "A", slot_s=SLOT_S - 180) is Outcome.CHARGED
    assert report(ledger, "A") is Outcome.REJECTED
    assert ledger.reasons["o"] == {RejectReason.PROJECT_DISABLED: 1}
    assert ask(ledger, "A", SLOT_S - 1)
    assert not ask(ledger, "A", SLOT_S)


def test_contacts_take_nothing() -> None:
    ledger = books(SEATS)
    assert report(ledger, "A", 0) is Outcome.CHARGED
    assert figures(ledger, "D", "active") == (0,)
    assert books().report("o", None, Caller("A"), SLOT_S, {}) == (Outcome.UNCHARGED, None)


def test_all_that_is_vouched_for_can_be_written_down() -> None:
    ledger = books(SEATS)
    report(ledger, "A", 3)
    ledger.sent["o"] += 1
    told = ledger.to_json()
    assert told["organizations"][0]["charged"] == 1
    assert told["units"] == [{"organization_id": "o", "project_id": "o-p", "feature": "qr", "count": 3}]
    assert told["items"][0]["active"] == 1
