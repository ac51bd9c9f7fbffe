"""Signed webhooks: the Standard Webhooks specification, one request for each event.

Delivered is what was answered with 2xx, and whose answer came to its end or to our bound: a receiver that answers 200
with an error page has said that it has the event, and is believed. Everything else is a failure, a redirect, too.
"""

import asyncio
import socket
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from licmeter.sinks.notify.config import WebhookTarget
from licmeter.sinks.notify.errors import FailedError, GoneError, RefusedError
from licmeter.sinks.notify.notices import Notice
from licmeter.sinks.notify.secrets import Redactor

__all__ = ["WebhookSender", "retry_after_s", "signed_headers"]

#: What is read of an answer. It means nothing to us, but its end says that the receiver did not break off.
_ANSWER_BYTES_MAX: Final = 64 * 1024
_GONE: Final = 410
_ASKS_FOR_TIME: Final = frozenset({429, 503})


def signed_headers(secrets: list[str], key: str, body: str, now: datetime) -> dict[str, str]:
    """Return the headers of an attempt; with several secrets, a signature by each."""
    signatures = [Webhook(secret).sign(key, now, body) for secret in secrets]
    return {
        "content-type": "application/cloudevents+json",
        "user-agent": "licmeter-notify",
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or a date; None for anything else."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (instant - now).total_seconds()) if instant.tzinfo else None


class WebhookSender:
    """One receiver."""

    def __init__(self, target: WebhookTarget, redact: Redactor) -> None:
        self._target = target
        self._redact = redact
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=target.timeout_s,
            limits=httpx.Limits(max_connections=target.concurrency, keepalive_expiry=30),
            # A proxy would connect for us, to whatever address it finds.
            trust_env=not target.public_only,
        )

    async def send(self, notice: Notice) -> dict[str, str]:
        """Send one event; raises `DeliveryError`."""
        try:
            async with asyncio.timeout(self._target.timeout_s):
                await self._post(notice)
        except TimeoutError:
            raise FailedError(f"no whole answer within {self._target.timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise FailedError(self._redact(f"{type(error).__name__}: {error}")) from None
        return {}

    async def _post(self, notice: Notice) -> None:
        now = datetime.fromtimestamp(time.time(), UTC)
        headers = signed_headers(self._target.secrets, notice.key, notice.body, now)
        url, extensions = self._target.url.get_secret_value(), {}
        if self._target.public_only:
            url, host = await _pinned(url)
            headers["host"], extensions = host, {"sni_hostname": urlsplit(f"//{host}").hostname}
        async with self._client.stream(
            "POST", url, content=notice.body.encode(), headers=headers, extensions=extensions
        ) as answer:
            await _read(answer)
        self._judge(answer, now)

    def _judge(self, answer: httpx.Response, now: datetime) -> None:
        if answer.is_success:
            return
        if answer.status_code == _GONE:
            raise GoneError("the receiver answered 410 Gone")
        wait_s = retry_after_s(answer.headers.get("retry-after"), now) if answer.status_code in _ASKS_FOR_TIME else None
        more = ", which is not followed" if answer.is_redirect else ""
        raise FailedError(f"the receiver answered {answer.status_code}{more}", retry_after_s=wait_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _read(answer: httpx.Response) -> None:
    size = 0
    async for piece in answer.aiter_raw():  # raw: what is packed small may be large
        size += len(piece)
        if size >= _ANSWER_BYTES_MAX:
            return


async def _pinned(url: str) -> tuple[str, str]:
    """Return the URL with a public address in place of its host, and the Host header.

    The address that is checked is the one that is connected to; a name that resolves otherwise the next time is no way
    around. Raises `RefusedError` when an address is not public.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FailedError(f"the receiver's name does not resolve: {error.strerror}") from None
    addresses = [ip_address(entry[4][0]) for entry in found]
    if not all(address.is_global and not address.is_multicast for address in addresses):
        raise RefusedError("the receiver's address is not public")
    address = addresses[0]
    host = parts.netloc.rpartition("@")[2]
    number = f"[{address}]" if address.version == 6 else str(address)
    return str(httpx.URL(url).copy_with(host=number)), host
