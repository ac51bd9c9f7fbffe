"""Which code a client is told when its report is rejected (domain, section 5)."""

from licmeter.schemas.outcomes import RefusalCode, RejectReason

__all__ = ["client_code"]


def client_code(reason: RejectReason, project_id: str | None) -> RefusalCode | None:
    """Return the code for a reason, or None; `project_id` is what the report named, None = only its organization."""
    if reason in (RejectReason.CLOCK_SKEW, RejectReason.FUTURE_SLOT):
        return RefusalCode.CLONE_DETECTED
    if reason is RejectReason.UNKNOWN_PROJECT:
        return RefusalCode.UNKNOWN_ORGANIZATION if project_id is None else RefusalCode.UNKNOWN_PROJECT
    if reason is RejectReason.PROJECT_DISABLED:
        return RefusalCode.NO_MATCHING_ITEM
    return None
