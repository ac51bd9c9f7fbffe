"""Fleets by a scenario file: all charge ways, load over the day, offline spells, clones; and what must be counted.

world = World(read_scenario(document), now=now, run="trial")
for record in world.records(): ...   # send key and value, those of an organization in this order
world.ledger                         # what must come out
"""

from importlib.resources import files

from licmeter.producers.simulation.world.ledger import WorldLedger
from licmeter.producers.simulation.world.records import Transport, What, WorldRecord
from licmeter.producers.simulation.world.rules import ScenarioError, read_scenario
from licmeter.producers.simulation.world.scenario import WorldScenario
from licmeter.producers.simulation.world.world import AUTHORIZATION_AGE_S, RUN_S_MAX, World

__all__ = [
    "AUTHORIZATION_AGE_S",
    "RUN_S_MAX",
    "ScenarioError",
    "Transport",
    "What",
    "World",
    "WorldLedger",
    "WorldRecord",
    "WorldScenario",
    "example_scenario",
    "read_scenario",
]


def example_scenario() -> str:
    """Return a scenario file that shows everything, as YAML."""
    return files(__name__).joinpath("example.yaml").read_text()
