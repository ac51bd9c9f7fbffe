"""Alerts and targets to build tests from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from licmeter.schemas.alerts import Breach, Condition, RecipientLists, UsageAlert, alert_event
from licmeter.schemas.outcomes import BreachKind
from licmeter.schemas.reports import encode_event
from licmeter.sinks.notify.config import AppriseTarget, EmailTarget, Target, WebhookTarget, parse_config
from licmeter.sinks.notify.digests import Gathered
from licmeter.sinks.notify.events import Event, decode_event

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LXJlY2VpdmVyLTEyMzQ="
SLOT = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
AT = datetime(2031, 3, 8, 10, 1, tzinfo=UTC)


def breach(number: int = 1, kind: BreachKind = BreachKind.QUOTA_REACHED, **changes: Any) -> Breach:
    values = {
        "breach_id": f"b{number}",
        "kind": kind,
        "organization_id": "300417",
        "project_id": "300417-kiosk",
        "item_id": "41",
        "client_uuid": f"device-{number}",
        "slot": SLOT,
        "quota": 2000,
        "limit": 2000,
        "value": 2010,
        "percent": "100.50",
        "at": AT,
    }
    return Breach.model_validate(values | changes)


def condition(**changes: Any) -> Condition:
    values = {
        "scope": "item",
        "item_id": "41",
        "project_ids": ("300417-kiosk",),
        "charge_way": "per_page",
        "metric": "used",
        "value": 1610,
        "quota": 2000,
        "percent": "80.50",
        "level": 80,
        "crossed": (60, 80),
        "state": "active",
    }
    return Condition.model_validate(values | changes)


RATIO = condition(
    scope="project",
    item_id=None,
    project_id="300417-kiosk",
    project_ids=None,
    charge_way=None,
    metric="auth_failed_ratio",
    value=9,
    quota=40,
    percent="22.50",
    level=20,
    crossed=(10, 20),
    state=None,
    window_minutes=60,
    top_codes={"120": 7, "111": 2},
)
EXPIRY = condition(metric="expires_in_days", value=7, quota=None, percent=None, level=7, crossed=(7,))


def alert(*conditions: Condition, recipients: RecipientLists | None = None) -> UsageAlert:
    return UsageAlert(
        alert_id="a1",
        organization_id="300417",
        checked_at=datetime(2031, 3, 8, 10, 20, tzinfo=UTC),
        conditions=conditions or (condition(),),
        recipients=recipients or RecipientLists(),
    )


def event(message: Breach | UsageAlert) -> Event:
    return decode_event(encode_event(alert_event(message)))


def gathered(*breaches: Breach) -> Gathered:
    first = breaches[0]
    result = Gathered(first.organization_id, first.kind, 0, 0, 60_000)
    for offset, each in enumerate(breaches):
        result.add(each, offset)
    return result


def parse(
    *targets: dict[str, Any], environment: dict[str, str] | None = None, folder: Path = Path()
) -> tuple[Target, ...]:
    return parse_config({"targets": list(targets)}, environment or {}, folder).targets


def webhook(**changes: Any) -> WebhookTarget:
    values = {"name": "hook", "kind": "webhook", "url": "https://example.org/hook", "secret": SECRET}
    (target,) = parse(values | changes)
    assert isinstance(target, WebhookTarget)
    return target


def email(**changes: Any) -> EmailTarget:
    values = {"name": "mail", "kind": "email", "smtp": {"host": "smtp.example.org"}, "from": "l <l@example.org>"}
    (target,) = parse(values | changes)
    assert isinstance(target, EmailTarget)
    return target


def chat(**changes: Any) -> AppriseTarget:
    (target,) = parse({"name": "chat", "kind": "apprise", "url": "slack://a/b/c"} | changes)
    assert isinstance(target, AppriseTarget)
    return target
