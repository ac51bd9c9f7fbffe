"""Reads files of reports, one JSON object on a line, as `licmeter send FILE` takes them.

A line is a CloudEvent (it has `specversion`), which is sent byte for byte, or a plain report with the field names
of the domain, which is put into an envelope. This judges the form; whether a slot, a count or a project is
acceptable is for the stream to say, which alone knows when the report arrives.
"""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from licmeter.schemas.authorizations import AUTHORIZATION_TYPE, AuthorizationEvent
from licmeter.schemas.catalog import CATALOG_TYPE, CatalogEvent
from licmeter.schemas.reports import REPORT_TYPE, encode_event, organization_of, parse_report, usage_report

__all__ = ["LINE_BYTES_MAX", "ReadEvent", "ReadProblem", "plain_event", "read_events", "read_lines"]

#: The largest event that the stream reads at all, a catalog; a report is far smaller.
LINE_BYTES_MAX: Final = 4 * 1024 * 1024

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some editors put it before UTF-8
_REQUIRED: Final = ("report_id", "client_uuid", "slot", "counts")
_OPTIONAL: Final = (
    "total",
    "product",
    "version",
    "edition",
    "deployment_type",
    "instances",
    "validation",
    "usage_kind",
    "sent_at",
    "attempt",
    "dropped_reports",
    "dropped_units",
)
_OWNER: Final = ("project_id", "organization_id")
_KNOWN: Final = frozenset((*_REQUIRED, *_OPTIONAL, *_OWNER))
#: What the attributes of the envelope are called in a plain report.
_PLAIN_NAMES: Final = {
    "id": "report_id",
    "source": "client_uuid",
    "time": "slot",
    "subject": "project_id",
    "organizationid": "organization_id",
}


class ReadEvent(NamedTuple):
    """A record to send, and the line that it came from."""

    key: bytes
    value: bytes
    line_number: int


class ReadProblem(NamedTuple):
    """A line that is no event; the message names every mistake in it, and no content."""

    line_number: int
    message: str


class _NotAnEventError(Exception):
    """Carries the mistakes of one line."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))


def read_lines(file: BinaryIO, *, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[bytes]:
    """Yield the lines of a file without ever holding more than the bound.

    Of a longer line one byte more than the bound is yielded, so that `read_events` says that it is too long.
    """
    while line := file.readline(line_bytes_max + 1):
        rest = line
        while len(rest) > line_bytes_max and not rest.endswith(b"\n"):
            rest = file.readline(line_bytes_max + 1)
        yield line


def read_events(lines: Iterable[bytes], *, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[ReadEvent | ReadProblem]:
    """Yield one event or one problem for every line that is not blank, as the lines come."""
    for number, raw in enumerate(lines, 1):
        line = (raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw).strip()
        if not line:
            continue
        if len(raw.rstrip(b"\r\n")) > line_bytes_max:
            yield ReadProblem(number, f"the line is longer than {line_bytes_max} bytes")
            continue
        try:
            key, value = _read(line)
        except _NotAnEventError as error:
            yield ReadProblem(number, str(error))
        else:
            yield ReadEvent(key.encode(), value, number)


def _read(line: bytes) -> tuple[str, bytes]:
    """Return the organization and the event's bytes."""
    try:
        fields = from_json(line)
    except ValueError as error:
        raise _NotAnEventError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise _NotAnEventError(f"a report is an object, not {type(fields).__name__}")
    if "specversion" in fields:
        return _read_cloud_event(fields, line), line
    return _read_plain(fields)


def _read_cloud_event(fields: dict[str, Any], line: bytes) -> str:
    kind = fields.get("type")
    if kind == CATALOG_TYPE:
        return _read_catalog(line)
    if kind not in (REPORT_TYPE, AUTHORIZATION_TYPE):
        raise _NotAnEventError(f"type: must be {REPORT_TYPE}, {AUTHORIZATION_TYPE} or {CATALOG_TYPE}")
    judge = _contract_mistakes(line, {}) if kind == REPORT_TYPE else _authorization_mistakes(line)
    owner = ("subject", "organizationid")
    mistakes = [*judge, *_owner_missing(fields, *owner), *_owner_mistakes(fields, *owner)]
    data = fields.get("data")
    if isinstance(data, dict):
        mistakes += _total_mistakes(data)
    if mistakes:
        raise _NotAnEventError(*mistakes)
    return _owner(fields, "subject", "organizationid")


