"""ClickHouse as the HTTP process asks it: read only, bounded in time, rows and memory, and stopped when nobody waits.

`Statistics` blocks, so it runs in a thread of its own; its queries are made by the event loop. So a query can be
cancelled at any moment: that closes its connection, and ClickHouse stops what it did for it.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import aiohttp
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from licmeter.analytics.http.config import ApiConfig
from licmeter.analytics.http.metrics import Metrics
from licmeter.analytics.http.problems import Problem, Unavailable
from licmeter.analytics.query import Client

__all__ = ["Database", "Stopped"]

_T = TypeVar("_T")
#: When it is worth asking again: a narrower question at once, the same one when there is less to do.
BOUND_RETRY_AFTER_S: Final = 10.0
DOWN_RETRY_AFTER_S: Final = 2.0
#: How long ClickHouse may take to say that it is there.
PROBE_TIMEOUT_S: Final = 2.0
#: ClickHouse's codes for what our bounds stop (src/Common/ErrorCodes.cpp), and for what is not there yet.
_BOUNDS: Final[Mapping[int, str]] = {
    158: "rows",  # TOO_MANY_ROWS
    396: "rows",  # TOO_MANY_ROWS_OR_BYTES
    159: "time",  # TIMEOUT_EXCEEDED
    160: "time",  # TOO_SLOW
    241: "memory",  # MEMORY_LIMIT_EXCEEDED
    202: "queries",  # TOO_MANY_SIMULTANEOUS_QUERIES
}
_NO_SCHEMA: Final = (60, 81)  # UNKNOWN_TABLE, UNKNOWN_DATABASE
#: Reads a table, so that a server without our schema is not ready either.
_PROBE: Final = "SELECT count() FROM (SELECT 1 FROM organization_counters LIMIT 1)"

_log: Final = structlog.get_logger("licmeter.api")


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """Nobody waits for this question any more."""


class _Bridge:
    """A blocking client for one thread over the loop's client; `stop` ends the query that runs, and all to come."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop, settings: Mapping[str, Any]) -> None:
        self._client = client
        self._loop = loop
        self._settings = settings
        self._lock = threading.Lock()
        self._running: Future[Any] | None = None
        self._stopped = False

    def query(self, query: str, parameters: Any = None, settings: Any = None) -> Any:
        """Run a query; raises clickhouse-connect's errors, and `Stopped`."""
        with self._lock:
            if self._stopped:
                raise Stopped
            asked = self._client.query(query, parameters=parameters, settings={**(settings or {}), **self._settings})
            running = self._running = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return running.result()
        except CancelledError:
            raise Stopped from None

    def stop(self) -> None:
        """End it; from the loop's thread."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.cancel()


class Database:
    """The connections of one process: opened when first needed."""

    def __init__(self, config: ApiConfig, metrics: Metrics) -> None:
        self._connect = config.connect
        self._metrics = metrics
        self._timeout_s = config.answer_timeout_s
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        # One thread for each answer that is worked on: none of them ever waits for a thread.
        self._threads = ThreadPoolExecutor(config.queries_max, thread_name_prefix="statistics")
        self._settings: Mapping[str, Any] = {
            "readonly": 2,  # a question cannot write, whatever its text were; `final` is still set
            "cancel_http_readonly_queries_on_client_close": 1,
            "max_execution_time": config.answer_timeout_s,
            "max_result_rows": config.rows_max,
            "result_overflow_mode": "throw",
            "max_memory_usage": config.query_memory_mb * 1024 * 1024,
        }

    async def ask(self, question: Callable[[Client], _T]) -> _T:
        """Run a blocking question in a thread. Raises `Unavailable` beyond a bound, or when ClickHouse is away."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._in_thread(question)
        except TimeoutError:
            raise self._beyond("time") from None
        except (ClickHouseError, aiohttp.ClientError, OSError) as error:
            raise self._problem(error) from error

    async def _in_thread(self, question: Callable[[Client], _T]) -> _T:
        loop = asyncio.get_running_loop()
        bridge = _Bridge(await self._connected(), loop, self._settings)
        answer = loop.run_in_executor(self._threads, question, bridge)
        try:
            return await asyncio.shield(answer)
        except BaseException:
            # The place is free when the thread is: it ends with its query, or with what it computes just now.
            bridge.stop()
            await asyncio.wait([answer])
            if not answer.cancelled():
                answer.exception()  # noted; nobody else will
            raise

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def answers(self) -> bool:
        """Tell whether ClickHouse answers, and has our tables."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                client = await self._connected()
                await client.query(_PROBE, settings={"readonly": 2})
        except (ClickHouseError, aiohttp.ClientError, OSError) as error:
            _log.warning("clickhouse_away", error=_first_line(error))
            return False
        return True

    async def close(self) -> None:
        """Close the connections; nothing may be asked any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            await self._client.close()

    def _problem(self, error: Exception) -> Problem:
        code = error.code if isinstance(error, DatabaseError) else None
        bound = None if code is None else _BOUNDS.get(code)
        if bound is not None:
            return self._beyond(bound)
        self._metrics.database_failures.inc()
        if code is not None and code not in _NO_SCHEMA:
            _log.error("query_failed", code=code, error=_first_line(error))
            return Problem("the question could not be answered; the log knows more under the request id")
        hint = "`licmeter migrate` makes the tables" if code in _NO_SCHEMA else None
        _log.error("clickhouse_away", error=_first_line(error), hint=hint)
        return Unavailable("the database does not answer", retry_after_s=DOWN_RETRY_AFTER_S)

    def _beyond(self, bound: str) -> Problem:
        self._metrics.bounds_hit.labels(bound).inc()
        _log.warning("bound_hit", bound=bound)
        return Unavailable(
            f"the answer takes more {bound} than one may: ask for a shorter range, or divide it less",
            retry_after_s=BOUND_RETRY_AFTER_S,
        )


def _first_line(error: Exception) -> str:
    """Return what happened without the statement, which is long, and holds names that a client sent."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].partition(" In scope ")[0][:500]
