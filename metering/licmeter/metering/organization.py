"""What is known and counted of one organization: the current catalog, and absolute counters.

The state is a function of the organization's events up to `applied_offset`, the fence: an event at or below it
is already folded in and must be skipped.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Self

from licmeter.metering.consumption import consumption_order
from licmeter.metering.items import CumulativeUse, MeteredItem
from licmeter.metering.report import Report
from licmeter.schemas.catalog import Organization, Project
from licmeter.schemas.outcomes import Outcome

__all__ = ["MeteredCatalog", "MeteredProject", "OrganizationState"]

#: Features and restrictions are the client's words, so the memory of what is eligible for them has a bound.
ELIGIBLE_CACHE_MAX: Final = 4_096


class MeteredProject:
    """A project with its items in consumption order."""

    def __init__(self, project: Project, items: dict[str, MeteredItem]) -> None:
        self.project_id = project.project_id
        self.disabled_ms = None if project.disabled_at is None else round(project.disabled_at.timestamp() * 1000)
        self._items = consumption_order([items[item_id] for item_id in project.item_ids], project.usage_order)
        self._eligible: dict[tuple[str | None, ...], tuple[MeteredItem, ...]] = {}

    def eligible(self, feature: str | None, report: Report) -> list[MeteredItem]:
        """Return the items that may take a feature of a report, in order (7.1); None = any feature."""
        wanted = (feature, report.product, report.version, report.edition, report.deployment_type)
        items = self._eligible.get(wanted)
        if items is None:
            items = tuple(
                item for item in self._items if (feature is None or item.covers(feature)) and item.matches(wanted[1:])
            )
            if len(self._eligible) >= ELIGIBLE_CACHE_MAX:
                self._eligible.clear()
            self._eligible[wanted] = items
        slot_s = report.slot_s
        return [item for item in items if item.valid_in(slot_s)]


class MeteredCatalog:
    """An organization's document made ready for counting."""

    def __init__(self, document: Organization) -> None:
        self.document = document
        self.items = {item_id: MeteredItem.of(item) for item_id, item in document.items.items()}
        self._projects = {p.project_id: MeteredProject(p, self.items) for p in document.projects}

    def project(self, project_id: str | None) -> MeteredProject | None:
        """Return a project; None names the default project."""
        if project_id is None:
            project_id = self.document.default_project_id
        return None if project_id is None else self._projects.get(project_id)


@dataclass(slots=True)
class OrganizationState:
    """Counters of one organization; `catalog_offset` is the offset of the event that brought the catalog.

    The organization "" stands for all records of a partition that name no known organization. What came before
    `created_offset`, the organization's first catalog, was counted there, and is so again in a repeat.
    """

    organization_id: str
    created_offset: int = -1
    applied_offset: int = -1
    catalog_offset: int | None = None
    updated_ms: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    uses: dict[str, CumulativeUse] = field(default_factory=dict)
    catalog: MeteredCatalog | None = None

    def use(self, item_id: str) -> CumulativeUse:
        """Return the counters of an item, from zero when it was never used."""
        return self.uses.setdefault(item_id, CumulativeUse())

    def adopt(self, document: Organization, offset: int) -> None:
        """Make a document the current catalog. Counters stay, also those of items that are gone (A7, P2)."""
        self.catalog = MeteredCatalog(document)
        self.catalog_offset = offset
        for item_id in self.catalog.items:
            self.use(item_id)

    def to_bytes(self) -> bytes:
        """Encode everything but the catalog, which is kept by its offset."""
        record: dict[str, Any] = {
            "created_offset": self.created_offset,
            "applied_offset": self.applied_offset,
            "catalog_offset": self.catalog_offset,
            "updated_ms": self.updated_ms,
            "outcomes": self.outcomes,
            "uses": {item_id: [use.in_quota, use.in_grace, use.over] for item_id, use in self.uses.items()},
        }
        return json.dumps(record, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, organization_id: str, encoded: bytes) -> Self:
        """Decode what `to_bytes` gave; the catalog is attached by the caller."""
        record = json.loads(encoded)
        return cls(
            organization_id=organization_id,
            created_offset=record["created_offset"],
            applied_offset=record["applied_offset"],
            catalog_offset=record["catalog_offset"],
            updated_ms=record["updated_ms"],
            outcomes={outcome: record["outcomes"].get(outcome, 0) for outcome in Outcome},
            uses={item_id: CumulativeUse(*parts) for item_id, parts in record["uses"].items()},
        )
