"""What a world sends: the same again, in its shares, in little memory."""

import json
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from licmeter.producers.simulation import Kind
from licmeter.producers.simulation.kinds import REJECT_REASONS
from licmeter.producers.simulation.world import (
    AUTHORIZATION_AGE_S,
    Transport,
    What,
    World,
    WorldRecord,
    example_scenario,
)
from licmeter.producers.simulation.world.records import PASSABLE
from licmeter.schemas.authorizations import AuthorizationEvent
from licmeter.schemas.catalog import CatalogEvent
from licmeter.schemas.outcomes import Outcome
from licmeter.schemas.reports import parse_report
from tests.unit.producers.simulation.world.scenarios import NOW, example, small, world

SCANS = {"item_id": "S", "charge_way": "per_scan"}


def sent(fleet: World, what: What = What.REPORT) -> list[WorldRecord]:
    return [record for record in fleet.records() if record.what is what]


def test_the_example_is_the_one_in_the_documentation() -> None:
    documentation = Path(__file__).parents[5] / "docs" / "examples" / "fleet.yaml"
    assert example_scenario() == documentation.read_text()


def test_the_example_shows_everything() -> None:
    scenario = example()
    items = [item for organization in scenario.organizations for item in organization.items]
    assert len({item.charge_way for item in items}) == 7
    assert set(scenario.bad_clients) == set(REJECT_REASONS)
    assert scenario.model_fields_set == set(type(scenario).model_fields)


def test_seed_scenario_and_now_decide_every_byte() -> None:
    scenario = example(duration_hours=20)
    first, again = (list(world(scenario, 5).records()) for _ in range(2))
    assert first == again
    assert first != list(world(scenario, 6).records())
    later = World(scenario, now=NOW + timedelta(minutes=3), seed=5, run="t")
    assert first != list(later.records())


def test_the_seed_is_the_scenarios_unless_another_is_given() -> None:
    scenario = example(seed=9)
    assert World(scenario, now=NOW, run="t").seed == 9
    assert World(scenario, now=NOW, run="t", seed=3).seed == 3


def test_every_good_record_meets_its_contract() -> None:
    for record in world(example(duration_hours=20)).records():
        if record.what is What.CATALOG:
            assert CatalogEvent.model_validate_json(record.value or b"").subject == record.organization_id
        elif record.what is What.AUTHORIZATION:
            AuthorizationEvent.model_validate_json(record.value or b"")
        elif record.expected is not Outcome.REJECTED:
            event = parse_report(record.value or b"")
            assert event["time"].timestamp() % 180 == 0
            assert event["time"] <= NOW


def test_shares_are_met() -> None:
    fleet = world(
        small(
            {"count": 200, "busy_share": 0.2},
            SCANS,
            load={"night_factor": 1, "weekend_factor": 1},
            repeats={"resubmitted_share": 0.05},
            bad_clients={"conflict": 0.02, "tombstone": 0.01},
            contact_share=0.1,
        )
    )
    reports = sent(fleet)
    kinds, good = fleet.ledger.kinds, 200 * 480 * 0.2
    assert kinds.total() == len(reports)
    for kind, share in (
        (Kind.FRESH, 0.9),
        (Kind.ZERO, 0.1),
        (Kind.DUPLICATE, 0.05),
        (Kind.CONFLICT, 0.02),
        (Kind.TOMBSTONE, 0.01),
    ):
        assert kinds[kind] == pytest.approx(good * share, rel=0.2)


def test_load_follows_the_day() -> None:
    load = {"utc_offset_hours": 3, "working_hours": [9, 17], "night_factor": 0.05, "weekend_factor": 0.1}
    fleet = world(small({"count": 300, "busy_share": 0.5}, SCANS, duration_hours=7 * 24, load=load))
    by_day, by_hour = Counter[int](), Counter[int]()
    for record in sent(fleet):
        local = datetime.fromtimestamp(record.at_s, UTC) + timedelta(hours=3)
        by_day[local.weekday()] += 1
        by_hour[local.hour] += 1
    assert by_hour[12] > 10 * by_hour[2]
    assert by_day[2] > 5 * by_day[6]


