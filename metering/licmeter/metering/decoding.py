"""From the bytes of a record to an event, or to the reason why it is none; needs no state.

The good report is validated once, by the contract. Only what fails is looked at more closely.
"""

from dataclasses import dataclass
from datetime import datetime
from math import floor
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from licmeter.metering.acceptance import check_report
from licmeter.metering.limits import Limits
from licmeter.metering.report import Report
from licmeter.schemas.catalog import CATALOG_TYPE, CatalogEvent, Organization
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.reports import REPORT_TYPE, UsageReportEvent, organization_of, parse_report

__all__ = ["CatalogChange", "Event", "Refused", "decode", "key_organization"]


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is no acceptable event."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """A new document for the organization that the record's key names."""

    document: Organization


Event = Report | CatalogChange | Refused

_KNOWN_TYPES: Final = frozenset({REPORT_TYPE, CATALOG_TYPE})


def key_organization(key: bytes | None) -> str | None:
    """Return the organization that a record's key names, or None when it names none."""
    if not key:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def decode(key: bytes | None, value: bytes | None, received_ms: int, limits: Limits) -> Event:
    """Decode a record and run the checks that need no state, up to number 7 (domain, section 5)."""
    if value is None:
        return Refused(RejectReason.TOMBSTONE, "the record has no value")
    if not value:
        return Refused(RejectReason.EMPTY_RECORD, "the value has no bytes")
    if len(value) > limits.report_bytes_max:
        return _decode_large(key, value, limits)
    try:
        event = parse_report(value)
    except ValidationError as error:
        return _decode_other(key, value, error)
    except (ValueError, OverflowError, RecursionError) as error:
        return Refused(RejectReason.INVALID_SCHEMA, str(error))
    return _to_report(key, event, received_ms, limits)


def _to_report(key: bytes | None, event: UsageReportEvent, received_ms: int, limits: Limits) -> Report | Refused:
    organization_id = key_organization(key)
    if organization_id is None:
        return Refused(RejectReason.MISSING_KEY, "the record's key must be the organization id")
    data = event["data"]
    counts = data["counts"]
    project_id, named = event.get("subject"), event.get("organizationid")
    if project_id is None and named is None:
        return Refused(RejectReason.INVALID_SCHEMA, "neither subject (project) nor organizationid is given")
    total = data.get("total")
    if total is not None and total != sum(counts.values()):
        return Refused(RejectReason.INVALID_SCHEMA, "data.total is not the sum of data.counts")
    if mismatch := _key_mismatch(organization_id, project_id, named):
        return mismatch
    sent_at, validation = data.get("sent_at"), data.get("validation")
    try:
        slot_s, fraction_us = _epoch(event["time"])
        sent_ms = None if sent_at is None else _epoch(sent_at)[0] * 1000
    except OverflowError:
        return Refused(RejectReason.INVALID_SCHEMA, "an instant is outside the years 1 to 9999")
    # By position: naming sixteen fields costs more than checking them.
    get: Any = data.get
    report = Report(
        organization_id,
        project_id,
        event["source"],
        event["id"],
        slot_s,
        received_ms,
        counts,
        get("product"),
        get("version"),
        get("edition"),
        get("deployment_type"),
        get("instances"),
        None if validation is None else (validation["kind"], validation["value"]),
        get("usage_kind") or "use",
        sent_ms,
        fraction_us,
    )
    refusal = check_report(report, limits)
    return report if refusal is None else Refused(*refusal)


def _epoch(instant: datetime) -> tuple[int, int]:
    """Return whole seconds since 1970 and the microseconds beyond.

    A float tells microseconds apart within the years that a datetime has, so its floor is exact.
    """
    return floor(instant.timestamp()), instant.microsecond


def _key_mismatch(organization_id: str, project_id: str | None, named: str | None) -> Refused | None:
    if project_id is not None and organization_of(project_id) != organization_id:
        owner = organization_of(project_id)
    elif named is not None and named != organization_id:
        owner = named
    else:
        return None
    return Refused(RejectReason.KEY_MISMATCH, f"the event is of organization {owner}, the key says {organization_id}")


def _decode_large(key: bytes | None, value: bytes, limits: Limits) -> Event:
    """Only a catalog may be larger than a report, and it has a bound too."""
    too_large = Refused(RejectReason.PAYLOAD_TOO_LARGE, f"{len(value)} bytes; a report has {limits.report_bytes_max}")
    if len(value) > limits.catalog_bytes_max:
        return too_large
    event = _decode_other(key, value, None)
    return event if isinstance(event, CatalogChange) else too_large


def _decode_other(key: bytes | None, value: bytes, report_error: ValidationError | None) -> Event:
    """Look closer at what is no report: a catalog change, another type, or broken."""
    try:
        event = from_json(value)  # the same parser as the contract's, so that both agree on what JSON is
    except ValueError as error:
        return Refused(RejectReason.NOT_JSON, str(error))
    if not isinstance(event, dict):
        return Refused(RejectReason.INVALID_SCHEMA, f"a CloudEvent is an object, not {type(event).__name__}")
    kind = event.get("type")
    if isinstance(kind, str) and kind not in _KNOWN_TYPES:
        return Refused(RejectReason.UNKNOWN_EVENT_TYPE, f"type {kind}")
    if kind == CATALOG_TYPE:
        return _to_catalog(key, value)
    return Refused(RejectReason.INVALID_SCHEMA, "no type" if report_error is None else _first_error(report_error))


def _to_catalog(key: bytes | None, value: bytes) -> CatalogChange | Refused:
    organization_id = key_organization(key)
    if organization_id is None:
        return Refused(RejectReason.MISSING_KEY, "the record's key must be the organization id")
    try:
        event = CatalogEvent.model_validate_json(value)
    except ValidationError as error:
        return Refused(RejectReason.INVALID_SCHEMA, _first_error(error))
    document = event.data
    if event.subject != document.organization_id:
        return Refused(RejectReason.INVALID_SCHEMA, "subject is not data.organization_id")
    return _key_mismatch(organization_id, None, document.organization_id) or CatalogChange(document)


def _first_error(error: ValidationError) -> str:
    """Say where and what, but not the value: it may be anything (domain, section 2: no content)."""
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'event'}: {first['msg']}"
