"""The books by the worked examples of the domain, sections 6.1 and 7."""

from datetime import UTC, datetime
from typing import Any

import pytest

from licmeter.producers.simulation import ItemBook, Ledger, Scenario, counter_differences, load_scenario
from licmeter.producers.simulation.scenario import DEFAULT_MIX, Kind
from licmeter.schemas.catalog import Organization
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import ChargeWay, ItemState, Outcome, RejectReason


def ledger_with(*items: dict[str, Any]) -> Ledger:
    ledger = Ledger()
    dates = {"charge_way": "per_page", "starts_at": "2031-01-01T00:00:00Z", "expires_at": "2031-12-31T00:00:00Z"}
    document = {
        "organization_id": "o",
        "license_files": [{"license_id": "L", "items": [dates | item for item in items]}],
        "projects": [{"project_id": "o-p", "item_ids": [item["item_id"] for item in items]}],
    }
    ledger.adopt(Organization.model_validate(document))
    return ledger


@pytest.mark.parametrize(
    ("units", "state", "parts"),
    [
        ((1_150,), ItemState.ACTIVE, (1_150, 0, 0)),
        ((1_150, 850), ItemState.GRACE, (2_000, 0, 0)),
        ((2_099,), ItemState.GRACE, (2_000, 99, 0)),
        ((2_099, 1), ItemState.BLOCKED, (2_000, 100, 0)),
        ((2_099, 1, 35), ItemState.BLOCKED, (2_000, 100, 35)),
    ],
)
def test_one_item(units: tuple[int, ...], state: ItemState, parts: tuple[int, int, int]) -> None:
    ledger = ledger_with({"item_id": "J", "quota": 2_000})
    for count in units:
        assert ledger.accept("o", "o-p", {"core": count}) is Outcome.CHARGED
    book = ledger.items["o", "J"]
    assert (book.in_quota, book.in_grace, book.over) == parts
    assert book.state is state


def test_two_items_fill_both_quotas_and_then_both_graces() -> None:
    ledger = ledger_with(
        {"item_id": "J2", "quota": 500}, {"item_id": "J1", "quota": 100, "expires_at": "2031-06-30T00:00:00Z"}
    )
    for units in (80, 50, 480):
        ledger.accept("o", "o-p", {"core": units})
    assert (ledger.items["o", "J1"].in_quota, ledger.items["o", "J1"].in_grace) == (100, 5)
    assert (ledger.items["o", "J2"].in_quota, ledger.items["o", "J2"].in_grace) == (500, 5)


@pytest.mark.parametrize(("quota", "limit"), [(9, 9), (10, 11), (30, 32), (50, 53), (None, None)])
def test_the_grace_is_rounded_half_up(quota: int | None, limit: int | None) -> None:
    assert ItemBook(quota).limit == limit


NOWHERE: dict[str, Any] = {
    "source_partition": 0,
    "applied_offset": 7,
    "updated_at": datetime(2031, 3, 8, tzinfo=UTC),
}


def counters_of(ledger: Ledger, **changes: Any) -> list[ItemCounters | OrganizationCounters]:
    book = ledger.items["o", "J"]
    parts = {name: getattr(book, name) for name in ("used", "in_quota", "in_grace", "over", "state", "quota")} | changes
    item = ItemCounters(
        organization_id="o", item_id="J", charge_way=ChargeWay.PER_PAGE, percent=None, **parts, **NOWHERE
    )
    outcomes = {outcome.value: ledger.outcomes["o"][outcome] for outcome in Outcome}
    return [item, OrganizationCounters(organization_id="o", **outcomes, **NOWHERE)]


def test_the_comparison_names_what_differs() -> None:
    ledger = ledger_with({"item_id": "J", "quota": 10})
    ledger.sent["o"] += 2
    ledger.accept("o", "o-p", {"core": 4})
    ledger.refuse("o", RejectReason.NOT_JSON)
    right = counters_of(ledger)
    assert counter_differences(ledger, right) == []
    outdated = [record.model_copy(update={"applied_offset": 1}) for record in counters_of(ledger, used=1)]
    assert counter_differences(ledger, [*right, *outdated]) == []
    assert counter_differences(ledger, counters_of(ledger, used=5)) == ["item o/J: used is 5, must be 4"]
    assert counter_differences(ledger, []) == [
        "organization 'o': 0 charged, must be 1",
        "organization 'o': 0 rejected, must be 1",
        "item o/J: no counters",
    ]


def test_nobody_is_added_up_over_the_partitions() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.sent[""] += 1
        ledger.refuse("", RejectReason.MISSING_KEY)
    counters = [
        OrganizationCounters(
            organization_id="",
            charged=0,
            uncharged=0,
            duplicate=0,
            rejected=rejected,
            **NOWHERE | {"source_partition": partition},
        )
        for partition, rejected in enumerate((1, 2))
    ]
    assert counter_differences(ledger, counters) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"organizations": ()},
        {"mix": DEFAULT_MIX | {Kind.DUPLICATE: 1_000}},
        {"mix": {Kind.ZERO: -1}},
        {"mix": {Kind.LARGE: 1}},
        {"large_payloads": 11},
    ],
    ids=["no organization", "more than all", "negative", "large by share", "more large than all"],
)
def test_a_scenario_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "organizations": load_scenario(organizations=1, devices=2, reports=1).organizations,
        "reports": 10,
    }
    with pytest.raises(ValueError):
        Scenario(**(fields | changes))
