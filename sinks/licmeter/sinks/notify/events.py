"""One record of `license.alerts`, read for those who are to be told."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from licmeter.schemas.alerts import Breach, UsageAlert

__all__ = ["Event", "decode_event"]


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"]


class _BreachEvent(_Envelope):
    type: Literal["license.breach.v1"]
    data: Breach


class _AlertEvent(_Envelope):
    type: Literal["license.usage.alert.v1"]
    data: UsageAlert


_parse = TypeAdapter[_BreachEvent | _AlertEvent](
    Annotated[_BreachEvent | _AlertEvent, Field(discriminator="type")]
).validate_json


@dataclass(frozen=True, slots=True)
class Event:
    """A breach or a usage alert, and the CloudEvent that it came in."""

    message: Breach | UsageAlert
    envelope: dict[str, Any]

    @property
    def event_id(self) -> str:
        """What tells a repeat from news."""
        return self.message.breach_id if isinstance(self.message, Breach) else self.message.alert_id


def decode_event(value: bytes) -> Event:
    """Read a record's value; raises `ValueError` for anything else than a breach or an alert."""
    event = _parse(value)
    return Event(event.data, event.model_dump(mode="json", exclude={"data"}))
