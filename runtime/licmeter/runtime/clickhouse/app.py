"""The ASGI application: ClickHouse's HTTP interface, as clients use it, over `Service`."""

import asyncio
import contextlib
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from licmeter.runtime.clickhouse.bodies import parse_form, read_body
from licmeter.runtime.clickhouse.errors import CLIENT_GONE, QueryError
from licmeter.runtime.clickhouse.requests import parse_request
from licmeter.runtime.clickhouse.service import Answer, Service

__all__ = ["create_app"]

_CONTENT_TYPES: Final = {
    "JSON": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "ArrowStream": "application/vnd.apache.arrow.stream",
}


class _AnswerResponse(Response):
    """Sends an answer piece by piece, ends with the server's mark if it fails, and always closes it."""

    def __init__(self, answer: Answer, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self._answer = answer
        self._tag = secrets.token_hex(8)
        content_type = _CONTENT_TYPES.get(answer.result_format, "application/octet-stream")
        self.init_headers({**headers, "Content-Type": content_type, "X-ClickHouse-Exception-Tag": self._tag})

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set exactly these headers: the length is not known."""
        self.raw_headers = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in self._body():
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            # First the session is free again: the client may send its next request once it has the end.
            await self._answer.close()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            return  # nobody reads any more
        finally:
            gone.cancel()
            await asyncio.shield(self._answer.close())

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.chunks():
                yield chunk
        except QueryError as error:
            message = error.text.encode()
            yield b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
                self._tag.encode(),
                message,
                len(message) + 1,
                self._tag.encode(),
            )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(service: Service) -> Starlette:
    """Build the application; it closes the service when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(service.sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            await service.close()

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(request: Request) -> Response:
        return await _answer(service, request)

    routes = [Route("/ping", ping), Route("/", query, methods=["GET", "HEAD", "POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


async def _answer(service: Service, request: Request) -> Response:
    url = dict(request.query_params)
    began = time.monotonic()
    headers = {
        "X-ClickHouse-Server-Display-Name": "chdb",
        "X-ClickHouse-Query-Id": url.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Timezone": service.engine.timezone,
    }
    try:
        content_type = request.headers.get("content-type", "")
        body = await read_body(request.stream(), request.headers.get("content-encoding", ""))
        form = parse_form(body, content_type) if content_type.startswith("multipart/form-data") else {}
        if not form and not body and not url.get("query"):
            return PlainTextResponse("Ok.\n", headers=headers)
        readonly = request.method != "POST"
        parsed = parse_request(url, request.headers, b"" if form else body, form, readonly=readonly)
        answer = await service.execute(parsed)
    except ClientDisconnect:
        return _failure(QueryError.of(CLIENT_GONE, "The client went away while it sent its request"), headers)
    except QueryError as error:
        return _failure(error, headers)
    if answer.result_format:
        headers["X-ClickHouse-Format"] = answer.result_format
    counts = {name: str(value) for name, value in answer.statistics.items()}
    counts["elapsed_ns"] = str(round((time.monotonic() - began) * 1e9))
    headers["X-ClickHouse-Summary"] = json.dumps(counts)
    return _AnswerResponse(answer, headers)


def _failure(error: QueryError, headers: Mapping[str, str]) -> Response:
    return PlainTextResponse(
        error.text + "\n",
        status_code=error.http_status,
        headers={**headers, "X-ClickHouse-Exception-Code": str(error.code)},
    )
