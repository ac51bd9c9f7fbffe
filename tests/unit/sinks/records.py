"""Records and rows to build tests from."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from licmeter.schemas.attribution import COLUMNS
from licmeter.schemas.topics import USAGE_ATTRIBUTED

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
        "instances": 4,
        "late": True,
        "in_expiry_grace": False,
        "received_at": RECEIVED,
        "source_partition": 3,
        "source_offset": 2**53 + 1,
        "line": 7,
    }
    return row | changes


def columns(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in COLUMNS]
