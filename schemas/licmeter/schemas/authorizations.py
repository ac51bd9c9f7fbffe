"""The authorization event: somebody asked for leave to run, and what was answered.

It travels on `usage.events` beside the reports, so that seats have one order (domain, section 2, AuthEvent).
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from licmeter.schemas.catalog import ItemId, OrganizationId, ProjectId, ValidationField
from licmeter.schemas.envelope import cloud_event
from licmeter.schemas.outcomes import ChargeWay, RefusalCode
from licmeter.schemas.reports import Instant

__all__ = ["AUTHORIZATION_TYPE", "AuthorizationData", "AuthorizationEvent", "Question", "authorization"]

AUTHORIZATION_TYPE: Final = "license.authorization.v1"

Word = Annotated[str, Field(max_length=128)]


class Question(BaseModel):
    """What is asked: which program, on what terms, for what."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    product: Word | None = None
    version: Word | None = None
    edition: Word | None = None
    deployment_type: Word | None = None
    charge_way: ChargeWay | Literal["auto"] = "auto"
    feature: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    requested_instances: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    validation: ValidationField | None = None


class AuthorizationData(Question):
    """What was asked, and what the authorizer answered; without `result`, the stream's own verdict is the answer."""

    password_ok: bool | None = Field(
        default=None, description="what the authorizer found; the password itself never travels"
    )
    clone_suspected: bool = False
    result: Literal["ok", "refused"] | None = None
    code: RefusalCode | None = None
    item_id: ItemId | None = None
    local_expires_at: Instant | None = None


class AuthorizationEvent(BaseModel):
    """The envelope: `source` is the client UUID, `id` the authorization's id, `time` the instant of the request."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    specversion: Literal["1.0"]
    type: Literal["license.authorization.v1"]
    id: Annotated[str, Field(min_length=1, max_length=64)]
    source: Annotated[str, Field(min_length=1, max_length=128)]
    subject: ProjectId | None = None
    organizationid: OrganizationId | None = None
    time: Instant
    data: AuthorizationData = AuthorizationData()


def authorization(
    *,
    auth_id: str,
    client_uuid: str,
    at: Any,
    project_id: str | None = None,
    organization_id: str | None = None,
    **data: Any,
) -> dict[str, Any]:
    """Build the CloudEvent of one authorization; `data` are fields of `AuthorizationData`. Nothing is checked."""
    return cloud_event(
        AUTHORIZATION_TYPE,
        event_id=auth_id,
        source=client_uuid,
        time=at,
        data=data,
        subject=project_id,
        organization_id=organization_id,
    )
