import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from licmeter.schemas.alerts import RecipientLists
from licmeter.sinks.notify.errors import RefusedError
from licmeter.sinks.notify.notices import delivery_key, webhook_notice
from licmeter.sinks.notify.senders import redactor
from licmeter.sinks.notify.webhooks import WebhookSender, retry_after_s, signed_headers
from tests.unit.sinks.notify.samples import SECRET, alert, breach, event, webhook

NOW = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
OTHER = "whsec_" + "YW5vdGhlci1zZWNyZXQtb2YtdGhlLXNhbWUtdGFyZ2V0"


def test_each_of_several_secrets_verifies() -> None:
    headers = signed_headers([SECRET, OTHER], "msg_1", '{"a":1}', datetime.now(UTC))
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify('{"a":1}', headers) == {"a": 1}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("-7", None),
        ("soon", None),
        ("Sat, 08 Mar 2031 10:02:00 GMT", 120.0),
        ("Sat, 08 Mar 2031 09:00:00 GMT", 0.0),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


def test_w12_the_key_is_that_of_event_and_target_whenever_it_is_made() -> None:
    assert delivery_key("hook", ["b1"]) == webhook_notice(webhook(), event(breach())).key
    keys = {delivery_key(target, ids) for target in ("a", "b") for ids in (["1"], ["2"], ["1", "2"], ["12"])}
    assert len(keys) == 8


def test_the_body_is_the_cloud_event_without_other_recipients() -> None:
    recipients = RecipientLists(to=("a@example.org",), bcc=("b@example.org",))
    body = webhook_notice(webhook(), event(alert(recipients=recipients))).body
    document = json.loads(body)
    assert document["specversion"] == "1.0"
    assert document["type"] == "license.usage.alert.v1"
    assert document["id"] == "a1"
    assert document["subject"] == "300417"
    assert document["data"]["conditions"][0]["value"] == 1610
    assert "example.org" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "localhost", "192.168.1.1"])
async def test_public_only_refuses_addresses_of_the_inside(host: str) -> None:
    target = webhook(url=f"https://{host}/x", public_only=True)
    sender = WebhookSender(target, redactor(target))
    try:
        with pytest.raises(RefusedError, match="not public"):
            await sender.send(webhook_notice(target, event(breach())))
    finally:
        await sender.close()


def test_a_signature_is_over_id_time_and_body() -> None:
    now = datetime.now(UTC)
    headers = signed_headers([SECRET], "msg_1", "{}", now)
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int((now + timedelta(seconds=9)).timestamp()))}):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(SECRET).verify("{}", headers | changed)
