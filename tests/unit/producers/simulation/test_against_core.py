"""The ledger and the metering core, which share no code, come to the same numbers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.producers.simulation import (
    DEFAULT_MIX,
    CatalogChange,
    Fleet,
    ItemPlan,
    Kind,
    OrganizationPlan,
    ProjectPlan,
    Scenario,
    demo_scenario,
    load_scenario,
)
from tests.support.pipeline import run
from tests.unit.producers.simulation.against_core import NOW, assert_all_as_booked, input_records


@pytest.mark.parametrize("crash_probability", [0.0, 0.2], ids=["calm", "crashing"])
def test_the_demo_is_counted_as_it_was_booked(crash_probability: float) -> None:
    fleet = Fleet(demo_scenario(), now=NOW, seed=1, run="t")  # fewer would not reach the quotas
    emissions = list(fleet.emissions())
    results, faults = run(input_records(emissions), seed=5, crash_probability=crash_probability, batch_max=1_500)
    assert (faults.crashes > 5) is (crash_probability > 0)
    assert_all_as_booked(fleet, emissions, results)


def test_a_load_is_counted_as_it_was_booked() -> None:
    scenario = load_scenario(
        organizations=10, devices=200, reports=5_000, large_payloads=2, large_payload_bytes=5 * 1024 * 1024
    )
    fleet = Fleet(scenario, now=NOW, seed=2, run="t")
    emissions = list(fleet.emissions())
    results, _ = run(input_records(emissions), batch_max=2_000)
    assert_all_as_booked(fleet, emissions, results)


FEATURES = ("qr", "core", "ocr")
items = st.builds(
    ItemPlan,
    item_id=st.just(""),
    quota=st.none() | st.integers(1, 300),
    charge_way=st.sampled_from(("per_scan", "per_page")),
    expires_in_days=st.sampled_from((90, 365)),
    modules=st.lists(st.sampled_from(FEATURES), max_size=2, unique=True).map(tuple),
)


@st.composite
def plans(draw: st.DrawFn, organization_id: str) -> OrganizationPlan:
    """An organization with up to three items that its two projects share in any way."""
    drawn = draw(st.lists(items, min_size=1, max_size=3))
    named = tuple(
        ItemPlan(
            item_id=name,
            quota=item.quota,
            charge_way=item.charge_way,
            expires_in_days=item.expires_in_days,
            modules=item.modules,
        )
        for name, item in zip("ABC", drawn, strict=False)
    )
    ids = st.lists(st.sampled_from([item.item_id for item in named]), unique=True).map(tuple)
    one, two = draw(ids), draw(ids)
    order = draw(st.none() | st.permutations(one).map(tuple))
    projects = (
        ProjectPlan(name="one", item_ids=one, usage_order=order),
        ProjectPlan(name="two", item_ids=two, as_default=draw(st.booleans())),
    )
    return OrganizationPlan(
        organization_id=organization_id,
        name="",
        devices=4,
        items=named,
        projects=projects,
        features=FEATURES,
        pause_at_percent=draw(st.none() | st.just(102)),
    )


@settings(max_examples=60)
@given(plans("a"), plans("b"), st.none() | st.integers(1, 500), st.integers(0, 119), st.integers(0, 2**32))
def test_any_licenses_are_counted_as_they_were_booked(
    first: OrganizationPlan, second: OrganizationPlan, quota: int | None, change_at: int, seed: int
) -> None:
    """Many items, orders, modules, and a new quota on the way, also one below what is used; with crashes."""
    scenario = Scenario(
        organizations=(first, second),
        reports=120,
        mix={**DEFAULT_MIX, Kind.DUPLICATE: 100, Kind.CONFLICT: 50, Kind.ZERO: 100},
        catalog_change=CatalogChange(organization_id="a", item_id="A", quota=quota, before_report=change_at),
    )
    fleet = Fleet(scenario, now=NOW, seed=seed, run="t")
    emissions = list(fleet.emissions())
    results, _ = run(input_records(emissions), seed=seed, crash_probability=0.1, batch_max=30)
    assert_all_as_booked(fleet, emissions, results)
