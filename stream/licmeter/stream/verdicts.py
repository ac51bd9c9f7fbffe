"""From a decision on a request for leave to what `license.verdicts` says of it."""

from datetime import UTC, datetime, timedelta
from typing import Final

from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import AuthDecision
from licmeter.schemas.outcomes import AuthOutcome
from licmeter.schemas.verdicts import Verdict

__all__ = ["verdict_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
#: What can be said as an instant. An item that ends in the last days of 9999 has its grace beyond it, and a recorded
#: end may have been in another zone; such an event must not end the worker.
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS


def verdict_of(request: Authorization, decision: AuthDecision, partition: int, offset: int) -> Verdict:
    """Return the message; of nothing but the event and the decision, so a repeat gives the same."""
    code, end_ms = decision.code, decision.local_expires_ms
    granted = decision.outcome is AuthOutcome.GRANTED
    return Verdict(
        organization_id=request.organization_id,
        project_id=decision.project_id or None,
        client_uuid=request.client_uuid,
        auth_id=request.auth_id,
        at=_instant(request.at_ms),
        outcome=decision.outcome,
        code=code,
        code_number=None if code is None else code.number,
        item_id=decision.item_id or None,
        local_expires_at=_instant(end_ms) if granted and end_ms is not None else None,
        reason=decision.reason,
        source_partition=partition,
        source_offset=offset,
    )


def _instant(epoch_ms: int) -> datetime:
    """Return an instant, exact to the millisecond; outside the years 1 to 9999 the nearest one within."""
    return _EPOCH + min(max(epoch_ms, _FIRST_MS), _LAST_MS) * _MS
