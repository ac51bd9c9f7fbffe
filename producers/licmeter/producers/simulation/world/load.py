"""How busy devices are in a slot, and which of them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import log, log1p
from random import Random
from typing import Final, TypeVar

from licmeter.producers.simulation.wire import Counts, encode_counts
from licmeter.producers.simulation.world.scenario import DeviceGroup, LoadCurve

__all__ = ["chosen", "counts_deck", "load_factor"]

#: Between night and full load.
_RAMP_HOURS: Final = 1.0
#: Different reports of a group; more would not be told apart.
_DECK: Final = 512
#: Above it a Poisson number is drawn from its normal approximation.
_POISSON_EXACT_MAX: Final = 30
_SATURDAY: Final = 5

T = TypeVar("T")


def load_factor(curve: LoadCurve, at_s: int) -> float:
    """Return the share of full load at an instant: between 0 and 1."""
    local = datetime.fromtimestamp(at_s, UTC) + timedelta(hours=curve.utc_offset_hours)
    hour = local.hour + local.minute / 60
    begin, end = curve.working_hours
    inside = min(1.0, max(0.0, min(hour - begin, end - hour) / _RAMP_HOURS + 0.5))
    day = curve.night_factor + (1 - curve.night_factor) * inside
    return day * (curve.weekend_factor if local.weekday() >= _SATURDAY else 1.0)


def chosen(random: Random, among: Sequence[T], share: float) -> Iterator[T]:
    """Choose each with the same probability; takes time for those that are chosen only."""
    count = len(among)
    if share <= 0 or not count:
        return
    first = int(random.random() * count)  # nobody is always the first
    if share >= 1:
        for place in range(count):
            yield among[(first + place) % count]
        return
    stay, place = log1p(-share), -1
    while True:
        place += 1 + int(log(1.0 - random.random()) / stay)
        if place >= count:
            return
        yield among[(first + place) % count]


def counts_deck(random: Random, group: DeviceGroup) -> list[Counts]:
    """Draw what a group's reports say: a Poisson number of operations, at least one, of features by their weight."""
    features, weights = list(group.features), list(group.features.values())
    deck = []
    for _ in range(_DECK):
        operations = 1 + _poisson(random, group.operations_per_slot - 1)
        drawn = random.choices(features, weights, k=operations)
        # In the group's order, whatever was drawn first.
        counts = {feature: drawn.count(feature) for feature in features if feature in drawn}
        deck.append(Counts(encode_counts(counts), counts))
    return deck


def _poisson(random: Random, mean: float) -> int:
    if mean > _POISSON_EXACT_MAX:
        return max(0, round(random.gauss(mean, mean**0.5)))
    number, waited = 0, random.expovariate(1.0)
    while waited < mean:
        number += 1
        waited += random.expovariate(1.0)
    return number
