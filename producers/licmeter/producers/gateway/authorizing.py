"""Asks the stream for leave to run, and waits for its answer (decision 10).

The event goes into the log, the verdict comes back by `license.verdicts`. Answers are remembered for a while: a client
that did not get its answer asks again under the same id, and the log says "duplicate".
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field

from licmeter.producers.gateway.problems import Conflict, Unavailable
from licmeter.producers.gateway.published_schema import integral
from licmeter.schemas.authorizations import Question, authorization
from licmeter.schemas.catalog import OrganizationId, ProjectId
from licmeter.schemas.outcomes import AuthOutcome, RefusalCode
from licmeter.schemas.reports import Instant, encode_event
from licmeter.schemas.verdicts import Verdict

__all__ = ["AuthorizationRequest", "Authorizer", "authorization_record"]

#: Requests and answers that are remembered, of all clients together.
REMEMBERED_MAX: Final = 100_000
#: What a client is told to wait for when the stream does not answer: a worker is back in about ten seconds.
RETRY_AFTER_S: Final = 5.0

_Id = Annotated[str, Field(min_length=1, max_length=64)]


class AuthorizationRequest(Question):
    """What a client asks with `POST /v1/authorizations`."""

    model_config = ConfigDict(extra="forbid")

    client_uuid: Annotated[str, Field(min_length=1, max_length=128)]
    auth_id: _Id | None = Field(default=None, description="the same for a repetition; made by the gateway otherwise")
    at: Instant | None = Field(default=None, description="instant of the request; the gateway's clock otherwise")
    project_id: ProjectId | None = Field(default=None, description="that of the license key otherwise")
    organization_id: OrganizationId | None = None
    #: To JSON Schema `3.0` is an integer, too.
    requested_instances: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(integral)] = 1


class _Identity(NamedTuple):
    """What the log takes for one request (decision 8, G3)."""

    organization_id: str
    client_uuid: str
    auth_id: str


def authorization_record(
    request: AuthorizationRequest, *, project_id: str | None, auth_id: str, at: Any, password_ok: bool | None
) -> bytes:
    """Return the event of a request; no `result`, as the verdict is the stream's."""
    fields = request.model_dump(
        exclude={"client_uuid", "auth_id", "at", "project_id", "organization_id"}, exclude_defaults=True, mode="json"
    )
    if password_ok is not None:
        fields["password_ok"] = password_ok
    return encode_event(
        authorization(
            auth_id=auth_id,
            client_uuid=request.client_uuid,
            at=at,
            project_id=project_id,
            organization_id=request.organization_id,
            **fields,
        )
    )


class Authorizer:
    """Brings requests and verdicts together."""

    def __init__(self, publish: Callable[[bytes, list[bytes]], Awaitable[None]], *, timeout_s: float) -> None:
        self._publish = publish
        self._timeout_s = timeout_s
        self._waiting: dict[_Identity, list[asyncio.Future[Verdict]]] = {}
        self._answers: OrderedDict[_Identity, Verdict] = OrderedDict()
        self._asked: OrderedDict[_Identity, tuple[AuthorizationRequest, Any]] = OrderedDict()

    def instant_of(self, organization_id: str, request: AuthorizationRequest, auth_id: str, now: Any) -> Any:
        """Return the instant of a request: what it says, or when it came here first."""
        if request.at is not None:
            return request.at
        identity = _Identity(organization_id, request.client_uuid, auth_id)
        asked = self._asked.get(identity)
        if asked is not None and asked[0] == request:
            return asked[1]
        _remember(self._asked, identity, (request, now))
        return now

    async def ask(self, organization_id: str, client_uuid: str, auth_id: str, record: bytes) -> Verdict:
        """Put a request into the log and return its verdict.

        Raises `SendError` when Kafka does not take it, `Unavailable` when no answer comes in time, and `Conflict` when
        the id stands for another request or its answer is not known any more.
        """
        identity = _Identity(organization_id, client_uuid, auth_id)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(identity, [])
        waiting.append(answer)
        try:
            await self._publish(organization_id.encode(), [record])
            async with asyncio.timeout(self._timeout_s):
                verdict = await answer
        except TimeoutError as error:
            raise Unavailable(
                f"no worker answered within {self._timeout_s:g} s; ask again with the same auth_id",
                code=RefusalCode.UNDER_CONSTRUCTION,
                retry_after_s=RETRY_AFTER_S,
            ) from error
        finally:
            waiting.remove(answer)
            if not waiting and self._waiting.get(identity) is waiting:
                del self._waiting[identity]
        return self._final(identity, verdict)

    def _final(self, identity: _Identity, verdict: Verdict) -> Verdict:
        if verdict.outcome in (AuthOutcome.GRANTED, AuthOutcome.REFUSED):
            return verdict
        known = self._answers.get(identity)
        if verdict.outcome is AuthOutcome.DUPLICATE and known is not None:
            return known
        raise Conflict(
            "this auth_id stands for another request, or its answer is not known any more; ask with a new one"
        )

    def note(self, verdict: Verdict) -> None:
        """Take an answer of the stream, to whomever it belongs."""
        identity = _Identity(verdict.organization_id, verdict.client_uuid, verdict.auth_id)
        if verdict.outcome in (AuthOutcome.GRANTED, AuthOutcome.REFUSED):
            _remember(self._answers, identity, verdict)
        # Who repeats a request at once has two in the log; the first answer is everybody's.
        for answer in self._waiting.get(identity, ()):
            if not answer.done():
                answer.set_result(verdict)


def _remember(memory: OrderedDict[_Identity, Any], identity: _Identity, value: Any) -> None:
    memory[identity] = value
    memory.move_to_end(identity)
    if len(memory) > REMEMBERED_MAX:
        memory.popitem(last=False)
