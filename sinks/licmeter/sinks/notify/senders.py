"""What hands a notice to a target, by the kind of target."""

from email.policy import SMTPUTF8
from typing import Any, Protocol

from licmeter.sinks.notify.children import Children
from licmeter.sinks.notify.config import AppriseTarget, EmailTarget, Target, WebhookTarget
from licmeter.sinks.notify.errors import FailedError, RefusedError
from licmeter.sinks.notify.mail import mail_message
from licmeter.sinks.notify.notices import Notice
from licmeter.sinks.notify.secrets import Redactor, masked_url
from licmeter.sinks.notify.webhooks import WebhookSender

__all__ = ["AppriseSender", "EmailSender", "Sender", "make_sender", "redactor", "shown_address"]


class Sender(Protocol):
    """One attempt at a time or several; knows nothing of retries."""

    async def send(self, notice: Notice) -> dict[str, str]:
        """Return when the target has it, with the addresses that it refused for good and why.

        Raises `DeliveryError`, whose kind says what is to be done. Other errors are failures of the attempt.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


def make_sender(target: Target, children: Children) -> Sender:
    """Return the sender of a target."""
    if isinstance(target, WebhookTarget):
        return WebhookSender(target, redactor(target))
    if isinstance(target, EmailTarget):
        return EmailSender(target, redactor(target), children)
    return AppriseSender(target, redactor(target), children)


def redactor(target: Target) -> Redactor:
    """Return what hides the secrets of a target."""
    if isinstance(target, EmailTarget):
        password = target.smtp.password
        return Redactor(words=[password.get_secret_value()] if password else [])
    words = target.secrets if isinstance(target, WebhookTarget) else []
    return Redactor(urls=[target.url.get_secret_value()], words=words)


def shown_address(target: Target) -> str:
    """Return where a target is, as may be shown."""
    if isinstance(target, EmailTarget):
        return f"{target.smtp.host}:{target.smtp.real_port} ({target.smtp.security})"
    return masked_url(target.url.get_secret_value())


class AppriseSender:
    """Chat services and others, through apprise."""

    def __init__(self, target: AppriseTarget, redact: Redactor, children: Children) -> None:
        self._target = target
        self._redact = redact
        self._children = children

    async def send(self, notice: Notice) -> dict[str, str]:
        """Send one message; apprise tells success and failure apart, and nothing else."""
        await self._ask(title=notice.title, text=notice.text, severity=notice.severity)
        return {}

    async def check(self) -> str:
        """Return the name of the service; raises `RefusedError` when apprise does not understand the URL."""
        return str((await self._ask(check_only=True))["service"])

    async def _ask(self, **request: Any) -> dict[str, Any]:
        url = self._target.url.get_secret_value()
        full = {"do": "apprise", "url": url, "check_only": False} | request
        return _outcome(await self._children.ask(full, self._target.timeout_s), self._redact)

    async def close(self) -> None:
        """Nothing is kept open."""


class EmailSender:
    """E-mail through an SMTP server."""

    def __init__(self, target: EmailTarget, redact: Redactor, children: Children) -> None:
        self._target = target
        self._redact = redact
        self._children = children

    async def send(self, notice: Notice) -> dict[str, str]:
        """Hand one mail over for all who do not have it yet."""
        if not notice.addresses:
            raise RefusedError("no recipients: neither the organization's document nor the target names any")
        smtp = self._target.smtp
        message, addresses, bad = mail_message(self._target, notice)
        if not addresses:
            raise RefusedError("no recipient has a valid address")
        request = {
            "do": "smtp",
            "host": smtp.host,
            "port": smtp.real_port,
            "security": smtp.security,
            "ca_file": str(smtp.ca_file) if smtp.ca_file else None,
            "username": smtp.username,
            "password": smtp.password.get_secret_value() if smtp.password else None,
            "from": self._target.sender_address,
            "addresses": addresses,
            "message": message.as_string(policy=SMTPUTF8),
        }
        answer = _outcome(await self._children.ask(request, self._target.timeout_s), self._redact)
        codes: dict[str, tuple[int, str]] = answer["refused"]
        refused = {address: self._redact(text) for address, (code, text) in codes.items() if code >= 500}
        waiting = {address: self._redact(text) for address, (code, text) in codes.items() if code < 500}
        refused |= dict.fromkeys(bad, "no valid address")
        if waiting:
            first = next(iter(waiting.values()))
            raise FailedError(f"{len(waiting)} recipient(s) not now: {first}", left=tuple(waiting), refused=refused)
        return refused

    async def close(self) -> None:
        """Nothing is kept open."""


def _outcome(answer: dict[str, Any], redact: Redactor) -> dict[str, Any]:
    if answer["outcome"] == "done":
        return answer
    reason = redact(answer["reason"])
    raise RefusedError(reason) if answer["outcome"] == "refused" else FailedError(reason)
