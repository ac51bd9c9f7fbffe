"""Runs requests on the engine: bounded in number, each on its own connection, blocking calls outside the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from licmeter.runtime.clickhouse.engine import Connection, Engine, Result
from licmeter.runtime.clickhouse.errors import QueryError
from licmeter.runtime.clickhouse.requests import HttpQuery
from licmeter.runtime.clickhouse.results import Joiner, is_streamable, joiner
from licmeter.runtime.clickhouse.sessions import Sessions
from licmeter.runtime.clickhouse.statements import Insert

__all__ = ["CONNECTIONS_MAX", "Answer", "Service"]

#: Statements at one time; more wait. The engine's own threads do the work, so more would not be faster.
CONNECTIONS_MAX: Final = 8

_T = TypeVar("_T")


class Answer:
    """A running answer; whoever gets it must `close` it."""

    def __init__(self, service: "Service", lease: "_Lease", result: Result, result_format: str, join: Joiner) -> None:
        self.result_format = result_format
        self.statistics = result.statistics
        self._service = service
        self._lease = lease
        self._result = result
        self._join = join
        self._closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what to send; raises `QueryError` where the statement fails half-way."""
        while chunk := await self._service.in_thread(self._result.next_chunk):
            yield self._join.add(chunk)
        if end := self._join.finish():
            yield end

    async def close(self) -> None:
        """Stop the statement if it still runs, and give the connection back; the second time does nothing."""
        if not self._closed:
            self._closed = True
            await self._lease.give_back(self._result)


class _Lease:
    """A connection for one request: a fresh one, or that of a session with its state noted."""

    def __init__(self, service: "Service", request: HttpQuery) -> None:
        self._service = service
        self._request = request
        self._connection: Connection | None = None
        self._before: tuple[str, dict[str, str]] | None = None

    def take(self, connection: Connection | None) -> Connection:
        """Make the connection ready; in a thread."""
        request = self._request
        self._connection = connection or self._service.engine.connect()
        if connection is not None and (request.settings or request.database):
            self._before = connection.state(request.settings)
        self._connection.apply(request.database, request.settings)
        return self._connection

    def _put_back(self, result: Result | None) -> bool:
        """End the statement and undo what the request had set; say whether that went well."""
        try:
            if result is not None:
                result.close()
            if self._connection is not None and self._request.session_id is None:
                self._connection.close()
            elif self._connection is not None and self._before is not None:
                database, settings = self._before
                used = not isinstance(self._request.statement, Insert) and self._request.statement.verb == "USE"
                self._connection.apply(None if used else database, settings)
        except QueryError:
            return False
        return True

    async def give_back(self, result: Result | None) -> None:
        """Free the connection and the slot, whatever happened to the request."""
        try:
            well = await self._service.in_thread(lambda: self._put_back(result))
        finally:
            self._service.slots.release()
        if self._request.session_id is not None:
            self._service.sessions.release(self._request.session_id, broken=not well)


class Service:
    """Everything behind the HTTP surface."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self.engine = engine
        self.sessions = Sessions(engine, clock)
        self.slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._threads = ThreadPoolExecutor(CONNECTIONS_MAX, thread_name_prefix="chdb")

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """Run a blocking call; a cancelled caller still waits for it, since the connection is busy until then."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def execute(self, request: HttpQuery) -> Answer:
        """Start a statement; raises `QueryError`, and then nothing is left to be closed."""
        session = None
        await self.slots.acquire()
        try:
            if request.session_id is not None:
                session = self.sessions.acquire(
                    request.session_id, timeout=request.session_timeout, must_exist=request.session_must_exist
                )
        except BaseException:
            self.slots.release()
            raise
        lease = _Lease(self, request)
        try:
            connection = session.connection if session is not None else None
            return await self.in_thread(lambda: self._start(request, lease, connection))
        except BaseException:
            await asyncio.shield(lease.give_back(None))
            raise

    def _start(self, request: HttpQuery, lease: _Lease, connection: Connection | None) -> Answer:
        ready = lease.take(connection)
        statement = request.statement
        if isinstance(statement, Insert):
            return Answer(self, lease, ready.insert(statement, request.parameters), "", Joiner())
        ready.check(statement, readonly=request.readonly)
        stream = is_streamable(statement.result_format)
        result = ready.run(statement, request.parameters, stream=stream)
        join = joiner(statement.result_format) if stream else Joiner()
        return Answer(self, lease, result, statement.result_format, join)

    async def sweep(self, interval_s: float = 1.0) -> None:
        """Close expired sessions, for ever."""
        while True:
            await asyncio.sleep(interval_s)
            self.sessions.close_expired()

    async def close(self) -> None:
        """Wait for running calls, then close the engine."""
        await asyncio.to_thread(self._threads.shutdown)
        self.sessions.close()
        self.engine.close()
