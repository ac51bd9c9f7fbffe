"""`POST /v1/events`: from a request to its answer."""

import time
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from licmeter.producers.gateway.bodies import decompress, read_body
from licmeter.producers.gateway.directory import Access
from licmeter.producers.gateway.gate import Gate
from licmeter.producers.gateway.incoming import read_request
from licmeter.producers.gateway.judging import Judgment, judge
from licmeter.producers.gateway.problems import Forbidden, Problem, Unprocessable, problem_document
from licmeter.producers.gateway.published_schema import follows_schema
from licmeter.producers.gateway.responses import encode, instant_text, json_response
from licmeter.schemas.outcomes import RejectReason

__all__ = ["post_events"]

_log: Final = structlog.get_logger("licmeter.gateway")


async def post_events(gate: Gate, request: Request, request_id: str) -> Response:
    """Take usage reports, and answer when Kafka has them."""
    access = await gate.admit(request, key_in_query=True)
    await gate.check_password(request, access)
    with gate.in_flight.reservation() as reservation:
        raw = await read_body(request.stream(), gate.config.body_bytes_max, reservation.add)
        body = decompress(raw, request.headers.get("content-encoding", ""), gate.config.body_bytes_max)
        reservation.add(len(body))  # the events are kept beside what came
        read = read_request(request.headers.get("content-type", ""), request.headers, body, gate.config.events_max)
        gate.take_rate(access, len(read.events))
        received_ms = time.time_ns() // 1_000_000
        judgment = judge(read.events, access, gate.tenant(access), received_ms)
        await gate.publisher.publish(access.organization_id.encode(), judgment.values)
    _note(gate, judgment, access, request_id)
    members = b'"request_id":"%b","received_at":"%b","results":[%b]' % (
        request_id.encode(),
        instant_text(received_ms).encode(),
        b",".join(judgment.results),
    )
    refusal = _refusal(judgment, batch=read.batch)
    if refusal is None:
        return json_response(202, b"{%b}" % members)
    return problem_response(refusal, request_id, members)


def problem_response(refusal: Problem, request_id: str, members: bytes) -> Response:
    """Return a problem with the results of each event beside."""
    document = encode(problem_document(refusal, request_id))
    results = members.partition(b",")[2]
    return json_response(refusal.status, document[:-1] + b"," + results + b"}", problem=True, headers=refusal.headers)


def _refusal(judgment: Judgment, *, batch: bool) -> Problem | None:
    """Say whether the request as a whole is refused; what could be accepted was."""
    count = len(judgment.results)
    if count and judgment.foreign == count:
        return Forbidden("every report is of another organization than the license key")
    if not batch and judgment.malformed and not follows_schema(judgment.malformed[0]):
        return Unprocessable("the report does not follow the contract; `results` says where")
    return None


def _note(gate: Gate, judgment: Judgment, access: Access, request_id: str) -> None:
    if judgment.accepted:
        gate.metrics.events.labels("accepted", "").inc(judgment.accepted)
    for reason in judgment.reasons:
        gate.metrics.events.labels("rejected", reason.value).inc()
    if judgment.dropped_reports:
        gate.metrics.dropped_reports.inc(judgment.dropped_reports)
        _log.warning(
            "client_dropped_reports",
            request_id=request_id,
            organization_id=access.organization_id,
            reports=judgment.dropped_reports,
            units=judgment.dropped_units,
        )
    if judgment.foreign or judgment.withheld:
        _log.warning(
            "foreign_events_refused",
            request_id=request_id,
            key_id=access.key_id,
            organization_id=access.organization_id,
            of_other_organizations=judgment.foreign,
            of_other_types=judgment.withheld,
            reason=RejectReason.KEY_MISMATCH.value if judgment.foreign else RejectReason.UNKNOWN_EVENT_TYPE.value,
        )
