"""`POST /v1/authorizations`: asks the stream, and answers with the verdict and how the items stand."""

from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from ulid import ULID

from licmeter.metering.authorization import Authorization
from licmeter.metering.decoding import decode
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.refused import Refused
from licmeter.producers.gateway.authorizing import AuthorizationRequest, authorization_record
from licmeter.producers.gateway.bodies import decompress, read_body
from licmeter.producers.gateway.directory import Access
from licmeter.producers.gateway.gate import Gate
from licmeter.producers.gateway.problems import BadRequest, Forbidden, Unprocessable, UnsupportedMedia, code_of
from licmeter.producers.gateway.responses import encode, instant_text, json_response
from licmeter.schemas.outcomes import AuthOutcome, RefusalCode, RejectReason
from licmeter.schemas.reports import organization_of
from licmeter.schemas.verdicts import Verdict

__all__ = ["post_authorization"]

_BODY_BYTES_MAX: Final = 64 * 1024
_log: Final = structlog.get_logger("licmeter.gateway")


async def post_authorization(gate: Gate, request: Request, request_id: str) -> Response:
    """Answer a request for leave to run (domain, section 9)."""
    access = await gate.admit(request)
    gate.take_rate(access, 1)
    asked = await _read(gate, request)
    _check_owner(asked, access, request_id)
    password_ok = await gate.password_ok(request, access)
    now = datetime.now(UTC)
    auth_id = asked.auth_id or str(ULID())
    at = gate.authorizer.instant_of(access.organization_id, asked, auth_id, now)
    named = asked.project_id or (None if asked.organization_id else access.project_id)
    record = authorization_record(asked, project_id=named, auth_id=auth_id, at=at, password_ok=password_ok)
    if (skewed := await _check(gate, record, access, now)) is not None:
        refused = Verdict(
            organization_id=access.organization_id,
            project_id=named,
            client_uuid=asked.client_uuid,
            auth_id=auth_id,
            at=at,
            outcome=AuthOutcome.REJECTED,
            code=skewed,
            source_partition=0,
            source_offset=0,
        )
        return json_response(200, encode(_answer(gate, refused, access, request_id, now)))
    verdict = await gate.authorizer.ask(access.organization_id, asked.client_uuid, auth_id, record)
    gate.metrics.verdicts.labels(verdict.outcome.value).inc()
    return json_response(200, encode(_answer(gate, verdict, access, request_id, now)))


async def _read(gate: Gate, request: Request) -> AuthorizationRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMedia("Content-Type: application/json", headers={"Accept": "application/json"})
    with gate.in_flight.reservation() as reservation:
        raw = await read_body(request.stream(), _BODY_BYTES_MAX, reservation.add)
    body = decompress(raw, request.headers.get("content-encoding", ""), _BODY_BYTES_MAX)
    try:
        return AuthorizationRequest.model_validate_json(body)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False, include_context=False)
        if mistakes[0]["type"] == "json_invalid":
            raise BadRequest("the body is no JSON") from error
        sentences = (f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in mistakes)
        raise Unprocessable("; ".join(sentences)) from error


def _check_owner(asked: AuthorizationRequest, access: Access, request_id: str) -> None:
    """Refuse whatever names another organization, in the same words whether there is one or not."""
    names = {asked.organization_id, organization_of(asked.project_id) if asked.project_id else None}
    if names - {None, access.organization_id}:
        _log.warning(
            "foreign_authorization_refused",
            request_id=request_id,
            key_id=access.key_id,
            organization_id=access.organization_id,
        )
        raise Forbidden("the license key is of another organization", code=RefusalCode.PROJECT_ORGANIZATION_MISMATCH)


async def _check(gate: Gate, record: bytes, access: Access, now: datetime) -> RefusalCode | None:
    """Return the code of what the log refuses without a verdict: a request with a wrong clock (E2)."""
    key = access.organization_id.encode()
    event = decode(key, record, round(now.timestamp() * 1000), DEFAULT_LIMITS)
    if isinstance(event, Authorization):
        return None
    assert isinstance(event, Refused), "the record of a request is a request"
    # There it is rejected, and the wrong clock said to whoever subscribed to that (8.2).
    await gate.publisher.publish(key, [record])
    if event.reason is RejectReason.CLOCK_SKEW:
        return RefusalCode.CLONE_DETECTED
    raise Unprocessable(event.detail)


def _answer(gate: Gate, verdict: Verdict, access: Access, request_id: str, now: datetime) -> dict[str, Any]:
    granted = verdict.outcome is AuthOutcome.GRANTED
    end = verdict.local_expires_at
    tenant = gate.tenant(access)
    project = tenant.catalog.projects.get(verdict.project_id or "")
    now_ms = round(now.timestamp() * 1000)
    items = [] if project is None else [tenant.item_standing(item, now_ms).to_json() for item in project.items]
    return {
        "request_id": request_id,
        "auth_id": verdict.auth_id,
        "at": instant_text(round(verdict.at.timestamp() * 1000)),
        "granted": granted,
        "project_id": verdict.project_id,
        "item_id": verdict.item_id if granted else None,
        "local_expires_at": None if end is None else instant_text(round(end.timestamp() * 1000)),
        "code": None if verdict.code is None else code_of(verdict.code),
        "items": items,
    }
