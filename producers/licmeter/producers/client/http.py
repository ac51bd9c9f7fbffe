"""Delivers to a gateway by HTTP (docs/gateway.md)."""

import gzip
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from licmeter.producers.client.answers import Authorization, Delivery, TransportError, item_states
from licmeter.producers.client.options import ClientOptions

__all__ = ["HttpTransport"]

#: Refusals that end when the client's clock is right again.
_LATER: Final = frozenset({"future_slot", "clock_skew"})
_WITH_RESULTS: Final = (202, 403, 422)
_USER_AGENT: Final = "licmeter-python"


class HttpTransport:
    """One connection pool; for one event loop."""

    def __init__(self, options: ClientOptions) -> None:
        assert options.url is not None
        headers = {"Authorization": f"Bearer {options.license_key}", "User-Agent": _USER_AGENT}
        if options.session_password is not None:
            headers["Licmeter-Session-Password"] = options.session_password
        self._client = httpx.AsyncClient(
            base_url=options.url.rstrip("/"), headers=headers, timeout=options.request_timeout_s
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
        try:
            return await self._client.post(path, **content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error


def read_authorization(document: dict[str, Any]) -> Authorization:
    """Read the answer to a request for leave."""
    end, code = document.get("local_expires_at"), document.get("code") or {}
    return Authorization(
        granted=document["granted"],
        project_id=document.get("project_id"),
        item_id=document.get("item_id"),
        local_expires_at=None if end is None else datetime.fromisoformat(end),
        code=code.get("number"),
        code_slug=code.get("slug"),
        items=tuple(item_states(document.get("items"))),
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refused(answer: httpx.Response, document: dict[str, Any]) -> TransportError:
    what = document.get("detail") or document.get("title") or answer.reason_phrase
    return TransportError(
        f"{answer.status_code}: {what}",
        retry_after_s=_retry_after(answer),
        too_large=answer.status_code == 413,
    )


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at, now = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers["date"])
        return max(0.0, (at - now).total_seconds())
    except (ValueError, KeyError, TypeError):
        return None


def _delivery(ids: Sequence[str], results: Sequence[dict[str, Any]]) -> Delivery:
    delivery = Delivery()
    for report_id, result in zip(ids, results, strict=True):
        outcome, reason = result.get("outcome"), str(result.get("reason"))
        if outcome == "accepted" and result.get("id") == report_id:
            delivery.confirmed.append(report_id)
            delivery.items += item_states(result.get("items"))
        elif outcome == "rejected" and reason not in _LATER:
            delivery.rejected[report_id] = reason
        else:
            delivery.later[report_id] = reason
    return delivery
