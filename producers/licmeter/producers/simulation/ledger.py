"""The simulator's own books: what must come out of what was sent, known because it was made so.

It shares no code with the metering core and knows only the contracts. It books in the order of sending; as the
reports of one organization keep that order on their way, the books hold whatever organizations do in between.
All items must be valid in all slots that are reported, and have no restriction but their modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from licmeter.producers.simulation.order import consumption_order
from licmeter.producers.simulation.tally import Tally
from licmeter.schemas.catalog import LicenseItem, Organization
from licmeter.schemas.outcomes import ItemState, Outcome

__all__ = ["ItemBook", "Ledger"]

_GRACE_PERCENT: Final = 5  # per scan and per page (domain, section 6)


@dataclass(slots=True)
class ItemBook:
    """What was charged to an item, and its limits as they are now."""

    quota: int | None
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0

    @property
    def used(self) -> int:
        """All units charged."""
        return self.in_quota + self.in_grace + self.over

    @property
    def limit(self) -> int | None:
        """Quota and grace together; half up, in integers (domain, "Rounding")."""
        return None if self.quota is None else self.quota + (_GRACE_PERCENT * self.quota + 50) // 100

    @property
    def state(self) -> ItemState:
        """Where the item stands, given that it is valid (domain, 8.1)."""
        if self.quota is None or self.limit is None or self.used < self.quota:
            return ItemState.ACTIVE
        return ItemState.BLOCKED if self.used >= self.limit else ItemState.GRACE

    def figures(self) -> dict[str, object]:
        """Return what `license.counters` must say."""
        return {name: getattr(self, name) for name in ("quota", "used", "in_quota", "in_grace", "over", "state")}

    def fill_quota(self, units: int) -> int:
        """Take what fits into the quota; return the rest."""
        taken = units if self.quota is None else min(units, max(0, self.quota - self.used))
        self.in_quota += taken
        return units - taken

    def fill_grace(self, units: int) -> int:
        """Take what fits into the grace; return the rest."""
        limit = self.limit
        taken = 0 if limit is None else min(units, max(0, limit - self.used))
        self.in_grace += taken
        return units - taken


class Ledger(Tally):
    """Books every record as it is made."""

    def __init__(self) -> None:
        super().__init__()
        #: By organization and item.
        self.items: dict[tuple[str, str], ItemBook] = {}
        self._order: dict[tuple[str, str], list[LicenseItem]] = {}
        self._takers: dict[tuple[str, str, str | None], list[ItemBook]] = {}

    def adopt(self, document: Organization) -> None:
        """Take a catalog document for granted from here on; what was charged stays."""
        self.catalogs += 1
        name = document.organization_id
        for item_id, item in document.items.items():
            self.items.setdefault((name, item_id), ItemBook(item.quota)).quota = item.quota
        for project in document.projects:
            self._order[name, project.project_id] = consumption_order(document, project)
        self._takers.clear()

    def accept(self, organization_id: str, project_id: str, counts: Mapping[str, int]) -> Outcome:
        """Book a good report that was not sent before, and tell what must become of it."""
        charged = False
        total = 0
        for feature, units in counts.items() if len(counts) == 1 else sorted(counts.items()):
            if units:
                total += units
                self.units[organization_id, project_id, feature] += units
                charged |= _charge(units, self._takers_of(organization_id, project_id, feature))
        if not total:
            features: list[str | None] = [*counts] or [None]
            charged = any(self._takers_of(organization_id, project_id, feature) for feature in features)
        outcome = Outcome.CHARGED if charged else Outcome.UNCHARGED
        self.outcomes[organization_id][outcome] += 1
        return outcome

    def _takers_of(self, organization_id: str, project_id: str, feature: str | None) -> list[ItemBook]:
        wanted = (organization_id, project_id, feature)
        takers = self._takers.get(wanted)
        if takers is None:
            takers = self._takers[wanted] = [
                self.items[organization_id, item.item_id]
                for item in self._order[organization_id, project_id]
                if feature is None or not item.modules or feature in item.modules
            ]
        return takers


def _charge(units: int, takers: list[ItemBook]) -> bool:
    """Fill quotas, then graces, and leave the rest to the last item (domain, 7.3)."""
    if not takers:
        return False
    for item in takers:
        units = item.fill_quota(units)
        if not units:
            return True
    for item in takers:
        units = item.fill_grace(units)
    takers[-1].over += units
    return True
