"""Sample alerts, by which a target can be tried."""

from datetime import datetime, timedelta

from licmeter.metering.slots import slot_start
from licmeter.schemas.alerts import Breach, Condition, RecipientLists, UsageAlert, alert_event
from licmeter.schemas.outcomes import BreachKind, ChargeWay, ItemState
from licmeter.sinks.notify.config import Target, WebhookTarget
from licmeter.sinks.notify.digests import Gathered
from licmeter.sinks.notify.events import Event
from licmeter.sinks.notify.notices import Notice, alert_notice, breach_notice, webhook_notice

__all__ = ["sample_notice"]


def sample_notice(target: Target, kind: BreachKind | None, now: datetime, to: str | None = None) -> Notice:
    """Return a notice of made-up numbers, said to be a test: of a breach, or without a kind of a usage alert."""
    identifier = f"test-{now:%Y%m%dT%H%M%S%f}"
    message = _alert(identifier, now) if kind is None else _breach(identifier, kind, now)
    if isinstance(target, WebhookTarget):
        envelope = {name: value for name, value in alert_event(message).items() if name != "data"}
        return webhook_notice(target, Event(message, envelope | {"time": now.isoformat()}))
    if isinstance(message, UsageAlert):
        notice = alert_notice(target, message)
    else:
        at_ms = int(now.timestamp() * 1000)
        gathered = Gathered(message.organization_id, message.kind, 0, at_ms, at_ms)
        gathered.add(message, 0)
        notice = breach_notice(target, gathered)
    changes = {"title": f"Test: {notice.title}", "text": f"This is a test; all numbers are made up.\n\n{notice.text}"}
    recipients = notice.recipients if to is None else RecipientLists(to=(to,))
    return notice.model_copy(update={**changes, "recipients": recipients})


def _breach(identifier: str, kind: BreachKind, now: datetime) -> Breach:
    slot_s = slot_start(int(now.timestamp()))
    return Breach(
        breach_id=identifier,
        kind=kind,
        organization_id="example",
        project_id="example-kiosk",
        item_id="example-item",
        client_uuid="example-device",
        slot=datetime.fromtimestamp(slot_s, now.tzinfo),
        quota=2000,
        limit=2000,
        value=2010,
        percent="100.50",
        at=now,
    )


def _alert(identifier: str, now: datetime) -> UsageAlert:
    condition = Condition(
        scope="item",
        item_id="example-item",
        project_ids=("example-kiosk",),
        charge_way=ChargeWay.PER_PAGE,
        metric="used",
        value=1610,
        quota=2000,
        percent="80.50",
        level=80,
        crossed=(60, 80),
        state=ItemState.ACTIVE,
    )
    checked_at = now - timedelta(seconds=now.timestamp() % 600)
    return UsageAlert(alert_id=identifier, organization_id="example", checked_at=checked_at, conditions=(condition,))
