"""Reads reports from JSON lines: CloudEvents as they stand, or plain reports in the domain's words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from licmeter.schemas.reports import Instant, encode_event, organization_of, parse_report, usage_report

__all__ = ["LINE_BYTES_MAX", "EventLine", "LineProblem", "read_lines"]

#: A line that is longer is no report (`metering.limits` takes 64 KiB); it is not read into memory as a whole.
LINE_BYTES_MAX: Final = 1024 * 1024

_INSTANT: Final = TypeAdapter[datetime](Instant)
_REQUIRED: Final = ("report_id", "client_uuid", "slot", "counts")
_FIELDS: Final = frozenset(
    {*_REQUIRED, "project_id", "organization_id", "total", "product", "version", "edition", "deployment_type"}
    | {"instances", "validation", "usage_kind", "sent_at", "attempt"}
)


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event that is ready to be sent; the key is its organization."""

    line_number: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A line that is no report; `message` says all that is wrong with it."""

    line_number: int
    message: str


def read_lines(lines: Iterable[bytes]) -> Iterator[EventLine | LineProblem]:
    """Read lines one by one; blank ones are skipped, no other is passed over in silence."""
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if not text:
            continue
        try:
            key, value = _read(text)
        except ValidationError as error:
            yield LineProblem(number, "; ".join(_mistake(each) for each in error.errors(include_url=False)))
        except ValueError as error:
            yield LineProblem(number, str(error))
        else:
            yield EventLine(number, key, value)


def _read(text: bytes) -> tuple[bytes, bytes]:
    if len(text) > LINE_BYTES_MAX:
        raise ValueError(f"the line has {len(text)} bytes; a report has at most {LINE_BYTES_MAX}")
    document = from_json(text)
    if not isinstance(document, dict):
        raise ValueError(f"a report is a JSON object, not {type(document).__name__}")
    value = text if "specversion" in document else encode_event(_wrap(document))
    event = parse_report(value)
    project, organization = event.get("subject"), event.get("organizationid")
    owner = organization_of(project) if project is not None else organization
    if owner is None:
        raise ValueError("neither a project nor an organization is named")
    if organization is not None and owner != organization:
        raise ValueError(f"project {project} is not of organization {organization}")
    return owner.encode(), value


def _wrap(report: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in _REQUIRED if name not in report]
    unknown = sorted(set(report) - _FIELDS)
    if missing or unknown:
        problems = [
            *(f"{name} is missing" for name in missing),
            *(f"{name} is not a field of a report" for name in unknown),
        ]
        raise ValueError("; ".join(problems))
    if not isinstance(report["counts"], dict):
        raise ValueError("counts: a map from feature to number is wanted")
    fields = dict(report)
    fields["slot"] = _INSTANT.validate_python(fields["slot"])
    kind = fields.pop("usage_kind", None)
    event = usage_report(**fields)
    if kind is not None:
        event["data"]["usage_kind"] = kind
    return event


def _mistake(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path}: {error['msg']}" if path else str(error["msg"])
