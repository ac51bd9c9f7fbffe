"""The catalog: an organization with its license files, items and projects, as one document.

The document travels as a CloudEvent `license.catalog.v1` through `usage.events`, so that a change and a report
have one order (domain, E33); the accepted one is published, compacted, to `license.catalog`.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from licmeter.schemas.catalog_rules import item_mistakes, link_mistakes
from licmeter.schemas.envelope import cloud_event
from licmeter.schemas.outcomes import ActivityPeriod, ChargeWay

__all__ = [
    "CATALOG_TYPE",
    "LICENSE_KEYS_MAX",
    "AlertSettings",
    "CatalogEvent",
    "LicenseFile",
    "LicenseItem",
    "LicenseKey",
    "Organization",
    "Project",
    "Recipients",
    "ValidationField",
    "catalog_event",
]

CATALOG_TYPE: Final = "license.catalog.v1"

#: Keys of one project, those that ended or were revoked included. Rotated every month, that is eight years.
LICENSE_KEYS_MAX: Final = 100

#: What the contract's `\s` is, written out for the published schemas: to other engines it is more, or less.
_SPACES: Final = r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: No hyphen: a project id is `{organization_id}-{custom}` (domain, section 2), and the first hyphen divides it.
OrganizationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,64}$")]
ProjectId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,64}-[^\s/]{1,128}$"),
    Field(json_schema_extra={"pattern": rf"^[A-Za-z0-9_.]{{1,64}}-[^{_SPACES}/]{{1,128}}$"}),
]
ItemId = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s/]{1,64}$"),
    Field(json_schema_extra={"pattern": rf"^[^{_SPACES}/]{{1,64}}$"}),
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ValidationField(_Document):
    """A static property of the application: web domain, application id, process name (domain, section 1)."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    value: Annotated[str, Field(min_length=1, max_length=256)]


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
    activity_period: ActivityPeriod | None = Field(default=None, description="device items: how long a seat lives")
    overuse_budget: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="concurrency items: exceptions a budget year; default 1000 × quota (N3)"
    )
    base_item_ids: tuple[ItemId, ...] = Field(
        default=(), description="an add-on: one of these must be in the project, too (code 124)"
    )
    validation_fields: tuple[ValidationField, ...] = ()

    @model_validator(mode="after")
    def _valid(self) -> Self:
        mistakes = list(item_mistakes(self.model_dump()))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class LicenseFile(_Document):
    """One purchase: one or more items under one id."""

    license_id: Annotated[str, Field(min_length=1, max_length=64)]
    alias: str | None = None
    status: Literal["new", "activated"] = "activated"
    hosting: Literal["hosted", "self_hosted"] = "self_hosted"
    activated_at: AwareDatetime | None = None
    items: Annotated[tuple[LicenseItem, ...], Field(min_length=1)]


class LicenseKey(_Document):
    """What the catalog keeps of a license key (`license_keys` has its text's form); never the secret itself."""

    key_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{16}$")]
    #: Not in a repr: that ends up in logs and tracebacks.
    secret_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    label: Annotated[str, Field(max_length=128)] = ""
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = Field(default=None, description="after a rotation: the end of the overlap")
    revoked_at: AwareDatetime | None = None


class Project(_Document):
    """A named group of items used together by one application."""

    project_id: ProjectId
    name: str = ""
    item_ids: tuple[ItemId, ...] = ()
    usage_order: tuple[ItemId, ...] | None = None
    disabled_at: AwareDatetime | None = None
    validation_fields: tuple[ValidationField, ...] = ()
    session_password_hash: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(default=None, repr=False)
    license_keys: Annotated[tuple[LicenseKey, ...], Field(max_length=LICENSE_KEYS_MAX)] = ()


#: Percent of a quota, a budget or all requests.
Levels = Annotated[tuple[Annotated[int, Field(ge=1, le=1_000)], ...], Field(max_length=20)]


class Recipients(_Document):
    """To whom usage alerts go: lists of addresses, divided by `;` (W10)."""

    to: Annotated[str, Field(min_length=1)]
    cc: str = ""
    bcc: str = ""


class AlertSettings(_Document):
    """What the ten-minute check notices (W3); levels that are not given are those of the preset."""

    preset: Literal["default", "legacy"] = "default"
    cumulative_levels: Levels | None = None
    device_levels: Levels | None = None
    daily_device_levels: Levels | None = None
    concurrency_levels: Levels | None = None
    failure_levels: Levels | None = None
    failure_requests_min: Annotated[int, Field(ge=1)] = 10
    expiry_reminder_days: Annotated[tuple[Annotated[int, Field(ge=1, le=3650)], ...], Field(max_length=20)] = ()
    recipients: Recipients | None = None


class Organization(_Document):
    """The licensee and all it owns; the unit in which the catalog changes."""

    organization_id: OrganizationId
    name: str = ""
    default_project_id: ProjectId | None = None
    license_files: tuple[LicenseFile, ...] = ()
    projects: tuple[Project, ...] = ()
    #: Suffixes that several customers share, beyond the Public Suffix List (O2).
    platform_suffixes: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = ()
    alerts: AlertSettings = AlertSettings()

    @property
    def items(self) -> dict[str, LicenseItem]:
        """All items of all license files by id."""
        return {item.item_id: item for file in self.license_files for item in file.items}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        mistakes = [f"{path}: {sentence}" if path else sentence for path, sentence in link_mistakes(self.model_dump())]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


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
    return cloud_event(
        CATALOG_TYPE,
        event_id=event_id,
        source=source,
        time=time,
        data=organization.model_dump(mode="json", exclude_defaults=True),
        subject=organization.organization_id,
    )
