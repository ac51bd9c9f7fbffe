"""`license.alerts`: a breach or a usage alert, as a row of its own table.

An alert is one row with all of its conditions: a repeat may hold fewer of them, and the whole must stay one.
"""

from typing import Any, Final

import pyarrow as pa

from licmeter.schemas.alerts import Breach, Condition, parse_alert
from licmeter.sinks.rows import INSTANT, PERCENT, SECONDS, Row, RowTable

__all__ = ["ALERTS_TABLE", "BREACHES_TABLE", "alert_row"]

BREACHES_TABLE: Final = RowTable(
    "breaches",
    [
        ("organization_id", pa.string()),
        ("kind", pa.string()),
        ("breach_id", pa.string()),
        ("project_id", pa.string()),
        ("item_id", pa.string()),
        ("client_uuid", pa.string()),
        ("slot", SECONDS),
        ("quota", pa.uint64()),
        ("limit", pa.uint64()),
        ("value", pa.uint64()),
        ("percent", PERCENT),
        ("late", pa.bool_()),
        ("at", INSTANT),
        ("detail", pa.string()),
    ],
)
_CONDITION: Final[dict[str, pa.DataType]] = {
    "scope": pa.string(),
    "item_id": pa.string(),
    "project_id": pa.string(),
    "project_ids": pa.list_(pa.string()),
    "charge_way": pa.string(),
    "metric": pa.string(),
    "value": pa.uint64(),
    "quota": pa.uint64(),
    "percent": PERCENT,
    "level": pa.uint16(),
    "crossed": pa.list_(pa.uint16()),
    "state": pa.string(),
    "window_minutes": pa.uint32(),
    "top_codes": pa.map_(pa.string(), pa.uint32()),
}
ALERTS_TABLE: Final = RowTable(
    "usage_alerts",
    [
        ("organization_id", pa.string()),
        ("checked_at", SECONDS),
        ("alert_id", pa.string()),
        # A Nested column is one column of arrays for each field, all of one length.
        *((f"conditions.{name}", pa.list_(kind)) for name, kind in _CONDITION.items()),
    ],
)
#: What stands for a field that a condition does not have, where neither null nor "" does.
_ABSENT: Final[dict[str, object]] = {"project_ids": (), "window_minutes": 0, "top_codes": {}}


def alert_row(value: bytes) -> tuple[RowTable, Row]:
    """Return the table and the row of one record's value; raises for anything else than a breach or an alert."""
    message = parse_alert(value)
    values = message.model_dump(mode="python")
    if isinstance(message, Breach):
        return BREACHES_TABLE, BREACHES_TABLE.row(values)
    conditions = [_condition(condition) for condition in message.conditions]
    columns = {f"conditions.{name}": [condition[name] for condition in conditions] for name in _CONDITION}
    return ALERTS_TABLE, ALERTS_TABLE.row(values | columns)


def _condition(condition: Condition) -> dict[str, Any]:
    values = condition.model_dump(mode="python")
    return {name: _ABSENT.get(name) if values[name] is None else values[name] for name in _CONDITION}
