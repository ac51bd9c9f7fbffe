"""From a request to events: each as the bytes of one CloudEvent in structured mode, or as far as it can be read.

Three ways to say the same (docs/gateway.md): CloudEvents one by one or in batches, CloudEvents in binary mode, plain
reports. What is complete already goes on byte for byte.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from pydantic_core import from_json

from licmeter.producers.gateway.problems import BadRequest, TooLarge, UnsupportedMedia
from licmeter.producers.reading import plain_event
from licmeter.schemas.reports import encode_event

__all__ = ["Incoming", "Request", "read_request"]

_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_PLAIN: Final = ("application/json", "text/plain")
CONTENT_TYPES: Final = (_STRUCTURED, _BATCH, "application/json")

_read_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
#: Attributes of the envelope that binary mode puts into headers; others are extensions, and no concern of ours.
_ATTRIBUTES: Final = ("specversion", "type", "id", "source", "subject", "time", "organizationid")


class Incoming(NamedTuple):
    """One event of a request: its bytes; `mistake` says why they are none, when even that can be told."""

    value: bytes
    mistake: str = ""


class Request(NamedTuple):
    """All events of a request; `batch` tells an array from a single event."""

    events: list[Incoming]
    batch: bool


def read_request(content_type: str, headers: Mapping[str, str], body: bytes, events_max: int) -> Request:
    """Take a body apart. Raises `BadRequest`, `TooLarge` or `UnsupportedMedia`, of the request as a whole."""
    media_type = content_type.partition(";")[0].strip().lower()
    if "ce-specversion" in headers:
        return Request([_read_binary(headers, media_type, body)], batch=False)
    if media_type == _BATCH:
        return Request([_read_one(raw) for raw in _array(body, events_max)], batch=True)
    if media_type == _STRUCTURED:
        return Request([Incoming(_object(body))], batch=False)
    if media_type not in _PLAIN:
        raise UnsupportedMedia(f"Content-Type: one of {', '.join(CONTENT_TYPES)}", headers={"Accept": CONTENT_TYPES[0]})
    text = body.lstrip()
    if text.startswith(b"["):
        return Request([_read_plain(raw) for raw in _array(body, events_max)], batch=True)
    return Request([_read_plain(_object(body))], batch=False)


def _array(body: bytes, events_max: int) -> list[bytes]:
    try:
        entries = _read_array(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON array: {error}") from error
    if len(entries) > events_max:
        raise TooLarge(f"a batch has at most {events_max} events; send smaller ones")
    raw = [bytes(entry) for entry in entries]
    for number, entry in enumerate(raw):
        if not entry.startswith(b"{"):
            raise BadRequest(f"entry {number} of the batch is no object")
    return raw


def _object(body: bytes) -> bytes:
    text = body.strip()
    try:
        fields = from_json(text)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest("the body is no JSON object")
    return text


def _read_one(raw: bytes) -> Incoming:
    return Incoming(raw)


def _read_plain(raw: bytes) -> Incoming:
    """Put a plain report into its envelope; leave an event as it is."""
    try:
        fields = from_json(raw)
    except ValueError as error:  # msgspec skips what it does not look at; the contract's parser has the last word
        return Incoming(raw, f"not JSON: {error}")
    if "specversion" in fields:
        return Incoming(raw)
    value, mistakes = plain_event(fields)
    return Incoming(raw if value is None else value, "; ".join(mistakes))


def _read_binary(headers: Mapping[str, str], media_type: str, body: bytes) -> Incoming:
    """Join the attributes in the headers with the data in the body (CloudEvents HTTP binding, 3.1)."""
    if media_type not in ("", "application/json"):
        raise UnsupportedMedia("in binary mode the data is application/json", headers={"Accept": "application/json"})
    event: dict[str, Any] = {}
    for name in _ATTRIBUTES:
        given = headers.get(f"ce-{name}")
        if given is not None:
            event[name] = _percent_decoded(given)
    event["datacontenttype"] = "application/json"
    try:
        event["data"] = from_json(body)
        return Incoming(encode_event(event))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error


def _percent_decoded(value: str) -> str:
    """Decode a header value (CloudEvents HTTP binding, 3.1.3.2)."""
    try:
        return unquote_to_bytes(value.strip().strip('"')).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("a ce- header is not percent-encoded UTF-8") from error
