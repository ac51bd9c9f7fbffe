"""What all requests share: who may ask, in how many places at once, and how a question becomes an answer."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar

import structlog
from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from licmeter.analytics.http.admission import Admission
from licmeter.analytics.http.config import ApiConfig
from licmeter.analytics.http.database import Database
from licmeter.analytics.http.metrics import Metrics
from licmeter.analytics.http.paging import ALL_ROWS, PagedStatistics, Walk
from licmeter.analytics.http.problems import Forbidden, NotFound, Unauthorized, Unavailable, Unprocessable
from licmeter.analytics.http.tokens import LOOPBACK, Access, Tokens
from licmeter.analytics.query import Client, run
from licmeter.schemas.catalog import OrganizationId

__all__ = ["Asked", "Asking", "ClientGone", "Gate", "no_such_organization"]

_T = TypeVar("_T")
START_RETRY_S: Final = 2.0
#: How long a look at ClickHouse holds for those who ask whether we are ready.
READY_FOR_S: Final = 1.0
#: Organizations that are known to exist; the one that was asked for least lately is looked up anew.
KNOWN_MAX: Final = 10_000
PATH_CHARACTERS_LOGGED: Final = 200
#: By which names a browser on this machine reaches us. Another name that leads here is somebody else's page, which
#: must not read what is open to this machine (DNS rebinding).
_OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_log: Final = structlog.get_logger("licmeter.api")
_bearer: Final = HTTPBearer(auto_error=False, description="a token of the organization, made by `licmeter api token`")


class ClientGone(Exception):  # noqa: N818 - nothing is wrong
    """Nobody reads the answer any more."""


def no_such_organization() -> NotFound:
    """Return the one answer for an organization that is not there, and for one that the token does not open (Q11)."""
    return NotFound("there is no such organization")


@dataclass(frozen=True, slots=True)
class KnownQuery:
    """Whether an organization was ever counted, or has a catalog."""

    organization_id: str

    columns: ClassVar[Sequence[str]] = ("known",)

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = """
            SELECT 1 FROM organization_counters WHERE organization_id = {organization:String} LIMIT 1
            UNION ALL
            SELECT 1 FROM catalogs WHERE organization_id = {organization:String} LIMIT 1
        """
        return text, {"organization": self.organization_id}


@dataclass
class Gate:
    """The parts of one process, wired in one place. Made inside the event loop."""

    config: ApiConfig
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    metrics: Metrics = field(default_factory=Metrics)
    stopping: bool = False

    def __post_init__(self) -> None:
        config = self.config
        self.tokens = Tokens(config.tokens)
        self.database = Database(config, self.metrics)
        self.admission = Admission(
            queries_max=config.queries_max,
            organization_queries_max=config.organization_queries_max,
            waiting_max=config.waiting_max,
            organization_waiting_max=config.organization_waiting_max,
            wait_timeout_s=config.wait_timeout_s,
            on_hit=self._note_bound,
        )
        self.metrics.running.set_function(lambda: self.admission.running)
        self.metrics.waiting.set_function(lambda: self.admission.waiting)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._ready: tuple[float, bool] = (-READY_FOR_S, False)
        self._looking = asyncio.Lock()

    async def stop(self) -> None:
        """Close what is open."""
        await self.database.close()

    async def ready(self) -> bool:
        """Tell whether clients should be sent here: ClickHouse answers, and this is not the end."""
        async with self._looking:
            looked_at, answers = self._ready
            if time.monotonic() - looked_at >= READY_FOR_S:
                answers = await self.database.answers()
                self._ready = (time.monotonic(), answers)
        return answers and not self.stopping

    def admit(self, request: Request) -> str:
        """Return the organization of a request that may be asked for; raises the problem otherwise."""
        if self.stopping:
            raise Unavailable("the process stops", retry_after_s=START_RETRY_S)
        organization_id = str(request.path_params["organization_id"])
        access = self._access(request)
        if not access.may_ask(organization_id):
            self._refuse(request, "organization", token=access.label)
            raise no_such_organization()
        return organization_id

    def _access(self, request: Request) -> Access:
        if not self.tokens:
            host = request.headers.get("host", "").lower()
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if name not in _OWN_NAMES:
                self._refuse(request, "host", host=host[:100])
                raise Forbidden(f"ask for one of {', '.join(sorted(_OWN_NAMES))}")
            return LOOPBACK
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        access = self.tokens.access(text.strip(), self.clock()) if scheme.lower() == "bearer" else None
        if access is None:
            self._refuse(request, "token", given=bool(scheme))
            raise Unauthorized
        return access

    def _refuse(self, request: Request, reason: str, **facts: Any) -> None:
        self.metrics.refused.labels(reason).inc()
        # As it was sent, percent-encoded: what somebody makes up must not write to the terminal of who reads the log.
        path = request.scope["raw_path"].decode("ascii", "replace")[:PATH_CHARACTERS_LOGGED]
        _log.warning("refused", request_id=request.scope["request_id"], path=path, reason=reason, **facts)

    def _note_bound(self, bound: str) -> None:
        self.metrics.bounds_hit.labels(bound).inc()
        _log.warning("bound_hit", bound=bound)

    async def ask(
        self,
        request: Request,
        organization_id: str,
        question: Callable[[PagedStatistics], _T],
        walk: Walk = ALL_ROWS,
    ) -> _T:
        """Have a question answered in a thread, at one instant. Raises problems, and `ClientGone`."""
        now = self.clock()

        def answer(client: Client) -> _T:
            if organization_id not in self._known and not run(client, KnownQuery(organization_id)):
                raise no_such_organization()
            return question(PagedStatistics(client, organization_id, lambda: now, walk))

        async def in_place() -> _T:
            async with self.admission.place(organization_id):
                return await self.database.ask(answer)

        work = asyncio.create_task(in_place())
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                result = work.result()
                self._remember(organization_id)
                return result
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        self.metrics.disconnected.inc()
        raise ClientGone

    def _remember(self, organization_id: str) -> None:
        self._known[organization_id] = None
        self._known.move_to_end(organization_id)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that may ask for an organization."""

    gate: Gate
    request: Request
    organization_id: str


async def _admitted(
    request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Asking:
    gate: Gate = request.app.state.gate
    return Asking(gate, request, gate.admit(request))


async def _named(
    asking: Annotated[Asking, Depends(_admitted)],
    organization_id: Annotated[OrganizationId, Path(description="of which statistics are")],
) -> Asking:
    # Who asks comes first, and what is wrong with the question only then: dependencies are resolved from within.
    names = Counter(name for name, _ in asking.request.query_params.multi_items())
    repeated = sorted(name for name, times in names.items() if times > 1)
    if repeated:
        errors = [{"parameter": name[:100], "message": "given more than once"} for name in repeated[:10]]
        raise Unprocessable("each parameter is given once", errors=errors)
    return asking


Asked = Annotated[Asking, Depends(_named)]
