"""The books of a simulated world and the metering core, which share no code, come to the same numbers."""

from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from licmeter.producers.simulation import counter_differences
from licmeter.producers.simulation.world import RUN_S_MAX, World
from licmeter.schemas.outcomes import ItemState
from tests.unit.producers.simulation.world.any_scenario import any_scenario
from tests.unit.producers.simulation.world.scenarios import counted, counters_of, example, world


def assert_equal(fleet: World, takes: timedelta = timedelta(minutes=30)) -> set[ItemState]:
    """Count what a world sends, compare every figure that its books vouch for, and return the states met."""
    books = counted(fleet.records(), takes)
    assert counter_differences(fleet.ledger, counters_of(books)) == []
    units = Counter(
        {
            (organization_id, project_id, feature): count
            for (organization_id, project_id), slots in books.units.items()
            for feature, count in sum(slots.values(), Counter()).items()
        }
    )
    assert units == fleet.ledger.units
    return {ItemState(str(account.figures()["state"])) for account in fleet.ledger.items.values()}


@pytest.mark.parametrize("seed", range(3))
def test_the_example_is_counted_as_it_was_booked(seed: int) -> None:
    states = assert_equal(world(example(duration_hours=24), seed))
    assert states >= {ItemState.BLOCKED, ItemState.OVERUSING, ItemState.REVOKED, ItemState.PENDING, ItemState.EXPIRED}


def test_the_longest_run_is_counted_as_it_was_booked() -> None:
    """Weeks of history, long spells offline, daily seats, and as much time for sending as there may be."""
    organizations = example().model_dump(mode="json")["organizations"]
    for organization in organizations:
        for group in organization["devices"]:
            group["busy_share"] /= 20
        for item in organization["items"]:
            if item["charge_way"] == "per_device":
                item["activity_period"] = "daily"
    scenario = example(
        duration_hours=29 * 24,
        organizations=organizations,
        offline={"per_day": 0.3, "mean_days": 6},
        reinstalls_per_day=0.05,
    )
    assert_equal(world(scenario), timedelta(seconds=RUN_S_MAX))


def test_any_world_is_counted_as_it_was_booked() -> None:
    """Any items that two projects share in any way; on the way every limit is met, and every state."""
    states = set[ItemState]()
    for seed in range(40):
        try:
            states |= assert_equal(world(any_scenario(Random(seed)), seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert states == set(ItemState)
