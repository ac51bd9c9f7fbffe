"""Builders of catalogs, reports and records, with defaults that make them valid."""

from datetime import UTC, datetime, timedelta
from typing import Any

from licmeter.schemas.catalog import Organization, catalog_event
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.stream.batch import InputRecord

ORGANIZATION = "300417"
PROJECT = f"{ORGANIZATION}-kiosk"
SLOT = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
#: When records arrive unless a test says otherwise: a minute into the slot.
RECEIVED = SLOT + timedelta(minutes=1)


def ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def item(item_id: str = "41", **changes: Any) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "charge_way": "per_scan",
        "quota": 2_000,
        "starts_at": "2031-01-01T00:00:00Z",
        "expires_at": "2032-01-01T00:00:00Z",
    } | changes


def organization(
    *items: dict[str, Any],
    organization_id: str = ORGANIZATION,
    project: dict[str, Any] | None = None,
    projects: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Organization:
    """One license file with the items, and one project with all of them unless `projects` says otherwise."""
    item_ids = [entry["item_id"] for entry in items]
    default = {"project_id": f"{organization_id}-kiosk", "item_ids": item_ids} | (project or {})
    document = {
        "organization_id": organization_id,
        "license_files": [{"license_id": "L1", "items": list(items)}] if items else [],
        "projects": projects if projects is not None else [default],
        "default_project_id": f"{organization_id}-kiosk",
    } | changes
    return Organization.model_validate(document)


def report(report_id: str = "r1", **changes: Any) -> dict[str, Any]:
    fields = {"client_uuid": "device-1", "slot": SLOT, "counts": {"qr": 1}, "project_id": PROJECT} | changes
    return usage_report(report_id=report_id, **fields)


def record(
    event: dict[str, Any] | bytes | None,
    offset: int = 0,
    *,
    key: bytes | None = ORGANIZATION.encode(),
    received: datetime = RECEIVED,
) -> InputRecord:
    value = event if event is None or isinstance(event, bytes) else encode_event(event)
    return InputRecord(offset, ms(received), key, value)


def catalog_record(document: Organization, offset: int = 0, *, received: datetime = RECEIVED) -> InputRecord:
    event = catalog_event(document, event_id=f"c{offset}", source="test", time=received)
    return record(event, offset, key=document.organization_id.encode(), received=received)
