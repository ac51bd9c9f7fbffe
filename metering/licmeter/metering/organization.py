"""What is known and counted of one organization: the current catalog, and absolute counters.

The state is a function of the organization's events up to `applied_offset`, the fence: an event at or below it
is already folded in and must be skipped.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Self

from licmeter.metering.breaches import NoticeBook
from licmeter.metering.consumption import consumption_order
from licmeter.metering.domains import DOMAIN_KIND, field_key
from licmeter.metering.items import MeteredItem, field_keys, instant_ms
from licmeter.metering.report import Report
from licmeter.metering.requests import RequestWindows
from licmeter.metering.seats import SeatBook
from licmeter.schemas.catalog import Organization, Project
from licmeter.schemas.outcomes import ChargeWay, Outcome

__all__ = ["NOBODY", "ItemUse", "MeteredCatalog", "MeteredProject", "OrganizationState"]

#: The organization that counts what names no known one.
NOBODY: Final = ""
#: Features and restrictions are the client's words, so the memory of what is eligible for them has a bound.
ELIGIBLE_CACHE_MAX: Final = 4_096


class MeteredProject:
    """A project with its items in consumption order."""

    def __init__(self, project: Project, items: dict[str, MeteredItem], suffixes: tuple[str, ...]) -> None:
        self.project_id = project.project_id
        self.disabled_ms = None if project.disabled_at is None else instant_ms(project.disabled_at)
        self.has_password = project.session_password_hash is not None
        self.fields = field_keys(project.validation_fields, suffixes)
        self.items = consumption_order([items[item_id] for item_id in project.item_ids], project.usage_order)
        self._suffixes = suffixes
        self._checks_fields = any(item.fields for item in self.items)
        self._eligible: dict[tuple[str | None, ...], tuple[MeteredItem, ...]] = {}

    def is_disabled(self, slot_s: int) -> bool:
        """Tell whether reports of a slot come after the project was disabled (E10)."""
        return self.disabled_ms is not None and slot_s * 1000 >= self.disabled_ms

    def fitting(self, feature: str | None, report: Report) -> list[MeteredItem]:
        """Return the items that fit a feature of a report but for validation fields, in order; None = any feature."""
        wanted = (feature, report.product, report.version, report.edition, report.deployment_type)
        items = self._eligible.get(wanted)
        if items is None:
            items = tuple(
                item for item in self.items if (feature is None or item.covers(feature)) and item.matches(wanted[1:])
            )
            if len(self._eligible) >= ELIGIBLE_CACHE_MAX:
                self._eligible.clear()
            self._eligible[wanted] = items
        slot_s = report.slot_s
        return [item for item in items if item.valid_in(slot_s)]

    def eligible(self, feature: str | None, report: Report) -> list[MeteredItem]:
        """Return the items that may take a feature of a report, in order (7.1)."""
        items = self.fitting(feature, report)
        if not self._checks_fields:
            return items
        validation = None if report.validation is None else field_key(report.validation, self._suffixes)
        return [item for item in items if item.admits(validation)]

    def refusing_domain(self, feature: str | None, report: Report) -> tuple[str, list[MeteredItem]]:
        """Return the report's domain key and the per-domain items that would take the feature on another host."""
        if not self._checks_fields or report.validation is None:
            return "", []
        validation = field_key(report.validation, self._suffixes)
        if validation[0] != DOMAIN_KIND:
            return "", []
        items = [item for item in self.fitting(feature, report) if item.charge_way is ChargeWay.PER_DOMAIN]
        return validation[1], [item for item in items if not item.admits(validation)]


class MeteredCatalog:
    """An organization's document made ready for counting."""

    def __init__(self, document: Organization) -> None:
        self.document = document
        self.suffixes = document.platform_suffixes
        self.items = {item_id: MeteredItem.of(item, self.suffixes) for item_id, item in document.items.items()}
        self.projects = {p.project_id: MeteredProject(p, self.items, self.suffixes) for p in document.projects}

    def project(self, project_id: str | None) -> MeteredProject | None:
        """Return a project; None names the default project."""
        if project_id is None:
            project_id = self.document.default_project_id
        return None if project_id is None else self.projects.get(project_id)