def _read_catalog(line: bytes) -> str:
    try:
        event = CatalogEvent.model_validate_json(line)
    except ValidationError as error:
        raise _NotAnEventError(*_sentences(error, {})) from error
    if event.subject != event.data.organization_id:
        raise _NotAnEventError("subject: must be data.organization_id")
    return event.subject


def _authorization_mistakes(line: bytes) -> list[str]:
    try:
        AuthorizationEvent.model_validate_json(line)
    except ValidationError as error:
        return _sentences(error, {})
    return []


def _read_plain(fields: dict[str, Any]) -> tuple[str, bytes]:
    value, mistakes = plain_event(fields)
    mistakes += [*_owner_missing(fields, *_OWNER), *_owner_mistakes(fields, *_OWNER)]
    if mistakes or value is None:
        raise _NotAnEventError(*mistakes)
    return _owner(fields, *_OWNER), value


def plain_event(fields: dict[str, Any]) -> tuple[bytes | None, list[str]]:
    """Return the CloudEvent of a plain report, or None and every mistake in it; whom it names is not judged."""
    missing = [name for name in _REQUIRED if fields.get(name) is None]
    mistakes = [f"{name}: is missing" for name in missing]
    mistakes += [f"{name}: is no field of a report" for name in fields if name not in _KNOWN]
    mistakes += _total_mistakes(fields)
    try:
        value = _wrapped(fields)
    except _NotAnEventError as error:
        return None, [*mistakes, str(error)]
    mistakes += [
        mistake for mistake in _contract_mistakes(value, _PLAIN_NAMES) if mistake.partition(":")[0] not in missing
    ]
    return (None, mistakes) if mistakes else (value, [])


def _wrapped(fields: dict[str, Any]) -> bytes:
    """Put a plain report into an envelope, whatever its fields hold."""
    # The builder wants these well-typed, which is still to be seen.
    unchecked = ("instances", "usage_kind")
    optional: dict[str, Any] = {name: fields.get(name) for name in _OPTIONAL if name not in unchecked}
    event = usage_report(
        report_id=fields.get("report_id", ""),
        client_uuid=fields.get("client_uuid", ""),
        slot=fields.get("slot", ""),
        counts={},
        project_id=fields.get("project_id"),
        organization_id=fields.get("organization_id"),
        **optional,
    )
    data = event["data"]
    data["counts"] = fields.get("counts")
    data |= {name: fields[name] for name in unchecked if fields.get(name) is not None}
    try:
        return encode_event(event)
    except (ValueError, RecursionError) as error:
        raise _NotAnEventError(f"a field holds what an event cannot: {error}") from error


def _contract_mistakes(event: bytes, names: dict[str, str]) -> list[str]:
    try:
        parse_report(event)
    except ValidationError as error:
        return _sentences(error, names)
    except (ValueError, OverflowError, RecursionError) as error:
        return [str(error)]
    return []


def _sentences(error: ValidationError, names: dict[str, str]) -> list[str]:
    """Say where and what; `names` translate the envelope's attributes, and take `data` away."""
    sentences = []
    for mistake in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(part) for part in mistake["loc"]]
        if names and len(path) > 1 and path[0] == "data":
            path = path[1:]
        elif names and path:
            path[0] = names.get(path[0], path[0])
        sentences.append(f"{'.'.join(path) or 'event'}: {mistake['msg'].removeprefix('Value error, ')}")
    return sentences


def _owner(fields: dict[str, Any], project: str, organization: str) -> str:
    project_id = fields.get(project)
    return organization_of(project_id) if isinstance(project_id, str) else str(fields[organization])


def _owner_missing(fields: dict[str, Any], project: str, organization: str) -> list[str]:
    named = fields.get(project) is not None or fields.get(organization) is not None
    return [] if named else [f"{project}: is missing, and so is {organization}"]


def _owner_mistakes(fields: dict[str, Any], project: str, organization: str) -> list[str]:
    project_id, organization_id = fields.get(project), fields.get(organization)
    if not isinstance(project_id, str) or organization_id is None:
        return []
    owner = organization_of(project_id)
    return [] if owner == organization_id else [f"{project}: is not a project of {organization}"]


def _total_mistakes(data: dict[str, Any]) -> list[str]:
    counts, total = data.get("counts"), data.get("total")
    if total is None or not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        return []
    return [] if total == sum(counts.values()) else ["total: is not the sum of counts"]
