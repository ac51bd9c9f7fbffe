"""What all books of a simulation have in common: records by organization, outcome, reason and kind."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from licmeter.producers.simulation.kinds import Kind
from licmeter.schemas.outcomes import Outcome, RejectReason

__all__ = ["OrganizationRow", "Tally"]


class OrganizationRow(NamedTuple):
    """An organization's records; `sent` was counted at the sender and is the sum of the others."""

    organization_id: str
    sent: int
    charged: int
    uncharged: int
    duplicate: int
    rejected: int
    granted: int = 0
    refused: int = 0


class Tally:
    """Counts records as they are made."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[Outcome]] = defaultdict(Counter)
        self.reasons: dict[str, Counter[RejectReason]] = defaultdict(Counter)
        self.kinds: Counter[Kind] = Counter()
        #: By organization, project and feature; accepted reports only.
        self.units: Counter[tuple[str, str, str]] = Counter()
        #: Requests for leave to run, by organization.
        self.granted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.catalogs = 0

    @property
    def total_sent(self) -> int:
        """All records sent but the catalogs."""
        return self.sent.total()

    def rows(self) -> Iterator[OrganizationRow]:
        """Yield each organization's records; those that name no known one come last, under ""."""
        for name in sorted(self.sent, key=lambda name: (not name, name)):
            counts = self.outcomes[name]
            row = OrganizationRow(name, self.sent[name], *(counts[outcome] for outcome in Outcome))
            yield row._replace(granted=self.granted[name], refused=self.refused[name])

    def repeat(self, organization_id: str) -> None:
        """Book a report that was accepted before."""
        self.outcomes[organization_id][Outcome.DUPLICATE] += 1

    def refuse(self, organization_id: str, reason: RejectReason) -> None:
        """Book a record that must be rejected."""
        self.outcomes[organization_id][Outcome.REJECTED] += 1
        self.reasons[organization_id][reason] += 1
