import pytest

from licmeter.schemas.alerts import UsageAlert
from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.routing import wanted
from tests.unit.sinks.notify.samples import EXPIRY, RATIO, alert, breach, condition, email, event, webhook


@pytest.mark.parametrize(
    ("changes", "message", "expected"),
    [
        ({}, breach(), True),
        ({}, alert(), True),
        ({"organizations": ["300417", "7"]}, breach(), True),
        ({"organizations": ["7"]}, breach(), False),
        ({"organizations": ["7"]}, alert(), False),
        ({"breaches": "none"}, breach(), False),
        ({"breaches": "none"}, alert(), True),
        ({"breaches": ["clock_skew"]}, breach(), False),
        ({"breaches": ["clock_skew"]}, breach(kind=BreachKind.CLOCK_SKEW), True),
        ({"usage_alerts": False}, alert(), False),
        ({"usage_alerts": False}, breach(), True),
        ({"level_min": 80}, alert(), True),
        ({"level_min": 81}, alert(), False),
    ],
)
def test_filters(changes: dict[str, object], message: object, expected: bool) -> None:
    assert (wanted(webhook(**changes), event(message)) is not None) is expected  # type: ignore[arg-type]


def test_conditions_below_the_level_are_left_out_and_reminders_of_an_expiry_never() -> None:
    found = wanted(webhook(level_min=80), event(alert(condition(), RATIO, condition(level=60), EXPIRY)))
    assert found is not None
    assert isinstance(found.message, UsageAlert)
    assert [each.metric for each in found.message.conditions] == ["used", "expires_in_days"]


def test_mail_without_recipients_of_its_own_takes_no_breaches() -> None:
    assert wanted(email(), event(breach())) is None
    assert wanted(email(to="a@example.org"), event(breach())) is not None
