"""What is delivered to one target: one message or one request, with the key that makes a repeat known."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from licmeter.schemas.alerts import Breach, RecipientLists, UsageAlert
from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.composing import alert_page, breach_page
from licmeter.sinks.notify.config import AppriseTarget, EmailTarget, WebhookTarget
from licmeter.sinks.notify.digests import Gathered
from licmeter.sinks.notify.events import Event
from licmeter.sinks.notify.pages import Page, as_html, as_text

__all__ = ["Notice", "alert_notice", "breach_notice", "delivery_key", "webhook_notice"]

#: A notice names the first events that it tells of; all of them are in its key.
EVENT_IDS_MAX: Final = 20
_URGENT: Final = frozenset({BreachKind.GRACE_EXHAUSTED, BreachKind.OVERUSE_EXHAUSTED})
_FULL_PERCENT: Final = 100

Severity = Literal["info", "warning", "failure"]
PeopleTarget = AppriseTarget | EmailTarget


class Notice(BaseModel):
    """One thing to deliver to one target; all that is needed to do it, so it can wait as a dead letter."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    target: str
    organization_id: str
    kind: str = Field(description="usage_alert, or the kind of the breaches")
    event_ids: Annotated[tuple[str, ...], Field(max_length=EVENT_IDS_MAX)]
    events: int
    severity: Severity = "warning"
    title: str = ""
    text: str = ""
    html: str = ""
    recipients: RecipientLists = RecipientLists()
    left: tuple[str, ...] | None = Field(None, description="the addresses still to be reached; None = all")
    body: str = Field("", description="of a webhook")

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are still to be reached, each once."""
        everyone = (*self.recipients.to, *self.recipients.cc, *self.recipients.bcc)
        return tuple(dict.fromkeys(everyone)) if self.left is None else self.left


def delivery_key(target: str, event_ids: Sequence[str]) -> str:
    """Return the key of events for a target: the same whenever they are delivered again."""
    text = json.dumps([target, *event_ids], ensure_ascii=False, separators=(",", ":"))
    return "msg_" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def webhook_notice(target: WebhookTarget, event: Event) -> Notice:
    """Return the CloudEvent for a receiver; whom else it is sent to is not the receiver's business."""
    message = event.message
    data = message.model_dump(mode="json", exclude_none=True, exclude={"recipients"})
    body = json.dumps(event.envelope | {"data": data}, separators=(",", ":"))
    return Notice(
        key=delivery_key(target.name, [event.event_id]),
        target=target.name,
        organization_id=message.organization_id,
        kind=message.kind if isinstance(message, Breach) else "usage_alert",
        event_ids=(event.event_id,),
        events=1,
        body=body,
    )


def breach_notice(target: PeopleTarget, gathered: Gathered) -> Notice:
    """Return the message of breaches of one kind."""
    key = delivery_key(target.name, gathered.event_ids)
    page = breach_page(gathered, target.words.get(gathered.kind), key)
    severity: Severity = "failure" if gathered.kind in _URGENT else "warning"
    recipients = target.recipients if isinstance(target, EmailTarget) else RecipientLists()
    return _people_notice(
        target, gathered.kind, gathered.organization_id, gathered.event_ids, page, severity, recipients
    )


def alert_notice(target: PeopleTarget, alert: UsageAlert) -> Notice:
    """Return the message of a usage alert."""
    ids = [alert.alert_id]
    page = alert_page(alert, target.words.get("usage_alert"), delivery_key(target.name, ids))
    full = any(each.level >= _FULL_PERCENT and each.metric != "expires_in_days" for each in alert.conditions)
    recipients = RecipientLists()
    if isinstance(target, EmailTarget):
        own = alert.recipients if target.use_alert_recipients else RecipientLists()
        recipients = own if any((own.to, own.cc, own.bcc)) else target.recipients
    severity: Severity = "failure" if full else "warning"
    return _people_notice(target, "usage_alert", alert.organization_id, ids, page, severity, recipients)


def _people_notice(
    target: PeopleTarget,
    kind: str,
    organization_id: str,
    event_ids: Sequence[str],
    page: Page,
    severity: Severity,
    recipients: RecipientLists,
) -> Notice:
    return Notice(
        key=page.reference,
        target=target.name,
        organization_id=organization_id,
        kind=kind,
        event_ids=tuple(event_ids[:EVENT_IDS_MAX]),
        events=len(event_ids),
        severity=severity,
        title=page.title,
        text=as_text(page),
        html=as_html(page) if isinstance(target, EmailTarget) else "",
        recipients=recipients,
    )
