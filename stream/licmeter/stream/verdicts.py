"""From a decision on a request for leave to what `license.verdicts` says of it."""

from datetime import UTC, datetime

from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import AuthDecision
from licmeter.schemas.outcomes import AuthOutcome
from licmeter.schemas.verdicts import Verdict

__all__ = ["verdict_of"]


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
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
