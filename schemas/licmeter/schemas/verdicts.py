"""`license.verdicts`: the stream's answer to every request for leave to run, as CloudEvents.

The gateway waits for it (decision 10). A repeat of the same event gives the same bytes.
"""

from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from licmeter.schemas.envelope import cloud_event
from licmeter.schemas.outcomes import AuthOutcome, RefusalCode, RejectReason

__all__ = ["VERDICT_TYPE", "Verdict", "parse_verdict", "verdict_event"]

VERDICT_TYPE: Final = "license.verdict.v1"
SOURCE: Final = "licmeter"


class Verdict(BaseModel):
    """What was answered to one request; `duplicate` says that it was answered before, `rejected` that it is none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    organization_id: str
    project_id: str | None = None
    client_uuid: str
    auth_id: str
    at: AwareDatetime
    outcome: AuthOutcome
    code: RefusalCode | None = None
    code_number: int | None = None
    item_id: str | None = None
    local_expires_at: AwareDatetime | None = None
    reason: RejectReason | None = None
    source_partition: int
    source_offset: int


class _VerdictEvent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["license.verdict.v1"]
    data: Verdict


def verdict_event(verdict: Verdict) -> dict[str, Any]:
    """Build the CloudEvent; its id is the place of the request in the log, `subject` the organization."""
    return cloud_event(
        VERDICT_TYPE,
        event_id=f"{verdict.source_partition}:{verdict.source_offset}",
        source=SOURCE,
        time=verdict.at,
        data=verdict.model_dump(mode="json", exclude_none=True),
        subject=verdict.organization_id,
    )


def parse_verdict(value: bytes) -> Verdict:
    """Read the event of a verdict; raises `pydantic.ValidationError`."""
    return _VerdictEvent.model_validate_json(value).data
