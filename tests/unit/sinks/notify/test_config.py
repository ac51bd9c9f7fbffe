from pathlib import Path
from typing import Any

import pytest
import yaml

from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.config import ConfigError, parse_config
from tests.unit.sinks.notify.samples import SECRET, email, parse, webhook

EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "notify.yaml"


def mistakes(*targets: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(*targets)
    return caught.value.mistakes


def test_the_example_is_right() -> None:
    environment = {"SMTP_PASSWORD": "p", "KIOSK_SLACK_URL": "slack://a/b/c", "PORTAL_WEBHOOK_SECRET": SECRET}
    config = parse_config(yaml.safe_load(EXAMPLE.read_text()), environment, EXAMPLE.parent)
    assert [target.name for target in config.targets] == ["mail", "kiosk-team", "portal"]


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    base = {"name": "hook", "kind": "webhook"}
    (target,) = parse(
        base | {"url_env": "URL", "secret_file": "secret"}, environment={"URL": "https://e.org/x"}, folder=tmp_path
    )
    assert target == webhook(url="https://e.org/x")


def test_everything_that_is_wrong_is_said_at_once_and_no_secret_with_it(tmp_path: Path) -> None:
    found = mistakes(
        {"name": "A B", "kind": "webhook", "url": "http://example.org/hush", "secret": "hush"},
        {"name": "c", "kind": "apprise", "url_env": "NOT_THERE"},
        {"name": "d", "kind": "apprise", "url_file": "/not/there", "hush": "hush"},
        {"name": "e", "kind": "email", "from": "nobody", "smtp": {"host": "h", "username": "u"}},
        {"name": "f", "kind": "pigeon"},
    )
    assert found == (
        "targets.1.url_env: the environment has no NOT_THERE",
        "targets.2.url_file: /not/there cannot be read: No such file or directory",
        "targets.0.name: String should match pattern '^[a-z0-9][a-z0-9-]{0,62}$'",
        "targets.0.url: must be https, but for this machine: alerts would travel in the clear",
        "targets.0.secret: has less than 24 bytes (Standard Webhooks asks for 24 to 64)",
        "targets.2.hush: Extra inputs are not permitted",
        "targets.3.smtp: username and password go together",
        "targets.3.from: 'nobody' is no address",
        "targets.4: Input tag 'pigeon' found using 'kind' does not match any of the expected tags: "
        "'apprise', 'email', 'webhook'",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "https://e.org", "secret": "whsec_c2hvcnQ="}, "has less than 24 bytes"),
        ({"url": "https://e.org", "secret": " "}, "is empty"),
        ({"url": "https://e.org", "secret": "whsec_é"}, "is no Standard Webhooks secret"),
        ({"url": "ftp://e.org", "secret": SECRET}, "is no http or https URL"),
        ({"url": "https://e.org", "secret": SECRET, "organizations": []}, "at least 1 item"),
        ({"url": "https://e.org", "secret": SECRET, "secret_env": "X"}, "secret is given twice"),
        ({"url": "https://e.org", "secret": SECRET, "breaches": ["nonsense"]}, "breaches"),
        ({"url": "https://e.org", "secret": SECRET, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_wrong_webhooks(changes: dict[str, Any], words: str) -> None:
    assert words in "\n".join(mistakes({"name": "w", "kind": "webhook"} | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"smtp": {"host": "h", "username": "u", "password": "p", "security": "none"}}, "in the clear"),
        ({"to": "nobody"}, "nobody is no address"),
        ({"to": "a@x.org, b@x.org"}, "is no address"),
        ({"cc": "a@x.org"}, "names no address"),
        ({"breaches": "all"}, "breaches have no recipients"),
        ({"use_alert_recipients": False}, "nobody to send to"),
        ({"words": {"quota_reached": {"subject": "$nobody"}}}, "there is no nobody"),
    ],
)
def test_wrong_mails(changes: dict[str, Any], words: str) -> None:
    base = {"name": "m", "kind": "email", "from": "a@example.org", "smtp": {"host": "h"}}
    assert words in "\n".join(mistakes(base | changes))


def test_w10_recipients_are_divided_by_semicolons() -> None:
    target = email(to="a@x.org; B@x.org;;b@x.org ", bcc="c@x.org")
    assert target.recipients.to == ("a@x.org", "B@x.org")
    assert target.recipients.bcc == ("c@x.org",)
    assert target.kinds == set(BreachKind)


def test_names_differ() -> None:
    target = {"name": "w", "kind": "webhook", "url": "https://e.org", "secret": SECRET}
    assert mistakes(target, target) == ("document: names of targets must differ: w",)


@pytest.mark.parametrize("document", [None, [], {}, {"targets": []}, {"targets": "x"}, {"targets": [None]}, 7])
def test_what_is_no_document(document: Any) -> None:
    with pytest.raises(ConfigError):
        parse_config(document, {}, Path())


def test_no_secret_is_in_a_repr() -> None:
    targets = [webhook(url="https://example.org/hush"), email(smtp={"host": "h", "username": "u", "password": "hush"})]
    for target in targets:
        assert "hush" not in repr(target)
        assert SECRET not in repr(target)
        assert "hush" not in target.model_dump_json()
