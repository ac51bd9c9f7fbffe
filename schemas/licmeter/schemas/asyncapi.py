"""The public topics as an AsyncAPI 3.0 document, made from the topic table and the contracts.

Operations are those of somebody who uses licmeter: what an application sends, and what a program may subscribe to.
Payload schemas are those of `export`, put where references within the document find them.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from licmeter.schemas import topics
from licmeter.schemas.alerts import ALERT_TYPE, BREACH_TYPE
from licmeter.schemas.authorizations import AUTHORIZATION_TYPE
from licmeter.schemas.catalog import CATALOG_TYPE
from licmeter.schemas.export import json_schemas
from licmeter.schemas.rejects import HEADER_PREFIX
from licmeter.schemas.reports import REPORT_TYPE
from licmeter.schemas.topics import TopicSpec
from licmeter.schemas.verdicts import VERDICT_TYPE

__all__ = ["PUBLIC_TOPICS", "asyncapi_document"]

_CLOUD_EVENT: Final = "application/cloudevents+json"
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"

#: Topics that are a border of the system. Changelogs of the stream's state are not.
PUBLIC_TOPICS: Final = tuple(spec for spec in topics.ALL_TOPICS if not spec.name.startswith(f"{topics.STREAM_APP_ID}-"))
#: The messages of each topic: contract, or None where the payload is no JSON of ours; content type; what it is.
_MESSAGES: Final[Mapping[str, tuple[tuple[str, str | None, str, str], ...]]] = {
    topics.USAGE_EVENTS.name: (
        ("usageReport", REPORT_TYPE, _CLOUD_EVENT, "What one client used in one three-minute slot."),
        ("authorization", AUTHORIZATION_TYPE, _CLOUD_EVENT, "A request for leave to run."),
        ("catalogChange", CATALOG_TYPE, _CLOUD_EVENT, "A new document of an organization."),
    ),
    topics.USAGE_ATTRIBUTED.name: (
        (
            "rows",
            None,
            "application/vnd.apache.arrow.stream",
            "A block of rows: attribution without a key, requests with the key `authorizations`, seats with `seats`.",
        ),
    ),
    topics.LICENSE_COUNTERS.name: (
        ("itemCounters", "license.counters.item", "application/json", "The state of an item."),
        ("organizationCounters", "license.counters.organization", "application/json", "Outcomes of an organization."),
    ),
    topics.LICENSE_ALERTS.name: (
        ("breach", BREACH_TYPE, _CLOUD_EVENT, "A limit was crossed, or use is covered by no license."),
        ("usageAlert", ALERT_TYPE, _CLOUD_EVENT, "What a ten-minute check newly found."),
    ),
    topics.USAGE_REJECTED.name: (
        ("rejected", None, "application/octet-stream", "The original record, byte for byte; why is in its headers."),
    ),
    topics.USAGE_REPLAYS.name: (
        ("replay", "usage.replays", "application/json", "A run of `licmeter rejects replay`, and what it put back."),
    ),
    topics.LICENSE_VERDICTS.name: (("verdict", VERDICT_TYPE, _CLOUD_EVENT, "The answer to a request for leave."),),
    topics.LICENSE_CATALOG.name: (
        ("organization", "organization", "application/json", "The document of an organization that is in force."),
    ),
    topics.LICENSE_UNDELIVERED.name: (
        ("undelivered", None, "application/json", "A notice that could not be delivered, until it is replayed."),
    ),
}
#: Contracts that describe `data` of a CloudEvent; the others describe the whole value.
_DATA_ONLY: Final = frozenset({BREACH_TYPE, ALERT_TYPE, VERDICT_TYPE})
_SENT: Final = frozenset({topics.USAGE_EVENTS.name})
_REJECT_HEADERS: Final = ("reason", "detail", "source-topic", "source-partition", "source-offset", "received-at-ms")


def asyncapi_document() -> dict[str, Any]:
    """Return the document; the same contracts and topics always give the same one.

    Raises `KeyError` for a public topic that has no messages here.
    """
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for spec in PUBLIC_TOPICS:
        names = []
        for name, contract, content_type, summary in _MESSAGES[spec.name]:
            messages[name] = _message(name, contract, content_type, summary, schemas)
            names.append(name)
        channel = _camel(spec.name)
        channels[channel] = _channel(spec, names)
        verb = "send" if spec.name in _SENT else "receive"
        operations[f"{verb}{channel[0].upper()}{channel[1:]}"] = {
            "action": verb,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "licmeter",
            "version": version("licmeter"),
            "description": "Measures how software licenses are used. Kafka topics that are a border of the system.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _CLOUD_EVENT,
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "variables": {"bootstrap": {"default": "localhost:9092", "description": "host:port of a broker"}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(spec: TopicSpec, names: list[str]) -> dict[str, Any]:
    cleanup = spec.config.get("cleanup.policy", "delete").split(",")
    configuration: dict[str, Any] = {"cleanup.policy": cleanup}
    for setting in ("retention.ms", "max.message.bytes"):
        if setting in spec.config:
            configuration[setting] = int(spec.config[setting])
    return {
        "address": spec.name,
        "title": spec.name,
        "description": f"{spec.content}. Key: {spec.key}.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {"topic": spec.name, "topicConfiguration": configuration, "bindingVersion": "0.5.0"},
        },
    }


def _message(
    name: str, contract: str | None, content_type: str, summary: str, schemas: dict[str, Any]
) -> dict[str, Any]:
    message: dict[str, Any] = {"name": name, "title": name, "summary": summary, "contentType": content_type}
    if contract is not None:
        message["payload"] = {"schemaFormat": _SCHEMA_FORMAT, "schema": _payload(contract, schemas)}
    if content_type == _CLOUD_EVENT:
        message["headers"] = _headers({"content-type": {"const": _CLOUD_EVENT}})
    if name == "rejected":
        message["headers"] = _headers({f"{HEADER_PREFIX}{header}": {"type": "string"} for header in _REJECT_HEADERS})
    return message


def _headers(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _payload(contract: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a message's value, whose definitions are put into `schemas`."""
    schema = _moved(json_schemas()[contract], schemas)
    if contract not in _DATA_ONLY:
        return schema
    attributes = {name: {"type": "string"} for name in ("id", "source", "subject")}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "type": {"const": contract},
            **attributes,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": schema,
        },
    }


def _moved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Move a schema's definitions to the document's components; raises `ValueError` where two differ in one name."""
    for name, definition in schema.get("$defs", {}).items():
        moved = _repointed(definition)
        if schemas.setdefault(name, moved) != moved:
            raise ValueError(f"two contracts define {name} differently")
    rest = {key: value for key, value in schema.items() if key not in ("$defs", "$id", "$schema")}
    moved_schema: dict[str, Any] = _repointed(rest)
    return moved_schema


def _repointed(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _reference(value) if key == "$ref" else _repointed(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_repointed(each) for each in part]
    return part


def _reference(target: str) -> str:
    return target.replace("#/$defs/", "#/components/schemas/")


def _camel(name: str) -> str:
    first, *rest = name.split(".")
    return first + "".join(part.capitalize() for part in rest)
