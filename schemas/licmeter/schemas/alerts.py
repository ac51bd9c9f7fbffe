"""`license.alerts`: breach events (domain, 8.2) and usage alerts (section 11), as CloudEvents.

The `id` of an event is the hash of what it is about, so a repeat can be told from news (W12, A8).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from licmeter.schemas.envelope import cloud_event
from licmeter.schemas.outcomes import BreachKind, ChargeWay, ItemState

__all__ = [
    "ALERT_TYPE",
    "BREACH_TYPE",
    "Breach",
    "Condition",
    "RecipientLists",
    "UsageAlert",
    "alert_event",
    "parse_alert",
]

BREACH_TYPE: Final = "license.breach.v1"
ALERT_TYPE: Final = "license.usage.alert.v1"
#: No breach and no alert names its origin more closely: the stream speaks for the organization.
SOURCE: Final = "licmeter"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Breach(_Message):
    """A limit was crossed, or use was met that no license covers; one message per identity."""

    breach_id: str
    kind: BreachKind
    organization_id: str
    project_id: str | None = None
    item_id: str | None = None
    client_uuid: str | None = None
    slot: AwareDatetime = Field(description="start of the slot of the usage, or of the instant of the contact")
    quota: int | None = None
    limit: int | None = Field(default=None, description="what was crossed: Q, Q + G, N, or the overuse budget")
    value: int | None = Field(default=None, description="after the crossing")
    percent: str | None = None
    late: bool = False
    at: AwareDatetime = Field(description="when the event that led to it arrived")
    detail: str | None = Field(default=None, description="domain_refused: the domain key; clock_skew: the check")


class RecipientLists(_Message):
    """Addresses, parsed (W10)."""

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


class Condition(_Message):
    """One thing that a check found."""

    scope: Literal["item", "project"]
    item_id: str | None = None
    project_id: str | None = None
    project_ids: tuple[str, ...] | None = None
    charge_way: ChargeWay | None = None
    metric: Literal["used", "active", "consumed", "auth_failed_ratio", "expires_in_days"]
    value: int
    quota: int | None = Field(default=None, description="what 100 percent is: the quota, the budget, or all requests")
    percent: str | None = None
    level: int = Field(description="the highest level newly passed; for expires_in_days, the days")
    crossed: tuple[int, ...]
    state: ItemState | None = None
    window_minutes: int | None = None
    top_codes: Mapping[str, int] | None = None


class UsageAlert(_Message):
    """All that one check found for one organization (W2)."""

    alert_id: str
    organization_id: str
    checked_at: AwareDatetime
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]
    recipients: RecipientLists = RecipientLists()


def alert_event(message: Breach | UsageAlert) -> dict[str, Any]:
    """Build the CloudEvent of a message; `subject` is the organization."""
    if isinstance(message, Breach):
        kind, event_id, time = BREACH_TYPE, message.breach_id, message.at
    else:
        kind, event_id, time = ALERT_TYPE, message.alert_id, message.checked_at
    data = message.model_dump(mode="json", exclude_none=True)
    return cloud_event(kind, event_id=event_id, source=SOURCE, time=time, data=data, subject=message.organization_id)


class _Envelope(BaseModel):
    """What is read of a CloudEvent; the rest repeats what the data say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]


class _BreachEvent(_Envelope):
    type: Literal["license.breach.v1"]
    data: Breach


class _AlertEvent(_Envelope):
    type: Literal["license.usage.alert.v1"]
    data: UsageAlert


_parse: Final = TypeAdapter[_BreachEvent | _AlertEvent](
    Annotated[_BreachEvent | _AlertEvent, Field(discriminator="type")]
).validate_json


def parse_alert(value: bytes) -> Breach | UsageAlert:
    """Read the value of a record; raises `pydantic.ValidationError` for anything else than a breach or an alert."""
    return _parse(value).data
