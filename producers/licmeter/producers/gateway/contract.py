"""The OpenAPI description, from the same models that the gateway and the stream read with."""

from importlib.metadata import version
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import Response

from licmeter.producers.gateway.authorizing import AuthorizationRequest
from licmeter.schemas.outcomes import ItemState, RejectReason
from licmeter.schemas.reports import UsageReportEvent

__all__ = [
    "AUTHORIZATIONS",
    "BROWSER_MODULE",
    "BROWSER_TYPES",
    "EVENTS",
    "HEALTH",
    "METRICS",
    "READY",
    "TITLE",
    "document",
]

_REF: Final = "#/components/schemas/{model}"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Code(_Model):
    """A code of the tracking server."""

    number: int
    slug: str


class ItemStanding(_Model):
    """How a license item stands."""

    item_id: str
    state: ItemState
    percent: str | None = Field(description="used, active or consumed of what the item allows; null without a limit")


class Result(_Model):
    """What became of one event."""

    id: str | None
    source: str | None
    outcome: Literal["accepted", "rejected"]
    items: list[ItemStanding] | None = Field(default=None, description="accepted: in consumption order")
    reason: RejectReason | None = Field(default=None, description="rejected")
    detail: str | None = Field(default=None, description="rejected")
    code: Code | None = Field(default=None, description="120 used up, 104 no item, or why it was rejected")


class EventsAnswer(_Model):
    """One result for each event, in their order."""

    request_id: str
    received_at: AwareDatetime
    results: list[Result]


class AuthorizationAnswer(_Model):
    """The verdict."""

    request_id: str
    auth_id: str
    at: AwareDatetime
    granted: bool
    project_id: str | None
    item_id: str | None
    local_expires_at: AwareDatetime | None
    code: Code | None
    items: list[ItemStanding]


class ProblemDetails(_Model):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str
    code: Code | None = None
    received_at: AwareDatetime | None = None
    results: Annotated[list[Result] | None, Field(default=None, description="of each event, when all were refused")]


class Status(_Model):
    """All is well."""

    status: str


_MODELS: Final = (EventsAnswer, AuthorizationAnswer, ProblemDetails, Status, AuthorizationRequest)

