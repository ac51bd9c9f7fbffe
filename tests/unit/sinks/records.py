"""Records and rows to build tests from."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from licmeter.schemas.alerts import Breach, Condition, UsageAlert, alert_event
from licmeter.schemas.attribution import SCHEMA, encode_blocks
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA, AUTHORIZATIONS_KEY
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import BreachKind, ChargeWay, ItemState
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_COUNTERS, USAGE_ATTRIBUTED

SLOT = dt.datetime(2031, 3, 8, 14, 12, tzinfo=dt.UTC)
RECEIVED = dt.datetime(2031, 3, 8, 14, 15, 0, 123_000, tzinfo=dt.UTC)


@dataclass(frozen=True)
class FakeRecord:
    value: bytes | None
    topic: str = USAGE_ATTRIBUTED.name
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_930_000_000_000
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def attribution_row(**changes: Any) -> dict[str, Any]:
    row = {
        "organization_id": "acme",
        "project_id": "acme-web",
        "item_id": "L1-1",
        "client_uuid": "c1",
        "report_id": "r1",
        "slot": SLOT,
        "feature": "qr",
        "outcome": "charged",
        "usage_kind": "use",
        "quantity": 6,
        "in_quota": 3,
        "in_grace": 2,
        "over": 1,
        "tier": "over",
        "exceptions": 5,
        "instances": 4,
        "late": True,
        "in_expiry_grace": False,
        "received_at": RECEIVED,
        "source_partition": 3,
        "source_offset": 2**53 + 1,
        "line": 7,
    }
    return row | changes


def authorization_row(**changes: Any) -> dict[str, Any]:
    row = {
        "organization_id": "acme",
        "project_id": "acme-web",
        "item_id": "",
        "client_uuid": "c1",
        "auth_id": "a1",
        "at": RECEIVED - dt.timedelta(seconds=2),
        "outcome": "refused",
        "code": "limit_exceeded",
        "code_number": 120,
        "agrees": False,
        "charge_way": "auto",
        "feature": "qr",
        "product": "reader",
        "version": "9",
        "edition": "pro",
        "deployment_type": "browser",
        "requested_instances": 2,
        "local_expires_at": dt.datetime(9999, 12, 31, tzinfo=dt.UTC),  # as an authorizer may have recorded it
        "received_at": RECEIVED,
        "source_partition": 3,
        "source_offset": 2**53 + 2,
    }
    return row | changes


def columns(rows: Sequence[dict[str, Any]], schema: pa.Schema = SCHEMA) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in schema.names]


def attribution_blocks(rows: Sequence[dict[str, Any]]) -> list[FakeRecord]:
    return [FakeRecord(block) for block in encode_blocks(columns(rows))]


def authorization_blocks(rows: Sequence[dict[str, Any]]) -> list[FakeRecord]:
    encoded = encode_blocks(columns(rows, AUTHORIZATION_SCHEMA), AUTHORIZATION_SCHEMA)
    return [FakeRecord(block, key=AUTHORIZATIONS_KEY) for block in encoded]


def item_counters(**changes: Any) -> ItemCounters:
    values = {
        "organization_id": "acme",
        "source_partition": 3,
        "applied_offset": 12,
        "updated_at": RECEIVED,
        "item_id": "L1-1",
        "charge_way": ChargeWay.PER_SCAN,
        "quota": 1000,
        "used": 999,
        "in_quota": 900,
        "in_grace": 90,
        "over": 9,
        "attributed": 1001,
        "active": 7,
        "consumed": 11,
        "budget": 4000,
        "budget_year": 2,
        "percent": "99.90",
        "state": ItemState.GRACE,
        "in_expiry_grace": True,
    }
    return ItemCounters.model_validate(values | changes)


def organization_counters(**changes: Any) -> OrganizationCounters:
    values = {
        "organization_id": "acme",
        "source_partition": 1,
        "applied_offset": 0,
        "updated_at": RECEIVED,
        "charged": 1,
        "uncharged": 2,
        "duplicate": 3,
        "rejected": 4,
        "granted": 5,
        "refused": 6,
        "notices_withheld": 7,
    }
    return OrganizationCounters.model_validate(values | changes)


def counters_record(counters: ItemCounters | OrganizationCounters) -> FakeRecord:
    return FakeRecord(counters.model_dump_json().encode(), topic=LICENSE_COUNTERS.name, key=counters.key)


def breach(**changes: Any) -> Breach:
    values = {
        "breach_id": "0123456789abcdef" * 2,
        "kind": BreachKind.QUOTA_REACHED,
        "organization_id": "acme",
        "project_id": "acme-web",
        "item_id": "L1-1",
        "client_uuid": "c1",
        "slot": SLOT,
        "quota": 1000,
        "limit": 1050,
        "value": 2**53 + 1,
        "percent": "105.00",
        "late": True,
        "at": RECEIVED,
        "detail": "why",
    }
    return Breach.model_validate(values | changes)


def item_condition(**changes: Any) -> Condition:
    values = {
        "scope": "item",
        "item_id": "L1-1",
        "project_ids": ["acme-web", "acme-kiosk"],
        "charge_way": ChargeWay.PER_PAGE,
        "metric": "used",
        "value": 1610,
        "quota": 2000,
        "percent": "80.50",
        "level": 80,
        "crossed": [60, 80],
        "state": ItemState.ACTIVE,
    }
    return Condition.model_validate(values | changes)


def project_condition(**changes: Any) -> Condition:
    values = {
        "scope": "project",
        "project_id": "acme-web",
        "metric": "auth_failed_ratio",
        "value": 9,
        "quota": 40,
        "percent": "22.50",
        "level": 20,
        "crossed": [10, 20],
        "window_minutes": 60,
        "top_codes": {"120": 7, "111": 2},
    }
    return Condition.model_validate(values | changes)


def usage_alert(*conditions: Condition, **changes: Any) -> UsageAlert:
    values = {
        "alert_id": "fedcba9876543210" * 2,
        "organization_id": "acme",
        "checked_at": dt.datetime(2031, 3, 8, 10, 20, tzinfo=dt.UTC),
        "conditions": conditions or (item_condition(), project_condition()),
        "recipients": {"to": ["ops@example.org"]},
    }
    return UsageAlert.model_validate(values | changes)


def alert_record(message: Breach | UsageAlert) -> FakeRecord:
    value = encode_event(alert_event(message))
    return FakeRecord(value, topic=LICENSE_ALERTS.name, key=message.organization_id.encode())
