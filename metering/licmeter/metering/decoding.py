"""From the bytes of a record to an event, or to the reason why it is none; needs no state.

The good report goes the fast way, `report_decoding`. What that leaves is judged by the contract, and only what
fails there, too, is looked at more closely.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from licmeter.metering.acceptance import check_report
from licmeter.metering.auth_decoding import first_error, key_mismatch, to_authorization
from licmeter.metering.authorization import Authorization
from licmeter.metering.catalog_checks import catalog_mistakes
from licmeter.metering.limits import Limits
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.metering.report_decoding import decode_good_report, epoch_of, millis_of
from licmeter.metering.slots import is_late
from licmeter.schemas.authorizations import AUTHORIZATION_TYPE
from licmeter.schemas.catalog import CATALOG_TYPE, CatalogEvent, Organization
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.reports import REPORT_TYPE, UsageReportEvent, parse_report

__all__ = ["CatalogChange", "Event", "decode", "decode_by_contract", "key_organization"]


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """A new document for the organization that the record's key names."""

    document: Organization


Event = Report | Authorization | CatalogChange | Refused

_KNOWN_TYPES: Final = frozenset({REPORT_TYPE, AUTHORIZATION_TYPE, CATALOG_TYPE})


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
    if value and len(value) <= limits.report_bytes_max:
        report = decode_good_report(key, value, received_ms, limits)
        if report is not None:
            return report
    return decode_by_contract(key, value, received_ms, limits)


def decode_by_contract(key: bytes | None, value: bytes | None, received_ms: int, limits: Limits) -> Event:
    """Decode a record as `decode` does, without the fast way: the same event for any record, only slower."""
    if value is None:
        return Refused(RejectReason.TOMBSTONE, "the record has no value")
    if not value:
        return Refused(RejectReason.EMPTY_RECORD, "the value has no bytes")
    if len(value) > limits.report_bytes_max:
        return _decode_large(key, value, received_ms, limits)
    try:
        event = parse_report(value)
    except ValidationError as error:
        return _decode_other(key, value, received_ms, limits, error)
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
    if mismatch := key_mismatch(organization_id, project_id, named):
        return mismatch
    sent_at, validation = data.get("sent_at"), data.get("validation")
    try:
        slot_s, fraction_us = epoch_of(event["time"])
        sent_ms = None if sent_at is None else millis_of(epoch_of(sent_at))
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
        total,
        fraction_us,
    )
    refusal = check_report(report, limits)
    return report if refusal is None else _refused(report, refusal)


def _refused(report: Report, refusal: tuple[RejectReason, str]) -> Refused:
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    return Refused(*refusal, report.client_uuid, report.project_id, late)


def _decode_large(key: bytes | None, value: bytes, received_ms: int, limits: Limits) -> Event:
    """Only a catalog may be larger than a report, and it has a bound too."""
    too_large = Refused(RejectReason.PAYLOAD_TOO_LARGE, f"{len(value)} bytes; a report has {limits.report_bytes_max}")
    if len(value) > limits.catalog_bytes_max:
        return too_large
    event = _decode_other(key, value, received_ms, limits, None)
    return event if isinstance(event, CatalogChange) else too_large


def _decode_other(
    key: bytes | None, value: bytes, received_ms: int, limits: Limits, report_error: ValidationError | None
) -> Event:
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
    if kind == AUTHORIZATION_TYPE and len(value) <= limits.report_bytes_max:
        organization_id = key_organization(key)
        if organization_id is None:
            return Refused(RejectReason.MISSING_KEY, "the record's key must be the organization id")
        return to_authorization(organization_id, value, received_ms, limits)
    return Refused(RejectReason.INVALID_SCHEMA, "no type" if report_error is None else first_error(report_error))


def _to_catalog(key: bytes | None, value: bytes) -> CatalogChange | Refused:
    organization_id = key_organization(key)
    if organization_id is None:
        return Refused(RejectReason.MISSING_KEY, "the record's key must be the organization id")
    try:
        event = CatalogEvent.model_validate_json(value)
    except ValidationError as error:
        return Refused(RejectReason.INVALID_SCHEMA, first_error(error))
    document = event.data
    if event.subject != document.organization_id:
        return Refused(RejectReason.INVALID_SCHEMA, "subject is not data.organization_id")
    if mistakes := catalog_mistakes(document):
        return Refused(RejectReason.INVALID_SCHEMA, "; ".join(mistakes))
    return key_mismatch(organization_id, None, document.organization_id) or CatalogChange(document)
