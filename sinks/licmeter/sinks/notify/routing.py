"""Which events a target wants, and how much of them."""

from dataclasses import replace

from licmeter.schemas.alerts import Breach
from licmeter.sinks.notify.config import Target
from licmeter.sinks.notify.events import Event

__all__ = ["wanted"]


def wanted(target: Target, event: Event) -> Event | None:
    """Return the event, without the conditions that the target does not want; None when nothing is left."""
    message = event.message
    if not target.wants_organization(message.organization_id):
        return None
    if isinstance(message, Breach):
        return event if message.kind in target.kinds else None
    if not target.usage_alerts:
        return None
    # Days before an expiry are no percent: fewer of them are worse.
    kept = tuple(
        each for each in message.conditions if each.metric == "expires_in_days" or each.level >= target.level_min
    )
    if not kept:
        return None
    return (
        event
        if len(kept) == len(message.conditions)
        else replace(event, message=message.model_copy(update={"conditions": kept}))
    )
