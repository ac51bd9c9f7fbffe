"""Scenarios for the tests of simulated worlds, and the core's counts of what they send."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from licmeter.metering.counters import item_counters, organization_counters
from licmeter.metering.decoding import decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.recount import Recount
from licmeter.producers.simulation.world import World, WorldRecord, WorldScenario, example_scenario, read_scenario
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from tests.support.build import ms

NOW = datetime(2031, 3, 8, 10, 1, 30, tzinfo=UTC)
#: Between making a record and its arrival.
TRAVEL = timedelta(seconds=40)


def example(**changes: Any) -> WorldScenario:
    document = yaml.safe_load(example_scenario())
    return read_scenario(document | changes)


def small(devices: dict[str, Any], *items: dict[str, Any], **changes: Any) -> WorldScenario:
    """One organization, one project with all items, one group of devices."""
    organization = {
        "organization_id": "o",
        "items": list(items),
        "projects": [{"name": "p", "item_ids": [item["item_id"] for item in items]}],
        "devices": [{"group": "g", "project": "p", "count": 5, "features": {"qr": 1}} | devices],
    }
    return read_scenario({"duration_hours": 24, "organizations": [organization]} | changes)


def counted(records: Iterable[WorldRecord], takes: timedelta = timedelta(minutes=30)) -> Recount:
    """Count records as if they had arrived one after the other from now on, within a time."""
    books, sent = Recount(), list(records)
    for number, record in enumerate(sent):
        received_ms = ms(NOW + TRAVEL + takes * number / max(1, len(sent)))
        event = decode(record.key, record.value, received_ms, DEFAULT_LIMITS)
        books.count(key_organization(record.key) or "", event, received_ms)
    return books


def counters_of(books: Recount) -> list[ItemCounters | OrganizationCounters]:
    found: list[ItemCounters | OrganizationCounters] = []
    for state in books.organizations.values():
        found.append(organization_counters(state, 0))
        if state.catalog is not None:
            found += item_counters(state, 0, state.catalog.items.values(), books.now_ms)
    return found


def world(scenario: WorldScenario, seed: int = 1, **options: Any) -> World:
    return World(scenario, now=NOW, seed=seed, run="t", **options)
