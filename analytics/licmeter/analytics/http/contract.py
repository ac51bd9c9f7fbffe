"""The OpenAPI description: what FastAPI knows from the models, with answers and headers that it does not know."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import Response

from licmeter.analytics.http.answers import ProblemDetails, Status

__all__ = ["METRICS", "STATUS", "TITLE", "contract_document", "operation"]

TITLE: Final[Mapping[str, Any]] = {
    "title": "licmeter statistics",
    "version": version("licmeter"),
    "summary": "What was used, of one organization.",
    "description": (
        "Every answer says in `updated_at` when the last event arrived that is counted. Counts are JSON integers and "
        "may exceed 2^53: read them as 64-bit integers where that matters. Instants are RFC 3339 in UTC, days are days "
        "in UTC. `docs/statistics-api.md` has the rest."
    ),
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_PROBLEMS: Final = {
    400: "The cursor belongs to another question, or is none",
    401: "No token, or one that opens nothing",
    403: "Without tokens only this machine may ask",
    404: "Nothing is there that the token opens",
    422: "The question has no answer, or does not follow the contract",
    429: "The organization asks too much at once",
    503: "Not now, or not within the bounds of one answer",
}
_REQUEST_ID: Final = {"Request-Id": {"description": "names the request in the log", "schema": {"type": "string"}}}
_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_VALIDATORS: Final = {
    "ETag": {"description": "for If-None-Match", "schema": {"type": "string"}},
    "Last-Modified": {"description": "`updated_at` as an HTTP date", "schema": {"type": "string"}},
    "Cache-Control": {"description": "private, no-cache", "schema": {"type": "string"}},
}
_LINK: Final = {"Link": {"description": 'the next page, rel="next"', "schema": {"type": "string"}}}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "tags of answers that the client has",
    "schema": {"type": "string"},
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "model": ProblemDetails,
            "description": _PROBLEMS[status],
            "headers": _REQUEST_ID | (_RETRY_AFTER if status in (429, 503) else {}),
            # FastAPI writes models under the media type of the response class, which is JSON.
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in statuses
    }


def operation(name: str, answer: type[BaseModel], summary: str, *, pages: bool = False) -> dict[str, Any]:
    """Return what FastAPI is told of an address of the statistics."""
    headers = _REQUEST_ID | _VALIDATORS | (_LINK if pages else {})
    good: dict[str, Any] = {"description": "The answer", "headers": headers}
    if pages:
        good["content"] = {"text/csv": {"schema": {"type": "string", "description": "the rows, with a header"}}}
    responses = {200: good, 304: {"description": "The client has this answer", "headers": headers}}
    return {
        "tags": ["statistics"],
        "operation_id": name,
        "summary": summary,
        "response_model": answer,
        "responses": responses | _problems(*((400,) if pages else ()), 401, 403, 404, 422, 429, 503),
        "openapi_extra": {"parameters": [_IF_NONE_MATCH]},
    }


STATUS: Final[Mapping[str, Any]] = {
    "tags": ["operation"],
    "response_model": Status,
    "responses": {200: {"description": "Yes", "headers": _REQUEST_ID}} | _problems(503),
}
METRICS: Final[Mapping[str, Any]] = {
    "tags": ["operation"],
    "response_class": Response,
    "responses": {
        200: {
            "description": "Prometheus text",
            "headers": _REQUEST_ID,
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
}


def contract_document(app: FastAPI) -> dict[str, Any]:
    """Return the description; the same release always gives the same."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        for path in document["paths"].values():
            for each in path.values():
                _only_problems_are_problems(each["responses"])
        app.openapi_schema = document
    return app.openapi_schema


def _only_problems_are_problems(responses: dict[str, Any]) -> None:
    for answer in responses.values():
        content = answer.get("content", {})
        if "application/problem+json" in content:
            content.pop("application/json", None)
