"""Lives of seats, from the contacts in the order in which they were processed (domain, 6.2; decision 8, G1).

A contact at t belongs to the client's present seat while t < its end, and may only move that end further; else it takes
a new seat, whose life begins at t. So an authorization whose clock is behind the contact that took the seat does not
make the seat older.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.statistics.facts import NONE, Contact

__all__ = ["Seat", "lives"]


@dataclass(slots=True)
class Seat:
    """One life of a seat; `projects` says since when it is held through each of them, in use or by leave."""

    organization_id: str
    item_id: str
    client: str
    first_ms: int
    end_ms: int
    projects: dict[str, int] = field(default_factory=dict)

    def live(self, at_ms: int) -> bool:
        """V3: a contact at the instant itself counts, an end at it, too."""
        return self.first_ms <= at_ms < self.end_ms

    def through(self, project_id: str, at_ms: int) -> bool:
        """Whether it is live, and was by then held through the project."""
        return self.live(at_ms) and self.projects.get(project_id, at_ms + 1) <= at_ms


def lives(contacts: Iterable[Contact]) -> list[Seat]:
    """Return all lives of all seats."""
    seats: list[Seat] = []
    present: dict[tuple[str, str, str], Seat] = {}
    for contact in contacts:
        key = (contact.organization_id, contact.item_id, contact.client)
        seat = present.get(key)
        if seat is None or contact.at_ms >= seat.end_ms:
            seat = present[key] = Seat(*key, contact.at_ms, contact.end_ms)
            seats.append(seat)
        seat.end_ms = max(seat.end_ms, contact.end_ms)
        if contact.project_id != NONE:
            since = max(contact.at_ms, seat.first_ms)
            seat.projects[contact.project_id] = min(seat.projects.get(contact.project_id, since), since)
    return seats
