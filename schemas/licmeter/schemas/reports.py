"""The usage report, as it travels on `usage.events`: a CloudEvent 1.0 in structured JSON.

The contract is a `TypedDict`, because validating into one is two to three times faster than into a model,
and the stream validates every report. Producers build the same dictionary with `usage_report`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,  # pydantic needs this one below Python 3.12
)

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, with_config
from typing_extensions import TypedDict

from licmeter.schemas.catalog import OrganizationId, ProjectId
from licmeter.schemas.envelope import cloud_event
from licmeter.schemas.outcomes import UsageKind

__all__ = [
    "REPORT_TYPE",
    "UsageReportData",
    "UsageReportEvent",
    "Validation",
    "encode_event",
    "organization_of",
    "parse_report",
    "usage_report",
]

REPORT_TYPE: Final = "license.usage.report.v1"
FEATURES_MAX: Final = 64  # domain, section 14


def _no_bare_number(value: Any) -> Any:
    """Refuse `1732442400` and `"1732442400"`, which pydantic takes for seconds in UTC: they name no zone (T1)."""
    if not isinstance(value, str) or value[10:11] not in ("T", "t", " "):
        raise ValueError("an instant is written as RFC 3339, such as 2031-03-08T14:12:00Z")
    return value


#: "Input without zone is rejected" (T1). Lax, because behind a Python function strict would want a datetime.
Instant = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_no_bare_number)]
Feature = Annotated[str, Field(min_length=1, max_length=128)]
_STRICT = ConfigDict(strict=True, extra="ignore")


@with_config(_STRICT)
class Validation(TypedDict):
    """A static property of the application: its web domain, application id or process name."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    value: Annotated[str, Field(min_length=1, max_length=256)]


@with_config(_STRICT)
class UsageReportData(TypedDict):
    """What a client did in one slot (domain, section 2). No field may carry content, names or addresses."""

    counts: Annotated[dict[Feature, int], Field(max_length=FEATURES_MAX)]
    total: NotRequired[int | None]
    product: NotRequired[str | None]
    version: NotRequired[str | None]
    edition: NotRequired[str | None]
    deployment_type: NotRequired[str | None]
    instances: NotRequired[Annotated[int, Field(ge=1, le=1_000_000)] | None]
    validation: NotRequired[Validation | None]
    usage_kind: NotRequired[Literal["use", "reservation"] | None]
    sent_at: NotRequired[Instant | None]
    attempt: NotRequired[Annotated[int, Field(ge=1)] | None]
    # What the client had to drop since its last confirmed report: said, not counted, and no part of the content.
    dropped_reports: NotRequired[Annotated[int, Field(ge=0)] | None]
    dropped_units: NotRequired[Annotated[int, Field(ge=0)] | None]


@with_config(_STRICT)
class UsageReportEvent(TypedDict):
    """A usage report in its CloudEvents envelope.

    `source` is the client UUID and `id` the report id: the CloudEvents identity *is* the duplicate key (A1).
    `subject` is the project id; without it `organizationid` names the organization, which means its default
    project. `time` is the start of the slot.
    """

    specversion: Literal["1.0"]
    type: Literal["license.usage.report.v1"]
    id: Annotated[str, Field(min_length=1, max_length=64)]
    source: Annotated[str, Field(min_length=1, max_length=128)]
    subject: NotRequired[ProjectId | None]
    organizationid: NotRequired[OrganizationId | None]
    time: Instant
    datacontenttype: NotRequired[str | None]
    data: UsageReportData


_ADAPTER: Final = TypeAdapter(UsageReportEvent)

#: Validate one report from bytes; raises `pydantic.ValidationError`.
parse_report = _ADAPTER.validator.validate_json


def usage_report(
    *,
    report_id: str,
    client_uuid: str,
    slot: datetime,
    counts: Mapping[str, int],
    project_id: str | None = None,
    organization_id: str | None = None,
    instances: int | None = None,
    usage_kind: UsageKind = UsageKind.USE,
    **optional: Any,
) -> dict[str, Any]:
    """Build the CloudEvent of one report; nothing is checked here, so that a test can build bad ones.

    `optional` are further fields of `UsageReportData`; those that are None are left out.
    """
    data: dict[str, Any] = {"counts": dict(counts)}
    if instances is not None:
        data["instances"] = instances
    if usage_kind is not UsageKind.USE:
        data["usage_kind"] = usage_kind.value
    data |= {name: value for name, value in optional.items() if value is not None}
    return cloud_event(
        REPORT_TYPE,
        event_id=report_id,
        source=client_uuid,
        time=slot,
        data=data,
        subject=project_id,
        organization_id=organization_id,
    )


def organization_of(project_id: str) -> str:
    """Return the organization that a project id names: the part before its first hyphen."""
    return project_id.partition("-")[0]


def _encode_instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in an event")


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Encode an event as compact JSON, instants as RFC 3339."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False, default=_encode_instant).encode()