@dataclass(slots=True)
class ItemUse:
    """What was counted on one item; nothing in it ever decreases (A7).

    Units in three parts for cumulative items (C3), all attributed units, and exceptions by budget year (N2).
    `crossed` are the slots of a gauge's last crossings, by kind of breach.
    """

    in_quota: int = 0
    in_grace: int = 0
    over: int = 0
    attributed: int = 0
    consumed: dict[int, int] = field(default_factory=dict)
    crossed: dict[str, int] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Units charged to a cumulative item (C1)."""
        return self.in_quota + self.in_grace + self.over


@dataclass(slots=True)
class OrganizationState:
    """Counters of one organization; `catalog_offset` is the offset of the event that brought the catalog.

    `NOBODY` stands for all records of a partition that name no known organization. What came before
    `created_offset`, the organization's first catalog, was counted there, and is so again in a repeat.
    Seats and notices are kept in records of their own; they are not part of `to_bytes`. `contacts` are those with
    seats since somebody last took them away: item, client, project ("" = without use), instant.
    """

    organization_id: str
    created_offset: int = -1
    applied_offset: int = -1
    catalog_offset: int | None = None
    updated_ms: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    granted: int = 0
    refused: int = 0
    uses: dict[str, ItemUse] = field(default_factory=dict)
    requests: RequestWindows = field(default_factory=RequestWindows)
    seats: dict[str, SeatBook] = field(default_factory=dict)
    notices: NoticeBook = field(default_factory=NoticeBook)
    contacts: list[tuple[str, str, str, int]] = field(default_factory=list)
    catalog: MeteredCatalog | None = None

    def use(self, item_id: str) -> ItemUse:
        """Return the counters of an item, from zero when it was never used."""
        use = self.uses.get(item_id)
        if use is None:
            use = self.uses[item_id] = ItemUse()
        return use

    def seat_book(self, item_id: str) -> SeatBook:
        """Return the seats (leases for a concurrency item) of an item."""
        book = self.seats.get(item_id)
        if book is None:
            book = self.seats[item_id] = SeatBook()
        return book

    def adopt(self, document: Organization, offset: int) -> None:
        """Make a document the current catalog. Counters stay, also those of items that are gone (A7, P2)."""
        self.catalog = MeteredCatalog(document)
        self.catalog_offset = offset
        for item_id in self.catalog.items:
            self.use(item_id)

    def to_bytes(self) -> bytes:
        """Encode everything but the catalog, which is kept by its offset, and seats and notices."""
        record: dict[str, Any] = {
            "created_offset": self.created_offset,
            "applied_offset": self.applied_offset,
            "catalog_offset": self.catalog_offset,
            "updated_ms": self.updated_ms,
            "outcomes": self.outcomes,
            "granted": self.granted,
            "refused": self.refused,
            "uses": {
                item_id: [use.in_quota, use.in_grace, use.over, use.attributed, use.consumed, use.crossed]
                for item_id, use in self.uses.items()
            },
            "requests": self.requests.to_json(),
            "notices_withheld": self.notices.withheld,
        }
        return json.dumps(record, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, organization_id: str, encoded: bytes) -> Self:
        """Decode what `to_bytes` gave; catalog, seats and notices are attached by the caller."""
        record = json.loads(encoded)
        return cls(
            organization_id=organization_id,
            created_offset=record["created_offset"],
            applied_offset=record["applied_offset"],
            catalog_offset=record["catalog_offset"],
            updated_ms=record["updated_ms"],
            outcomes={outcome: record["outcomes"].get(outcome, 0) for outcome in Outcome},
            granted=record["granted"],
            refused=record["refused"],
            uses={item_id: _read_use(parts) for item_id, parts in record["uses"].items()},
            requests=RequestWindows.from_json(record["requests"]),
            notices=NoticeBook(withheld=record["notices_withheld"]),
        )


def _read_use(parts: list[Any]) -> ItemUse:
    in_quota, in_grace, over, attributed, consumed, crossed = parts
    by_year = {int(year): exceptions for year, exceptions in consumed.items()}
    return ItemUse(in_quota, in_grace, over, attributed, by_year, crossed)
