"""The ASGI application: addresses, and how failures become answers."""

import time
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from licmeter.producers.browser import browser_file
from licmeter.producers.errors import SendError
from licmeter.producers.gateway import contract
from licmeter.producers.gateway.authorizations import post_authorization
from licmeter.producers.gateway.events import post_events
from licmeter.producers.gateway.gate import PASSWORD_HEADER, Gate
from licmeter.producers.gateway.problems import Problem, Unavailable, problem_document
from licmeter.producers.gateway.responses import encode, json_response

__all__ = ["create_app"]

#: What a client is told to wait for when Kafka does not acknowledge.
KAFKA_RETRY_AFTER_S: Final = 2.0
#: Browsers ask for leave to call once in this time.
PREFLIGHT_S: Final = 3_600
#: A browser loads the module anew after this time.
MODULE_CACHE_S: Final = 3_600

_log: Final = structlog.get_logger("licmeter.gateway")


def create_app(gate: Gate) -> FastAPI:
    """Build the application over a gate, which whoever serves it starts and stops."""

    app = FastAPI(docs_url=None, redoc_url=None, **contract.TITLE)
    _add_events(app, gate)
    _add_browser(app)
    _add_operation(app, gate)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(SendError, _on_send_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_http_exception)
    app.add_exception_handler(Exception, _on_failure)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(gate.config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "content-encoding", PASSWORD_HEADER],
        expose_headers=["request-id", "retry-after"],
        max_age=PREFLIGHT_S,
    )
    app.add_middleware(_Accounting, gate=gate)
    app.openapi = lambda: contract.document(app)  # type: ignore[method-assign]
    return app


def _add_events(app: FastAPI, gate: Gate) -> None:
    @app.post("/v1/events", **contract.EVENTS)
    async def events(request: Request) -> Response:
        """Bring usage reports; answered when Kafka has them."""
        return await post_events(gate, request, request.scope["request_id"])

    @app.post("/v1/authorizations", **contract.AUTHORIZATIONS)
    async def authorizations(request: Request) -> Response:
        """Ask for leave to run; answered with the verdict."""
        return await post_authorization(gate, request, request.scope["request_id"])


def _add_browser(app: FastAPI) -> None:
    def module(name: str) -> Response:
        body, media_type = browser_file(name)
        return Response(body, media_type=media_type, headers={"Cache-Control": f"public, max-age={MODULE_CACHE_S}"})

    @app.get("/v1/client/licmeter.js", **contract.BROWSER_MODULE)
    async def browser_module() -> Response:
        """Get the module for browsers."""
        return module("licmeter.js")

    @app.get("/v1/client/licmeter.d.ts", **contract.BROWSER_TYPES)
    async def browser_types() -> Response:
        """Get the types of the module for browsers."""
        return module("licmeter.d.ts")


def _add_operation(app: FastAPI, gate: Gate) -> None:
    @app.get("/healthz", **contract.HEALTH)
    async def healthz() -> Response:
        """Tell whether the process serves."""
        return json_response(200, b'{"status":"ok"}')

    @app.get("/readyz", **contract.READY)
    async def readyz() -> Response:
        """Tell whether clients should be sent here."""
        if not gate.ready:
            raise Unavailable("not ready", retry_after_s=KAFKA_RETRY_AFTER_S)
        return json_response(200, b'{"status":"ready"}')

    @app.get("/metrics", **contract.METRICS)
    async def metrics() -> Response:
        """Get the metrics, as Prometheus reads them."""
        return Response(gate.metrics.render(), media_type="text/plain; version=0.0.4")


class _Accounting:
    """Gives each request an id and a line in the metrics. Plain ASGI, as it is on the way of every request."""

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

        await self._app(scope, receive, send_with_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    request_id = request.scope["request_id"]
    if error.status in (401, 403):
        _log.warning("refused", request_id=request_id, path=request.url.path, status=error.status, why=error.slug)
    body = encode(problem_document(error, request_id))
    return json_response(error.status, body, problem=True, headers=error.headers)


async def _on_send_error(request: Request, error: Exception) -> Response:
    _log.error("kafka_failed", request_id=request.scope["request_id"], error=str(error))
    problem = Unavailable("Kafka does not acknowledge; send it again", retry_after_s=KAFKA_RETRY_AFTER_S)
    return await _on_problem(request, problem)


async def _on_disconnect(request: Request, _: Exception) -> Response:
    # Nobody reads this; it keeps the log free of tracebacks for what happens all the time.
    return Response(status_code=400)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Turn the framework's own refusals (no such address, no such method) into problems."""
    status = error.status_code if isinstance(error, HTTPException) else 422
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    document = {
        "type": "about:blank",
        "title": str(error.detail) if isinstance(error, HTTPException) else "Unprocessable",
        "status": status,
        "request_id": request.scope["request_id"],
    }
    return json_response(status, encode(document), problem=True, headers=headers)


async def _on_failure(request: Request, error: Exception) -> Response:
    """Say that we failed, and nothing of how; the log has the traceback."""
    request_id = request.scope["request_id"]
    _log.error("request_failed", request_id=request_id, exc_info=error)
    answer = await _on_problem(request, Problem("the gateway failed; its log knows more under the request id"))
    answer.headers["Request-Id"] = request_id  # this one is not sent by way of `_Accounting`
    return answer
