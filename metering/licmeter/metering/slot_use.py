"""Who used a concurrency item in which slot (domain, N2 and I4).

The same record serves projects: which clients were met without a license in a slot (8.2, `unlicensed_use`).
"""

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["DictSlots", "SlotMemory", "SlotUse", "unlicensed"]


@dataclass(slots=True)
class SlotUse:
    """Seats by client UUID, their sum a(s), and the exceptions e(s) of one slot; `changed` since it was cleared."""

    holders: dict[str, int] = field(default_factory=dict)
    total: int = 0
    exceptions: int = 0
    changed: set[str] = field(default_factory=set)

    def hold(self, client: str, seats: int) -> int:
        """Note a client's seats, the highest number counts (I3); return by how much the sum grew."""
        before = self.holders.get(client, 0)
        if seats <= before:
            return 0
        self.holders[client] = seats
        self.total += seats - before
        self.changed.add(client)
        return seats - before


class SlotMemory(Protocol):
    """Remembers slots for as long as a report for them may come: 33 days."""

    def slot(self, organization_id: str, owner: str, slot_s: int) -> SlotUse:
        """Return what is known of a slot of an item (or what `unlicensed` names); changes to it are kept."""


class DictSlots:
    """The memory as a plain dictionary: for recounts and tests."""

    def __init__(self) -> None:
        self.slots: dict[tuple[str, str, int], SlotUse] = {}

    def slot(self, organization_id: str, owner: str, slot_s: int) -> SlotUse:
        """Return what is known of a slot."""
        key = (organization_id, owner, slot_s)
        use = self.slots.get(key)
        if use is None:
            use = self.slots[key] = SlotUse()
        return use


def unlicensed(project_id: str) -> str:
    """Return the owner under which a project's unlicensed clients are kept; no item id holds a slash."""
    return f"/{project_id}"
