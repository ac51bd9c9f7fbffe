"""A simulated fleet that knows what it sent: for the demo, for tests that crash things, and for load.

fleet = Fleet(demo_scenario(), now=now, seed=1, run="demo1")
for emission in fleet.emissions(): ...   # send key and value, in this order
fleet.ledger                             # what must come out
"""

from licmeter.producers.simulation.comparison import counter_differences
from licmeter.producers.simulation.fleet import Emission, Fleet
from licmeter.producers.simulation.kinds import NOBODY, Kind
from licmeter.producers.simulation.ledger import ItemBook, Ledger
from licmeter.producers.simulation.presets import demo_scenario, load_scenario
from licmeter.producers.simulation.scenario import (
    DEFAULT_MIX,
    CatalogChange,
    ItemPlan,
    OrganizationPlan,
    ProjectPlan,
    Scenario,
)
from licmeter.producers.simulation.tally import OrganizationRow, Tally

__all__ = [
    "DEFAULT_MIX",
    "NOBODY",
    "CatalogChange",
    "Emission",
    "Fleet",
    "ItemBook",
    "ItemPlan",
    "Kind",
    "Ledger",
    "OrganizationPlan",
    "OrganizationRow",
    "ProjectPlan",
    "Scenario",
    "Tally",
    "counter_differences",
    "demo_scenario",
    "load_scenario",
]
