"""What happens to devices on a day: connections are lost and come back, systems are installed anew."""

from collections import defaultdict
from collections.abc import Iterable
from random import Random
from typing import Final

from licmeter.producers.simulation.world.devices import Device, Group
from licmeter.producers.simulation.world.load import chosen
from licmeter.producers.simulation.world.scenario import WorldScenario

__all__ = ["Incidents"]

_SLOTS_A_DAY: Final = 480


class Incidents:
    """Draws them day by day; slots are counted from the run's beginning."""

    def __init__(self, scenario: WorldScenario, random: Random) -> None:
        self._scenario = scenario
        self._random = random
        self._returns: dict[int, list[Device]] = defaultdict(list)
        self._losses: dict[int, list[Device]] = defaultdict(list)
        self._reinstalls: dict[int, list[Device]] = defaultdict(list)

    def plan_day(self, first: int, groups: Iterable[Group]) -> None:
        """Draw what happens in the day that begins with a slot."""
        random = self._random
        for group in groups:
            for device in chosen(random, group.devices, self._scenario.offline.per_day):
                self._losses[first + random.randrange(_SLOTS_A_DAY)].append(device)
            for device in chosen(random, group.devices, self._scenario.reinstalls_per_day):
                self._reinstalls[first + random.randrange(_SLOTS_A_DAY)].append(device)

    def lost(self, slot: int) -> list[Device]:
        """Let devices lose their connection in a slot, and draw for how long."""
        offline, devices = self._scenario.offline, []
        for device in self._losses.pop(slot, ()):
            if device.offline or device.fault is not None:
                continue
            device.offline = True
            devices.append(device)
            days = min(self._random.expovariate(1 / offline.mean_days), offline.max_days)
            self._returns[slot + 1 + int(days * _SLOTS_A_DAY)].append(device)
        return devices

    def returned(self, slot: int) -> list[Device]:
        """Let connections come back in a slot."""
        devices = self._returns.pop(slot, [])
        for device in devices:
            device.offline = False
        return devices

    def reinstalled(self, slot: int) -> list[Device]:
        """Take the devices that are installed anew in a slot."""
        return [each for each in self._reinstalls.pop(slot, ()) if each.fault is None]
