"""Where devices stand: what all reports of an organization have in common, made ready for sending."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from licmeter.producers.simulation.ledger import Ledger
from licmeter.producers.simulation.scenario import OrganizationPlan
from licmeter.producers.simulation.wire import Counts, multiple_counts, single_counts, zero_counts

__all__ = ["Device", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """An organization as its devices know it."""

    organization_id: str
    key: bytes
    features: tuple[str, ...]
    singles: list[Counts]
    multiples: list[Counts]
    zeros: list[Counts]
    pause_item_id: str
    pause_at_percent: int | None

    @classmethod
    def of(cls, plan: OrganizationPlan) -> Self:
        """Make a plan ready."""
        return cls(
            organization_id=plan.organization_id,
            key=plan.organization_id.encode(),
            features=plan.features,
            singles=single_counts(plan.features),
            multiples=multiple_counts(plan.features),
            zeros=zero_counts(plan.features),
            pause_item_id=plan.items[0].item_id if plan.items else "",
            pause_at_percent=plan.pause_at_percent,
        )

    def paused(self, ledger: Ledger) -> bool:
        """Tell whether the devices only send contacts now."""
        if self.pause_at_percent is None:
            return False
        book = ledger.items[self.organization_id, self.pause_item_id]
        return book.quota is not None and book.used * 100 >= self.pause_at_percent * book.quota


class Device(NamedTuple):
    """One installation; `middle` is the part of its reports that is always the same."""

    site: Site
    project_id: str
    client_uuid: str
    middle: bytes
