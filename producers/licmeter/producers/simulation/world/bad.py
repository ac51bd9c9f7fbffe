"""Bad clients: now and then a record that must be refused, made from the good one that was sent before it."""

from collections.abc import Collection, Mapping
from itertools import accumulate
from random import Random
from typing import Final

from licmeter.producers.simulation.invalid import InvalidRecords, Model, Record
from licmeter.producers.simulation.kinds import Kind
from licmeter.producers.simulation.wire import encode_counts
from licmeter.producers.simulation.world.devices import Device

__all__ = ["BadClients", "conflicting_counts"]

#: No good report counts that much.
_CONFLICTING_UNITS: Final = 9_999


class BadClients:
    """Draws them by their shares; `left_out` are the kinds of the scenario that cannot travel."""

    def __init__(
        self,
        shares: Mapping[Kind, float],
        invalid: InvalidRecords,
        random: Random,
        *,
        passable: Collection[Kind],
        large_bytes: int,
    ) -> None:
        wanted = {kind: share for kind, share in shares.items() if share}
        self.left_out = tuple(sorted(kind for kind in wanted if kind not in passable))
        self._kinds = [kind for kind in wanted if kind in passable]
        self._limits = list(accumulate(wanted[kind] for kind in self._kinds))
        self._invalid = invalid
        self._random = random
        self._large_bytes = large_bytes

    def draw(self) -> Kind | None:
        """Say of which kind the next bad record is; mostly None."""
        if not self._limits:
            return None
        drawn = self._random.random()
        if drawn >= self._limits[-1]:
            return None
        return next(kind for kind, limit in zip(self._kinds, self._limits, strict=True) if drawn < limit)

    def make(self, kind: Kind, device: Device, report_id: bytes, slot: bytes) -> Record:
        """Make one; any kind but `Kind.CONFLICT`, which is the good report with other counts."""
        group = device.group
        feature = self._random.choice(list(group.plan.features))
        model = Model(group.organization_id, device.caller.client_uuid, report_id, device.middle, slot, feature)
        if kind is Kind.LARGE:
            return self._invalid.large(model, self._large_bytes)
        return self._invalid.make(kind, model)


def conflicting_counts(device: Device) -> bytes:
    """Return counts that differ from those of any good report."""
    return encode_counts({next(iter(device.group.plan.features)): _CONFLICTING_UNITS})
