"""What an audit found: one entry for each organization, and every difference as a sentence with its place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["LISTED_MAX", "NOBODY_NAME", "AuditReport", "Difference", "OrganizationAudit"]

#: Differences that are listed of one organization; all of them are counted.
LISTED_MAX: Final = 200
#: How records of no known organization are called in tables.
NOBODY_NAME: Final = "(nobody known)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the log has it. `pending`: it may only not be stored yet."""

    where: str  # license.counters, license.alerts, or a table of ClickHouse
    what: str
    place: str = ""  # partition:offset:line, an item, or a breach
    day: str = ""
    pending: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {name: getattr(self, name) for name in ("where", "place", "day", "what", "pending")}


@dataclass(slots=True)
class OrganizationAudit:
    """What was compared of one organization, and what differs."""

    organization_id: str
    partition: int | None = None
    whole: bool = True  # the log holds all of it, so the absolute counters could be compared
    records: int = 0  # reports and authorizations that the log holds
    uncounted: int = 0  # of them, those that no worker had counted when the audit began
    outcomes: dict[str, int] = field(default_factory=dict)
    counters: int = 0  # states of items and of the organization that were compared
    days: int = 0
    rows: int = 0
    differences: int = 0
    pending: int = 0
    listed: list[Difference] = field(default_factory=list)

    def note(self, difference: Difference, count: int = 1) -> None:
        """Count a difference, and list it if there is room."""
        if difference.pending:
            self.pending += count
        else:
            self.differences += count
        if len(self.listed) < LISTED_MAX:
            self.listed.append(difference)

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        names = (
            "organization_id",
            "partition",
            "whole",
            "records",
            "uncounted",
            "outcomes",
            "counters",
            "days",
            "rows",
        )
        return {name: getattr(self, name) for name in names} | {
            "differences": self.differences,
            "pending": self.pending,
            "listed": [difference.to_json() for difference in self.listed],
        }


@dataclass(slots=True)
class AuditReport:
    """The whole: by organization, with how far the log, the worker and the sink are."""

    organizations: dict[str, OrganizationAudit] = field(default_factory=dict)
    partitions: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: int = 0
    rows: int = 0
    seconds: float = 0.0

    def of(self, organization_id: str) -> OrganizationAudit:
        """Return the entry of an organization, "" = of nobody known."""
        found = self.organizations.get(organization_id)
        if found is None:
            found = self.organizations[organization_id] = OrganizationAudit(organization_id)
        return found

    @property
    def differences(self) -> int:
        """How many things differ."""
        return sum(each.differences for each in self.organizations.values())

    @property
    def pending(self) -> int:
        """How many rows are missing that the sink may still be about to write."""
        return sum(each.pending for each in self.organizations.values())

    def each(self) -> Iterator[OrganizationAudit]:
        """Yield the organizations by name, nobody last."""
        yield from (self.organizations[name] for name in sorted(self.organizations) if name)
        if "" in self.organizations:
            yield self.organizations[""]

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "differences": self.differences,
            "pending": self.pending,
            "organizations": [each.to_json() for each in self.each()],
            "partitions": self.partitions,
            "notes": self.notes,
            "records": self.records,
            "rows": self.rows,
            "seconds": round(self.seconds, 2),
            "records_per_s": round(self.records / self.seconds) if self.seconds else 0,
        }
