"""E-mail over a real SMTP server, and chat services through apprise, over a real Kafka."""

import contextlib
import re
from collections import deque
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
from aiosmtpd.smtp import AuthResult

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.alerts import RecipientLists
from licmeter.schemas.outcomes import BreachKind
from tests.integration.notify_stage import (
    Endless,
    Mailbox,
    Notifier,
    NotifierProcess,
    Receiver,
    breach,
    certificate,
    hangs,
    hook,
    mail,
    prepared,
    publish,
    says,
    smtp_server,
    until,
    usage_alert,
)

pytestmark = pytest.mark.integration


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if is_sender(child)]


def is_sender(child: psutil.Process) -> bool:
    """Whether a process that lives is one that sends for the notifier."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended since it was listed
        return "licmeter.sinks.notify.child" in child.cmdline()
    return False


RECIPIENTS = RecipientLists(to=("ops@example.org", "ops@example.org"), cc=("cc@example.org",), bcc=("bcc@example.org",))


@pytest.fixture(scope="module")
def bootstrap(kafka: EmbeddedKafka) -> str:
    return prepared(kafka)


def test_w10_usage_alerts_go_to_their_own_recipients_and_bcc_is_in_no_header(bootstrap: str) -> None:
    mailbox = Mailbox()
    with smtp_server(mailbox) as port, Notifier(bootstrap, mail(port, "m1")):
        publish(bootstrap, [usage_alert(1, "m1", RECIPIENTS), breach(1, "m1")])
        until(lambda: mailbox.mails, "a mail")
    (got,) = mailbox.mails  # the target has no recipients of its own, so there is none of the breach
    assert got.recipients == ["ops@example.org", "cc@example.org", "bcc@example.org"]
    assert got.message["To"] == "ops@example.org, ops@example.org"
    assert got.message["Cc"] == "cc@example.org"
    assert "bcc@example.org" not in got.message.as_string()
    assert got.message["Subject"] == "[licmeter] m1: item 41 at 80.50 % (1,610 of 2,000)"
    assert re.fullmatch(r"<msg_[0-9a-f]{32}@example\.org>", got.message["Message-ID"])
    assert got.message["Auto-Submitted"] == "auto-generated"
    for part in ("plain", "html"):
        words = got.part(part)
        assert "1,610" in words
        assert "2031-03-08 10:20:00 UTC" in words
        assert "may still arrive for 30 days" in words
        assert "Buy more" in words


def test_an_address_that_is_refused_holds_up_no_other_and_one_that_is_busy_is_tried_again(
    bootstrap: str, tmp_path: Path
) -> None:
    mailbox = Mailbox(
        rcpt={"cc@example.org": deque(["451 busy"] * 2), "bcc@example.org": deque(["550 nobody here"] * 9)}
    )
    with smtp_server(mailbox) as port:
        target = mail(port, "m2")
        with Notifier(bootstrap, target):
            publish(bootstrap, [usage_alert(1, "m2", RECIPIENTS)])
            until(lambda: len(mailbox.mails) == 2, "both mails")
        assert [got.recipients for got in mailbox.mails] == [["ops@example.org"], ["cc@example.org"]]
        assert len({got.message["Message-ID"] for got in mailbox.mails}) == 1
        # Who is refused for good has a letter, and gets it when the address works.
        process = NotifierProcess(tmp_path, bootstrap, target)
        (letter,) = process.command("undelivered", "list", "--organization", "m2")["undelivered"]
        assert (letter["reason"], letter["attempts"]) == ("recipient_refused", 1)
        assert "550 nobody here" in letter["detail"]
        mailbox.rcpt.clear()
        process.command("undelivered", "replay", "--organization", "m2")
        assert mailbox.mails[-1].recipients == ["bcc@example.org"]
        assert mailbox.mails[-1].message["Message-ID"] == mailbox.mails[0].message["Message-ID"]
        assert process.command("undelivered", "list", "--organization", "m2") == {"undelivered": []}


def test_a_mail_server_that_fails_and_hangs_gets_it_in_the_end(bootstrap: str) -> None:
    mailbox = Mailbox(data=deque(["451 not now", "451 not now"]))
    with smtp_server(mailbox) as port, Notifier(bootstrap, mail(port, "m3", to="ops@example.org", digest_s=0)):
        publish(bootstrap, [breach(1, "m3")])
        until(lambda: mailbox.mails, "the first mail")
        mailbox.hang = 60
        publish(bootstrap, [breach(2, "m3")])
        until(lambda: mailbox.sessions == 4, "one that hangs")
        mailbox.hang = 0
        until(lambda: len(mailbox.mails) == 2, "the second mail")


def test_names_from_outside_do_no_harm(bootstrap: str) -> None:
    mailbox = Mailbox()
    evil = "x\r\nBcc: thief@example.org <script>alert(1)</script> Ünïcode"
    with smtp_server(mailbox) as port, Notifier(bootstrap, mail(port, "m4", to="müller@example.org", digest_s=0)):
        publish(bootstrap, [breach(1, "m4", BreachKind.CLOCK_SKEW, client_uuid=evil)])
        until(lambda: mailbox.mails, "the mail")
    (got,) = mailbox.mails
    assert got.recipients == ["müller@example.org"]
    assert got.message["Bcc"] is None
    assert "Ünïcode" in got.message["Subject"]
    assert "<script>" not in got.part("html")


def test_a_burst_becomes_a_few_mails_and_a_webhook_gets_every_event(bootstrap: str) -> None:
    mailbox = Mailbox()
    count = 2_000
    with smtp_server(mailbox) as port, Receiver() as receiver:
        targets = mail(port, "m5", to="ops@example.org", digest_s=2), hook(receiver, "m5", concurrency=16)
        with Notifier(bootstrap, *targets):
            publish(bootstrap, [breach(number, "m5") for number in range(count)])
            publish(bootstrap, [breach(1, "m5", BreachKind.QUOTA_REACHED, item_id="41", value=2010, quota=2000)])
            until(lambda: len(receiver.ids) == count + 1, "all events")
            until(lambda: len(mailbox.mails) >= 2, "mails")
    subjects = [got.message["Subject"] for got in mailbox.mails]
    numbers = [re.search(r"covers, ([\d,]+) reports", subject) for subject in subjects]
    assert sum(int(found[1].replace(",", "")) for found in numbers if found) == count
    assert sum("item 41 has reached its quota" in subject for subject in subjects) == 1
    assert len(subjects) <= 5


def test_apprise_delivers_and_what_it_cannot_cut_off_is_killed(bootstrap: str) -> None:
    endless = Endless()
    with Receiver(says(500), hangs, endless) as receiver:
        url = f"json://user:very-secret-word@127.0.0.1:{receiver.port}/notify?rto=60"
        target = {
            "name": "chat-m6",
            "kind": "apprise",
            "url": url,
            "organizations": ["m6"],
            "timeout_s": 4,
            "digest_s": 0,
            "retry_wait_s_max": 1,
            "circuit_open_s": 0.5,
        }
        with Notifier(bootstrap, target):
            publish(bootstrap, [breach(1, "m6", BreachKind.GRACE_EXHAUSTED, item_id="41", value=2100, limit=2100)])
            until(lambda: len(receiver.requests) >= 4, "all behaviors")
            began = monotonic()
            until(lambda: not children(), "no child is left")
            assert monotonic() - began < 15
    assert b"item 41 has used up its grace" in receiver.requests[-1].body
    assert len(receiver.requests) == 4


def test_mail_is_encrypted_to_a_server_that_is_known_or_not_sent(tmp_path: Path) -> None:
    trusted, context = certificate(tmp_path)
    logins: list[bytes] = []

    def log_in(server: Any, session: Any, envelope: Any, mechanism: str, auth: Any) -> AuthResult:
        logins.append(auth.password)
        return AuthResult(success=auth.password == b"PassWordOfMail", handled=False)

    def failure(port: int, code: int = 1, **smtp: Any) -> str:
        server = {"host": "127.0.0.1", "port": port, "security": "starttls"} | smtp
        process = NotifierProcess(tmp_path, "127.0.0.1:9", mail(port, "m7", to="ops@example.org", smtp=server))
        return str(process.command("test", "mail-m7", "--to", "ops@example.org", code=code)["reason"])

    login = {"username": "licmeter", "password": "PassWordOfMail"}
    mailbox = Mailbox()
    options = {"tls_context": context, "require_starttls": True, "authenticator": log_in, "auth_required": True}
    with smtp_server(mailbox, **options) as port:
        assert failure(port, code=0, ca_file=str(trusted), **login) == "None"
        assert len(mailbox.mails) == 1
        assert "certificate verify failed" in failure(port, **login)
        wrong = failure(port, ca_file=str(trusted), username="licmeter", password="WrongWord")
        assert wrong == "login refused: 535"
    with smtp_server(mailbox) as port:
        assert "STARTTLS extension not supported" in failure(port, ca_file=str(trusted), **login)
    assert set(logins) == {b"PassWordOfMail", b"WrongWord"}  # the library tries more than one way to log in
    assert len(mailbox.mails) == 1
