"""The ASGI application: addresses, and how failures become answers."""

import time
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from licmeter.analytics.http import contract
from licmeter.analytics.http.gate import ClientGone, Gate
from licmeter.analytics.http.problems import Problem, Unavailable, Unprocessable, problem_document
from licmeter.analytics.http.routes import router
from licmeter.analytics.statistics.words import StatisticsError

__all__ = ["OPENAPI_URL", "create_app"]

OPENAPI_URL: Final = "/v1/openapi.json"
READY_RETRY_S: Final = 2.0
#: Mistakes that are named in one answer.
ERRORS_MAX: Final = 20

_log: Final = structlog.get_logger("licmeter.api")


def create_app(gate: Gate) -> FastAPI:
    """Build the application over a gate, which whoever serves it stops."""
    # FastAPI's own pages load their scripts from elsewhere, so there are none.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=OPENAPI_URL, **contract.TITLE)
    app.state.gate = gate
    app.include_router(router)
    _add_operation(app, gate)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(StatisticsError, _on_statistics_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientGone, _on_gone)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_failure)
    app.add_middleware(_Accounting, gate=gate)
    app.openapi = lambda: contract.contract_document(app)  # type: ignore[method-assign]
    return app


def _add_operation(app: FastAPI, gate: Gate) -> None:
    @app.get("/livez", **contract.STATUS)
    async def livez() -> dict[str, str]:
        """Tell whether the process serves."""
        return {"status": "ok"}

    @app.get("/readyz", **contract.STATUS)
    async def readyz() -> dict[str, str]:
        """Tell whether clients should be sent here."""
        if not await gate.ready():
            raise Unavailable("not ready", retry_after_s=READY_RETRY_S)
        return {"status": "ready"}

    @app.get("/metrics", **contract.METRICS)
    async def metrics() -> Response:
        """Get the metrics, as Prometheus reads them."""
        return Response(gate.metrics.render(), media_type="text/plain; version=0.0.4")


class _Accounting:
    """Gives each request an id and a line in the metrics. Plain ASGI: it passes on who has gone."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = str(ULID())
        began = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Request-Id"] = request_id
                route: Any = scope.get("route")
                path = "other" if route is None else route.path
                self._gate.metrics.requests.labels(path, str(message["status"])).inc()
                self._gate.metrics.latency.labels(path).observe(time.perf_counter() - began)
            await send(message)

        # What is logged on the way is found under the id that the client was told.
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    document = problem_document(error, request.scope["request_id"])
    return _problem_response(error.status, document, error.headers)


async def _on_statistics_error(request: Request, error: Exception) -> Response:
    """Say why a question has no answer, such as new devices by feature."""
    return await _on_problem(request, Unprocessable(str(error)))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Name the parameters that are wrong, and nothing of what they held."""
    assert isinstance(error, RequestValidationError)
    mistakes = [
        {
            "parameter": ".".join(str(part) for part in mistake["loc"][1:])[:100] or "the query",
            "message": str(mistake["msg"]).removeprefix("Value error, "),
        }
        for mistake in error.errors()[:ERRORS_MAX]
    ]
    return await _on_problem(request, Unprocessable("parameters are wrong", errors=mistakes))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Turn the framework's own refusals (no such address, no such method) into problems."""
    assert isinstance(error, HTTPException)
    document = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "request_id": request.scope["request_id"],
    }
    return _problem_response(error.status_code, document, dict(error.headers or {}))


async def _on_gone(request: Request, _: Exception) -> Response:
    # Nobody reads this. It keeps the log free of tracebacks for what happens all the time, and has a name of its own in
    # the metrics, which other servers use for it, too.
    return Response(status_code=499)


async def _on_failure(request: Request, error: Exception) -> Response:
    """Say that we failed, and nothing of how; the log has the traceback."""
    request_id = request.scope["request_id"]
    _log.error("request_failed", request_id=request_id, exc_info=error)
    answer = await _on_problem(request, Problem("the service failed; its log knows more under the request id"))
    answer.headers["Request-Id"] = request_id  # this one is not sent by way of `_Accounting`
    return answer


def _problem_response(status: int, document: dict[str, Any], headers: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-store", **headers}
    return JSONResponse(document, status_code=status, headers=headers, media_type="application/problem+json")
