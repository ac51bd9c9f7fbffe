"""What a fleet sends, and that it is the same again."""

import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from pydantic_core import from_json

from licmeter.producers.simulation import DEFAULT_MIX, Emission, Fleet, Kind, demo_scenario, load_scenario
from licmeter.producers.simulation.kinds import ACCEPTED_KINDS, NOBODY, REJECT_REASONS
from licmeter.schemas.catalog import CatalogEvent
from licmeter.schemas.outcomes import ItemState, Outcome
from licmeter.schemas.reports import parse_report
from tests.unit.producers.simulation.against_core import NOW

FEW = load_scenario(organizations=5, devices=50, reports=3_000, large_payloads=1)


def sent(fleet: Fleet) -> list[Emission]:
    return list(fleet.emissions())


def test_every_accepted_and_every_repeated_report_meets_the_contract() -> None:
    for emission in sent(Fleet(FEW, now=NOW, seed=3, run="t")):
        if emission.expected in (Outcome.CHARGED, Outcome.UNCHARGED, Outcome.DUPLICATE):
            assert emission.value is not None
            event = parse_report(emission.value)
            assert event["time"].timestamp() % 180 == 0
            assert NOW - timedelta(days=29, minutes=3) <= event["time"] <= NOW


def test_every_kind_has_exactly_its_share() -> None:
    fleet = Fleet(FEW, now=NOW, seed=3, run="t")
    sent(fleet)
    # The large one takes the place of any other, and organizations that pause send contacts without use.
    refused = {kind: 3 * share for kind, share in DEFAULT_MIX.items() if kind in REJECT_REASONS}
    for kind, number in refused.items():
        assert number - 1 <= fleet.ledger.kinds[kind] <= number
    assert fleet.ledger.kinds[Kind.LARGE] == 1
    assert fleet.ledger.kinds.total() == fleet.ledger.total_sent == FEW.reports


def test_every_kind_is_either_accepted_repeated_or_refused() -> None:
    assert {*Kind} == ACCEPTED_KINDS | {Kind.DUPLICATE} | REJECT_REASONS.keys()


def test_catalogs_come_first_and_are_not_counted_as_sent() -> None:
    emissions = sent(Fleet(FEW, now=NOW, seed=3, run="t"))
    catalogs = [number for number, emission in enumerate(emissions) if emission.expected is None]
    assert catalogs == [0, 1, 2, 3, 4]
    for emission in emissions[:5]:
        assert CatalogEvent.model_validate_json(emission.value or b"").subject == emission.organization_id
    assert len(emissions) == FEW.reports + 5


def test_the_books_add_up() -> None:
    fleet = Fleet(FEW, now=NOW, seed=3, run="t")
    emissions = sent(fleet)
    rows = list(fleet.ledger.rows())
    assert all(row.sent == row.charged + row.uncharged + row.duplicate + row.rejected for row in rows)
    assert rows[-1].organization_id == NOBODY
    by_sender = Counter(emission.organization_id for emission in emissions if emission.expected is not None)
    assert {row.organization_id: row.sent for row in rows} == by_sender


def test_the_same_seed_sends_the_same_and_another_run_nothing_of_it() -> None:
    first, again = (sent(Fleet(FEW, now=NOW, seed=3, run="t")) for _ in range(2))
    assert first == again
    other = sent(Fleet(FEW, now=NOW, seed=3, run="u"))

    def identities(emissions: list[Emission]) -> tuple[set[str], set[str]]:
        events = [from_json(e.value or b"") for e in emissions if e.expected in (Outcome.CHARGED, Outcome.UNCHARGED)]
        return {event["id"] for event in events}, {event["source"] for event in events}

    for mine, theirs in zip(identities(first), identities(other), strict=True):
        assert mine.isdisjoint(theirs)


def test_memory_does_not_grow_with_the_reports() -> None:
    fleet = Fleet(load_scenario(organizations=5, devices=50, reports=40_000), now=NOW, seed=3, run="t")
    emissions = fleet.emissions()
    for _ in range(20_000):  # until the pool of reports to repeat is full
        next(emissions)
    tracemalloc.start()
    try:
        for _ in emissions:
            pass
        # The pool's reports are exchanged, so they count as new.
        assert tracemalloc.get_traced_memory()[0] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(4))
def test_the_demo_shows_every_state_whatever_the_seed(seed: int) -> None:
    scenario = demo_scenario()
    fleet = Fleet(scenario, now=datetime(2030, 1, 1, tzinfo=UTC), seed=seed, run="t")
    sent(fleet)
    ledger = fleet.ledger
    states = {item_id: book.state for (_, item_id), book in ledger.items.items()}
    assert scenario.devices >= 250
    assert states["gates"] is ItemState.BLOCKED
    assert ledger.items["airports", "gates"].over > 0
    assert states["tills"] is ItemState.GRACE
    assert ledger.items["hospitals", "wards1"].used == ledger.items["hospitals", "wards1"].quota
    assert ledger.items["hospitals", "wards2"].used > 0
    assert states["depots"] is ItemState.ACTIVE
    assert ledger.outcomes["libraries"][Outcome.UNCHARGED] > 0
    assert set(ledger.kinds) == set(Kind)


def test_large_records_have_their_size() -> None:
    scenario = load_scenario(organizations=1, devices=2, reports=50, large_payloads=2, large_payload_bytes=1_000_000)
    values = [emission.value for emission in sent(Fleet(scenario, now=NOW, seed=1, run="t"))]
    assert [len(value) for value in values if value is not None and len(value) > 10_000] == [1_000_000] * 2


def test_a_renamed_fleet_touches_none_of_the_first_ones_organizations() -> None:
    fleet = Fleet(demo_scenario(200).named("b"), now=NOW, seed=1, run="b")
    sent(fleet)
    assert {name for name in fleet.ledger.sent if name} <= {
        f"{plan.organization_id}.b" for plan in demo_scenario().organizations
    }


@pytest.mark.parametrize("run", ["", "a b", 'a"b', "x" * 41, "é"])
def test_a_run_needs_a_name_that_ids_can_hold(run: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Fleet(FEW, now=NOW, seed=1, run=run)


def test_now_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        Fleet(FEW, now=datetime(2031, 1, 1), seed=1, run="t")  # noqa: DTZ001 - the mistake itself
