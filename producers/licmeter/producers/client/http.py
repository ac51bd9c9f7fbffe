"""Delivers to a gateway by HTTP (docs/gateway.md)."""

import asyncio
import functools
import gzip
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any, Final

import httpx

from licmeter.producers.client.answers import Authorization, Delivery, TransportError, item_states
from licmeter.producers.client.options import ClientOptions

__all__ = ["HttpTransport", "tls"]

# These are loaded by the first connection otherwise, in a thread; a process that forks meanwhile would have half of
# them in its child, forever.
for _module in ("httpcore", "anyio._backends._asyncio", "encodings.idna"):
    import_module(_module)

#: Refusals that end when the client's clock is right again.
_LATER: Final = frozenset({"future_slot", "clock_skew"})
#: They become keys of figures and kinds of log lines.
REASON_CHARS_MAX: Final = 64
_WITH_RESULTS: Final = (202, 403, 422)
_OF_THE_BODY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
#: Results of 1,000 events, each with more items than a project has.
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
#: Longer than any server of ours asks for: a broken one must not silence us until the next start.
RETRY_AFTER_S_MAX: Final = 3600.0
_USER_AGENT: Final = "licmeter-python"


@functools.lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """Return what connections are checked by. Made once, by the application's thread that makes a client.

    It takes locks inside OpenSSL for as long as it reads certificates; a child that is forked meanwhile would wait for
    them forever.
    """
    return httpx.create_ssl_context()


class HttpTransport:
    """One connection pool; for one event loop."""

    def __init__(self, options: ClientOptions) -> None:
        assert options.url is not None
        headers = {"Authorization": f"Bearer {options.license_key}", "User-Agent": _USER_AGENT}
        if options.session_password is not None:
            headers["Licmeter-Session-Password"] = options.session_password
        self._timeout_s = options.request_timeout_s
        self._client = httpx.AsyncClient(
            base_url=options.url.rstrip("/"), headers=headers, timeout=options.request_timeout_s, verify=tls()
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def deliver(self, ids: Sequence[str], events: Sequence[bytes]) -> Delivery:
        """Send events; return what became of each. Raises `TransportError` when that is not known."""
        body = gzip.compress(b"[" + b",".join(events) + b"]", compresslevel=3)
        headers = {"Content-Type": "application/cloudevents-batch+json", "Content-Encoding": "gzip"}
        answer = await self._post("/v1/events", content=body, headers=headers)
        document = _json(answer)
        results = document.get("results")
        if answer.status_code not in _WITH_RESULTS or not isinstance(results, list) or len(results) != len(ids):
            raise _refused(answer, document)
        return _delivery(ids, results)

    async def authorize(self, request: dict[str, Any]) -> Authorization:
        """Ask for leave. Raises `TransportError` when there is no answer."""
        answer = await self._post("/v1/authorizations", json=request)
        document = _json(answer)
        if answer.status_code != 200 or not isinstance(document.get("granted"), bool):
            raise _refused(answer, document)
        return read_authorization(document)

    async def _post(self, path: str, **content: Any) -> httpx.Response:
        # The timeouts of httpx are for each read: a server that sends a byte now and then would keep us forever.
        try:
            async with asyncio.timeout(self._timeout_s), self._client.stream("POST", path, **content) as answer:
                return await _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error


async def _read(answer: httpx.Response) -> httpx.Response:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise TransportError(f"{answer.status_code}: an answer of more than {ANSWER_BYTES_MAX:,} bytes")
    # It is decoded by now.
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in _OF_THE_BODY]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body))


def read_authorization(document: dict[str, Any]) -> Authorization:
    """Read the answer to a request for leave. Raises `TransportError` when it is none."""
    end, code = document.get("local_expires_at"), document.get("code") or {}
    try:
        until = None if end is None else datetime.fromisoformat(end)
    except (TypeError, ValueError) as error:
        raise TransportError("an answer with a local_expires_at that is no instant") from error
    if not isinstance(code, dict) or (until is not None and until.tzinfo is None):
        raise TransportError("an answer that does not follow the contract")
    return Authorization(
        granted=document["granted"],
        project_id=document.get("project_id"),
        item_id=document.get("item_id"),
        local_expires_at=until,
        code=code.get("number"),
        code_slug=code.get("slug"),
        items=tuple(item_states(document.get("items"))),
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _refused(answer: httpx.Response, document: dict[str, Any]) -> TransportError:
    what = document.get("detail") or document.get("title") or answer.reason_phrase
    return TransportError(
        f"{answer.status_code}: {what}",
        retry_after_s=_retry_after(answer),
        too_large=answer.status_code == 413,
        forbidden=answer.status_code in (401, 403),
    )


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after")
    if text is None:
        return None
    try:
        return _bounded(float(text))
    except ValueError:
        pass
    try:
        at, now = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers["date"])
        return _bounded((at - now).total_seconds())
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), RETRY_AFTER_S_MAX)


def _delivery(ids: Sequence[str], results: Sequence[Any]) -> Delivery:
    delivery = Delivery()
    for report_id, found in zip(ids, results, strict=True):
        result = found if isinstance(found, dict) else {}
        outcome, reason = result.get("outcome"), str(result.get("reason"))[:REASON_CHARS_MAX]
        if outcome == "accepted" and result.get("id") == report_id:
            delivery.confirmed.append(report_id)
            delivery.items += item_states(result.get("items"))
        elif outcome == "rejected" and reason not in _LATER and result.get("id") in (None, report_id):
            delivery.rejected[report_id] = reason
        else:
            delivery.later[report_id] = reason
    return delivery
