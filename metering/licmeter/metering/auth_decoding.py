"""From the bytes of an authorization event to a request, or to the reason why it is none; needs no state."""

from typing import Any

from pydantic import ValidationError

from licmeter.metering.authorization import Authorization
from licmeter.metering.items import instant_ms
from licmeter.metering.limits import Limits
from licmeter.metering.refused import Refused
from licmeter.schemas.authorizations import AuthorizationEvent
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.reports import organization_of

__all__ = ["first_error", "key_mismatch", "to_authorization"]


def to_authorization(organization_id: str, value: bytes, received_ms: int, limits: Limits) -> Authorization | Refused:
    """Decode an authorization event of the organization that the record's key names."""
    try:
        event = AuthorizationEvent.model_validate_json(value)
        at_ms = instant_ms(event.time)
    except ValidationError as error:
        return Refused(RejectReason.INVALID_SCHEMA, first_error(error))
    except OverflowError:
        return Refused(RejectReason.INVALID_SCHEMA, "an instant is outside the years 1 to 9999")
    if event.subject is None and event.organizationid is None:
        return Refused(RejectReason.INVALID_SCHEMA, "neither subject (project) nor organizationid is given")
    if mismatch := key_mismatch(organization_id, event.subject, event.organizationid):
        return mismatch
    if abs(at_ms - received_ms) > limits.skew_ms or at_ms > received_ms + limits.future_ms:
        # G2 of decision 8: no device's clock is right that is so far off.
        detail = f"the request's time is {(at_ms - received_ms) // 1000} s from the arrival"
        return Refused(RejectReason.CLOCK_SKEW, detail, event.source, event.subject)
    return Authorization(organization_id, event.subject, event.source, event.id, at_ms, received_ms, event.data)


def key_mismatch(organization_id: str, project_id: str | None, named: str | None) -> Refused | None:
    """Refuse an event that names another organization than its record's key."""
    if project_id is not None and organization_of(project_id) != organization_id:
        owner = organization_of(project_id)
    elif named is not None and named != organization_id:
        owner = named
    else:
        return None
    return Refused(RejectReason.KEY_MISMATCH, f"the event is of organization {owner}, the key says {organization_id}")


def first_error(error: ValidationError) -> str:
    """Say where and what, but not the value: it may be anything (domain, section 2: no content)."""
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'event'}: {first['msg']}"
