"""The catalog: an organization with its license files, items and projects, as one document.

The document travels as a CloudEvent `license.catalog.v1` through `usage.events`, so that a change and a report
have one order (domain, E33); the accepted one is published, compacted, to `license.catalog`.
"""

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from licmeter.schemas.outcomes import ChargeWay

__all__ = ["CATALOG_TYPE", "CatalogEvent", "LicenseFile", "LicenseItem", "Organization", "Project", "catalog_event"]

CATALOG_TYPE: Final = "license.catalog.v1"

#: No hyphen: a project id is `{organization_id}-{custom}` (domain, section 2), and the first hyphen divides it.
OrganizationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,64}$")]
ProjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,64}-[^\s/]{1,128}$")]
ItemId = Annotated[str, StringConstraints(pattern=r"^[^\s/]{1,64}$")]

#: What this version can count; the catalog refuses the others instead of counting them wrongly.
METERED_CHARGE_WAYS: Final = frozenset({ChargeWay.PER_SCAN, ChargeWay.PER_PAGE})


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LicenseItem(_Document):
    """The unit that is bought and counted; `None` in a restriction means any."""

    item_id: ItemId
    description: str = ""
    charge_way: ChargeWay
    quota: Annotated[int, Field(ge=1)] | None = None
    starts_at: AwareDatetime
    expires_at: AwareDatetime
    expiry_grace_days: Annotated[int, Field(ge=0, le=3650)] = 7
    revoked_at: AwareDatetime | None = None
    modules: tuple[str, ...] = ()
    product: str | None = None
    version: str | None = None
    edition: str | None = None
    deployment_type: Literal["browser", "mobile", "server", "desktop", "embedded"] | None = None

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.charge_way not in METERED_CHARGE_WAYS:
            known = ", ".join(sorted(METERED_CHARGE_WAYS))
            raise ValueError(f"charge way {self.charge_way} is not counted by this version; it counts {known}")
        if self.expires_at <= self.starts_at:
            raise ValueError("expires_at must be later than starts_at")
        return self


class LicenseFile(_Document):
    """One purchase: one or more items under one id."""

    license_id: Annotated[str, Field(min_length=1, max_length=64)]
    alias: str | None = None
    status: Literal["new", "activated"] = "activated"
    hosting: Literal["hosted", "self_hosted"] = "self_hosted"
    activated_at: AwareDatetime | None = None
    items: Annotated[tuple[LicenseItem, ...], Field(min_length=1)]


class Project(_Document):
    """A named group of items used together by one application."""

    project_id: ProjectId
    name: str = ""
    item_ids: tuple[ItemId, ...] = ()
    usage_order: tuple[ItemId, ...] | None = None
    disabled_at: AwareDatetime | None = None


class Organization(_Document):
    """The licensee and all it owns; the unit in which the catalog changes."""

    organization_id: OrganizationId
    name: str = ""
    default_project_id: ProjectId | None = None
    license_files: tuple[LicenseFile, ...] = ()
    projects: tuple[Project, ...] = ()

    @property
    def items(self) -> dict[str, LicenseItem]:
        """All items of all license files by id."""
        return {item.item_id: item for file in self.license_files for item in file.items}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        mistakes = [*self._repeated_ids(), *self._dangling_ids()]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _repeated_ids(self) -> list[str]:
        items = Counter(item.item_id for file in self.license_files for item in file.items)
        projects = Counter(project.project_id for project in self.projects)
        return [
            f"{kind} {name} stands {times} times"
            for kind, ids in (("item", items), ("project", projects))
            for name, times in ids.items()
            if times > 1
        ]

    def _dangling_ids(self) -> list[str]:
        items, mistakes = self.items, []
        for project in self.projects:
            prefix = f"{self.organization_id}-"
            if not project.project_id.startswith(prefix):
                mistakes.append(f"project {project.project_id}: its id must begin with {prefix}")
            mistakes += [f"project {project.project_id}: no item {i}" for i in project.item_ids if i not in items]
            order = project.usage_order or ()
            mistakes += [
                f"project {project.project_id}: usage_order names {i}, which is not among its items"
                for i in order
                if i not in project.item_ids
            ]
        known = {project.project_id for project in self.projects}
        if self.default_project_id is not None and self.default_project_id not in known:
            mistakes.append(f"default_project_id: no project {self.default_project_id}")
        return mistakes


class CatalogEvent(BaseModel):
    """A catalog change in its CloudEvents envelope; `subject` is the organization."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    specversion: Literal["1.0"]
    type: Literal["license.catalog.v1"]
    id: Annotated[str, Field(min_length=1, max_length=64)]
    source: Annotated[str, Field(min_length=1, max_length=128)]
    subject: OrganizationId
    time: AwareDatetime
    data: Organization


def catalog_event(organization: Organization, *, event_id: str, source: str, time: datetime) -> dict[str, Any]:
    """Build the CloudEvent that makes `organization` the current document."""
    return {
        "specversion": "1.0",
        "type": CATALOG_TYPE,
        "id": event_id,
        "source": source,
        "subject": organization.organization_id,
        "time": time,
        "datacontenttype": "application/json",
        "data": organization.model_dump(mode="json", exclude_defaults=True),
    }