_TITLES: Final = {
    400: "The body is not what it says it is",
    401: "No license key, or an unknown one",
    403: "The key, the session password, or another organization",
    404: "No such address",
    405: "No such method here",
    409: "The auth_id stands for another request, or its answer is not known any more",
    413: "Too large, or too many events",
    415: "Another content type or coding",
    422: "Not as the contract has it",
    429: "More than the key may send",
    503: "Not now; send it again after Retry-After seconds",
}
_REQUEST_ID: Final = {
    "Request-Id": {"description": "names the request in the gateway's log", "schema": {"type": "string"}}
}
_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _json(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _answer(status: int, description: str, content: dict[str, Any]) -> dict[int | str, Any]:
    return {status: {"description": description, "headers": _REQUEST_ID, "content": content}}


def _problems(*statuses: int) -> dict[int | str, Any]:
    return {
        status: {
            "description": _TITLES[status],
            "headers": _REQUEST_ID | (_RETRY_AFTER if status in (429, 503) else {}),
            "content": _json(_ref("ProblemDetails"), "application/problem+json"),
        }
        for status in statuses
    }


def _operation(tag: str, responses: dict[int | str, Any], **extra: Any) -> dict[str, Any]:
    # FastAPI adds an answer of its own for the status of success, unless it is the one that is described.
    return {
        "tags": [tag],
        "status_code": next(iter(responses)),
        "responses": responses,
        "response_class": Response,
        "openapi_extra": extra or None,
    }


_EVENT: Final = _ref("UsageReportEvent")
_EVENT_OR_ANY: Final = {
    "anyOf": [_EVENT, {"type": "object"}],
    "description": "an object that is no report has a result of its own, and keeps no other from being counted",
}
_PLAIN: Final = _ref("PlainReport")
_BATCH_OF: Final = {
    "type": "array",
    "description": "at most as many as LICMETER_GATEWAY__EVENTS_MAX says, 1,000 by default; 413 otherwise",
}

TITLE: Final[dict[str, Any]] = {
    "title": "licmeter gateway",
    "version": version("licmeter"),
    "summary": "Brings usage reports in, and answers requests for leave to run.",
    "description": (
        "What an interface description cannot say is in `docs/gateway.md`: binary mode (`ce-` headers), beacons "
        "(`text/plain` with `license_key` in the query), and what a client does with each answer."
    ),
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
EVENTS: Final = _operation(
    "producers",
    _answer(202, "One result for each event", _json(_ref("EventsAnswer")))
    | _problems(400, 401, 403, 413, 415, 422, 429, 503),
    operationId="sendEvents",
    security=[{"licenseKey": []}, {"licenseKeyInQuery": []}],
    requestBody={
        "required": True,
        "content": _json(_EVENT, "application/cloudevents+json")
        | _json({**_BATCH_OF, "items": _EVENT_OR_ANY}, "application/cloudevents-batch+json")
        | _json({"anyOf": [_PLAIN, _EVENT, {**_BATCH_OF, "items": {"anyOf": [_PLAIN, _EVENT, {"type": "object"}]}}]}),
    },
)
AUTHORIZATIONS: Final = _operation(
    "producers",
    _answer(200, "The verdict, also when leave is refused", _json(_ref("AuthorizationAnswer")))
    | _problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    operationId="authorize",
    security=[{"licenseKey": []}],
    requestBody={"required": True, "content": _json(_ref("AuthorizationRequest"))},
)
BROWSER_MODULE: Final = _operation(
    "browser", _answer(200, "An ES module", {"text/javascript": {"schema": {"type": "string"}}}), security=[]
)
BROWSER_TYPES: Final = _operation(
    "browser", _answer(200, "TypeScript declarations", {"text/plain": {"schema": {"type": "string"}}}), security=[]
)
HEALTH: Final = _operation("operation", _answer(200, "The process serves", _json(_ref("Status"))), security=[])
READY: Final = _operation(
    "operation", _answer(200, "Clients are welcome", _json(_ref("Status"))) | _problems(503), security=[]
)
METRICS: Final = _operation(
    "operation", _answer(200, "Prometheus text", {"text/plain": {"schema": {"type": "string"}}}), security=[]
)


def document(app: FastAPI) -> dict[str, Any]:
    """Return the description; the same gateway always gives the same."""
    if app.openapi_schema is None:
        description = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        components = description.setdefault("components", {})
        components["schemas"] = _schemas()
        components["securitySchemes"] = {
            "licenseKey": {"type": "http", "scheme": "bearer", "description": "the license key of a project"},
            "licenseKeyInQuery": {
                "type": "apiKey",
                "in": "query",
                "name": "license_key",
                "description": "for beacons, which cannot set headers",
            },
        }
        app.openapi_schema = description
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    _, definitions = TypeAdapter.json_schemas(
        [(model, "validation", TypeAdapter(model)) for model in (*_MODELS, UsageReportEvent)], ref_template=_REF
    )
    schemas: dict[str, Any] = dict(definitions["$defs"])
    schemas["PlainReport"] = _plain_report(schemas)
    return schemas


def _plain_report(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a plain report: the fields of the envelope and of its data side by side."""
    event, data = schemas["UsageReportEvent"]["properties"], schemas["UsageReportData"]["properties"]
    names = {
        "report_id": event["id"],
        "client_uuid": event["source"],
        "slot": event["time"],
        "project_id": event["subject"],
        "organization_id": event["organizationid"],
    }
    return {
        "type": "object",
        "title": "PlainReport",
        "description": "A usage report without its envelope; `slot` is the start of the three-minute slot.",
        "properties": names | data,
        "required": ["report_id", "client_uuid", "slot", "counts"],
        "additionalProperties": False,
    }