def test_stored_reports_come_at_once() -> None:
    offline = {"per_day": 1, "mean_days": 0.2}
    fleet = world(small({"count": 20}, SCANS, duration_hours=72, offline=offline))
    late = [record for record in sent(fleet) if record.kind is Kind.LATE]
    clients = Counter((record.at_s, json.loads(record.value or b"")["source"]) for record in late)
    assert max(clients.values()) > 10
    assert fleet.unsent > 0


def test_clones_and_reinstalls() -> None:
    def clients(**changes: float) -> int:
        fleet = world(small({"count": 100}, SCANS, duration_hours=48, **changes))
        return len({json.loads(record.value or b"")["source"] for record in sent(fleet)})

    assert clients() == 100
    assert clients(clone_share=0.3) < 85
    assert clients(reinstalls_per_day=0.5) > 150


def test_a_reinstalled_device_loses_what_it_stored() -> None:
    fleet = world(
        small({"count": 50}, SCANS, duration_hours=72, offline={"per_day": 1, "mean_days": 5}, reinstalls_per_day=0.3)
    )
    sent(fleet)
    assert fleet.reports_lost > 0


def test_requests_are_of_the_last_hours_and_of_starts() -> None:
    fleet = world(small({"count": 30}, SCANS, duration_hours=48))
    requests = sent(fleet, What.AUTHORIZATION)
    assert requests
    assert all(record.at_s >= fleet.end_s - AUTHORIZATION_AGE_S for record in requests)
    assert fleet.starts_unasked > 0
    assert {record.granted for record in requests} == {True}
    silent = world(small({"count": 30}, SCANS, authorizations={"enabled": False}))
    assert sent(silent, What.AUTHORIZATION) == []


@pytest.mark.parametrize("transport", Transport)
def test_what_cannot_travel_is_left_out(transport: Transport) -> None:
    fleet = world(example(duration_hours=20), transport=transport)
    kinds = {record.kind for record in sent(fleet)} & REJECT_REASONS.keys()
    assert kinds <= PASSABLE[transport]
    assert set(fleet.left_out) == REJECT_REASONS.keys() - PASSABLE[transport]


def test_licenses_that_are_in_force_are_not_sent() -> None:
    fleet = world(example(duration_hours=13), catalogs=False)
    assert sent(fleet, What.CATALOG) == []
    assert fleet.ledger.items["port", "scans"].quota == 9_000  # as documents() says, and not changed on the way
    assert len(sent(world(example(duration_hours=13)), What.CATALOG)) == 3 + 2


def test_a_limit_ends_the_run_and_the_books() -> None:
    fleet = world(example())
    records = [record for record in fleet.records(1_000) if record.what is not What.CATALOG]
    assert len(records) == fleet.ledger.total_sent == 1_000
    rows = list(fleet.ledger.rows())
    assert (
        sum(row.charged + row.uncharged + row.duplicate + row.rejected for row in rows)
        + sum(row.granted + row.refused for row in rows)
        == 1_000
    )


def test_another_run_has_organizations_of_its_own() -> None:
    fleet = world(example(duration_hours=13).named("b"))
    sent(fleet)
    assert {name for name in fleet.ledger.sent if name} == {"port.b", "retail.b", "library.b"}


def test_memory_does_not_grow_with_the_reports() -> None:
    item = {"item_id": "C", "charge_way": "per_concurrent_device", "quota": 5}
    fleet = world(
        small({"count": 40, "busy_share": 0.5}, item, duration_hours=80, load={"night_factor": 1, "weekend_factor": 1})
    )
    records = fleet.records()
    for _ in range(3_000):
        next(records)
    tracemalloc.start()
    try:
        count = sum(1 for _ in records)
        assert count > 20_000
        assert tracemalloc.get_traced_memory()[0] < 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("run", ["", "a b", 'a"b', "x" * 41])
def test_a_run_needs_a_name_that_ids_can_hold(run: str) -> None:
    with pytest.raises(ValueError, match="name"):
        World(example(), now=NOW, run=run)


def test_now_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        World(example(), now=datetime(2031, 1, 1), run="t")  # noqa: DTZ001 - the mistake itself
