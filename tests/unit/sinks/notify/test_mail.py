from email.policy import SMTPUTF8

import pytest

from licmeter.schemas.alerts import RecipientLists
from licmeter.sinks.notify.addresses import is_address
from licmeter.sinks.notify.mail import mail_message
from licmeter.sinks.notify.notices import Notice, alert_notice, breach_notice
from tests.unit.sinks.notify.samples import alert, breach, chat, email, gathered

LISTS = RecipientLists(to=("a@x.org", "no address"), cc=("c@x.org",), bcc=("b@x.org",))


def notice(**changes: object) -> Notice:
    return alert_notice(email(), alert(recipients=LISTS)).model_copy(update=changes)


def test_w10_bcc_is_in_the_envelope_alone() -> None:
    message, addresses, bad = mail_message(email(), notice())
    assert addresses == ["a@x.org", "c@x.org", "b@x.org"]
    assert bad == ["no address"]
    assert (message["To"], message["Cc"], message["Bcc"]) == ("a@x.org", "c@x.org", None)
    assert "b@x.org" not in message.as_string(policy=SMTPUTF8)


def test_a_mail_for_those_who_are_left_has_the_headers_of_all_and_the_same_id() -> None:
    everyone, _, _ = mail_message(email(), notice())
    message, addresses, _ = mail_message(email(), notice(left=("c@x.org",)))
    assert addresses == ["c@x.org"]
    assert message["To"] == "a@x.org"
    assert message["Message-ID"] == everyone["Message-ID"]


def test_only_bcc_shows_nobody() -> None:
    message, addresses, _ = mail_message(email(), notice(recipients=RecipientLists(bcc=("b@x.org",))))
    assert addresses == ["b@x.org"]
    assert "b@x.org" not in message.as_string(policy=SMTPUTF8)
    assert message["To"] is not None


def test_no_text_can_add_a_header() -> None:
    message, _, _ = mail_message(
        email(), notice(title="x\r\nBcc: thief@x.org\r\n\r\nbody", organization_id="o\r\nX: y")
    )
    assert message["Bcc"] is None
    assert message["X"] is None
    assert message["Subject"] == "[licmeter] x Bcc: thief@x.org body"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a@x.org", True),
        ("a.b+c@x-y.org", True),
        ("müller@exämple.org", True),
        ("a@b", True),
        ("a", False),
        ("@x.org", False),
        ("a@", False),
        ("a@b@c", False),
        ("a b@x.org", False),
        ("a@x.org\n", False),
        ("a@x.org,b@x.org", False),
        ("<a@x.org>", False),
        ("a" * 250 + "@x.org", False),
    ],
)
def test_what_an_address_is(text: str, good: bool) -> None:
    assert is_address(text) is good


def test_w10_alerts_go_to_their_own_recipients_and_else_to_those_of_the_target() -> None:
    target = email(to="desk@x.org")
    assert alert_notice(target, alert(recipients=LISTS)).recipients == LISTS
    assert alert_notice(target, alert()).recipients.to == ("desk@x.org",)
    assert breach_notice(target, gathered(breach())).recipients.to == ("desk@x.org",)
    fixed = email(to="desk@x.org", use_alert_recipients=False)
    assert alert_notice(fixed, alert(recipients=LISTS)).recipients.to == ("desk@x.org",)


def test_chat_gets_no_html_and_no_addresses() -> None:
    made = alert_notice(chat(), alert(recipients=LISTS))
    assert (made.html, made.addresses) == ("", ())
    assert made.text.endswith(f"Reference {made.key}\n")
