"""The accounts of concurrency items: who used which slot, and the exceptions that make (domain, 6.3 and 6.4)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from licmeter.producers.simulation.world.accounts import Account, Caller
from licmeter.schemas.catalog import LicenseItem
from licmeter.schemas.outcomes import ChargeWay, ItemState

__all__ = ["SlotAccount"]

_YEAR_S: Final = 365 * 86_400  # N5
_BUDGET_FACTOR: Final = 1_000  # N3


@dataclass(slots=True)
class Slot:
    """A slot of a concurrency item: seats in use, a(s), and those of devices that may report for it again."""

    total: int = 0
    holders: dict[str, int] = field(default_factory=dict)


class SlotAccount(Account):
    """Per concurrent device, per concurrent instance (6.3, 6.4): seats in each slot, and exceptions by budget year."""

    takes_over = True

    def __init__(self, item: LicenseItem, now_s: int, suffixes: Sequence[str] = ()) -> None:
        super().__init__(item, now_s, suffixes)
        self.slots: dict[int, Slot] = {}
        self.exceptions: dict[int, int] = {}  # by budget year
        self.leases: dict[str, tuple[int, int]] = {}  # end and seats, by client

    def seats_of(self, caller: Caller) -> int:
        """Return the seats that a device takes; nothing declared is one (I3)."""
        return (caller.instances or 1) if self.item.charge_way is ChargeWay.PER_CONCURRENT_INSTANCE else 1

    def year_of(self, at_s: int) -> int:
        """Return the budget year of an instant (N5)."""
        return max(0, at_s - self.starts_s) // _YEAR_S

    def capped(self, at_s: int) -> bool:
        """Tell whether the budget of an instant's year is used up (N4)."""
        return self.budget is not None and self.exceptions.get(self.year_of(at_s), 0) >= self.budget

    def take(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Take all of a device that was met in the slot, or for which there is room."""
        slot = self.slots.get(slot_s) or Slot()
        room = self.quota is None or slot.total + self.seats_of(caller) <= self.quota
        return self._hold(units, caller, slot_s) if room or caller.client_uuid in slot.holders else 0

    def take_in_grace(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Take all while the budget lasts."""
        return 0 if self.capped(slot_s) else self._hold(units, caller, slot_s)

    def take_rest(self, units: int, caller: Caller, slot_s: int) -> None:
        """Count use over the cap, which adds to the exceptions as well (N7)."""
        self._hold(units, caller, slot_s)

    def _hold(self, units: int, caller: Caller, slot_s: int) -> int:
        """Count the device in the slot, by its highest number of seats; what is above N are exceptions (N2, I4)."""
        slot = self.slots.setdefault(slot_s, Slot())
        seats, before = self.seats_of(caller), slot.total
        grown = max(0, seats - slot.holders.get(caller.client_uuid, 0))
        slot.total += grown
        slot.holders[caller.client_uuid] = max(seats, slot.holders.get(caller.client_uuid, 0))
        if self.quota is not None and slot.total > self.quota and grown:
            added = slot.total - max(before, self.quota)
            year = self.year_of(slot_s)
            self.exceptions[year] = self.exceptions.get(year, 0) + added
        self.attributed += units
        return units

    def settle(self, slot_s: int, awaited: Collection[str]) -> None:
        """Forget who used a slot, but for the clients whose reports for it are still to come."""
        slot = self.slots.get(slot_s)
        if slot is None:
            return
        if not awaited:
            del self.slots[slot_s]
            return
        slot.holders = {client: seats for client, seats in slot.holders.items() if client in awaited}

    @property
    def budget(self) -> int | None:
        """The exceptions that a budget year tolerates (N3)."""
        return None if self.quota is None else self.item.overuse_budget or _BUDGET_FACTOR * self.quota

    def figures(self) -> dict[str, object]:
        """Return what must be said, with the exceptions of the present budget year."""
        own = {"consumed": self.measured[0], "budget": self.budget, "budget_year": self.year_of(self.now_s)}
        return super().figures() | own

    @property
    def measured(self) -> tuple[int, int | None]:
        """Exceptions of the budget."""
        return self.exceptions.get(self.year_of(self.now_s), 0), self.budget

    def _use_state(self) -> ItemState:
        if self.capped(self.now_s):
            return ItemState.CAPPED
        return ItemState.OVERUSING if self.budget is not None and self.measured[0] else ItemState.ACTIVE
