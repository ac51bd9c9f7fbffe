"""`license.counters`: the state of an item or of an organization, as a row."""

from typing import Final

import pyarrow as pa

from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.sinks.rows import INSTANT, PERCENT, Row, RowTable

__all__ = ["ITEM_TABLE", "ORGANIZATION_TABLE", "counters_row"]

_SOURCE: Final = [
    ("organization_id", pa.string()),
    ("source_partition", pa.uint16()),
    ("applied_offset", pa.uint64()),
    ("updated_at", INSTANT),
]
_TALLIES: Final = ("charged", "uncharged", "duplicate", "rejected", "granted", "refused", "notices_withheld")

ITEM_TABLE: Final = RowTable(
    "license_counters",
    [
        *_SOURCE,
        ("item_id", pa.string()),
        ("charge_way", pa.string()),
        ("quota", pa.uint64()),
        ("used", pa.uint64()),
        ("in_quota", pa.uint64()),
        ("in_grace", pa.uint64()),
        ("over", pa.uint64()),
        ("attributed", pa.uint64()),
        ("active", pa.uint64()),
        ("consumed", pa.uint64()),
        ("budget", pa.uint64()),
        ("budget_year", pa.uint32()),
        ("percent", PERCENT),
        ("state", pa.string()),
        ("in_expiry_grace", pa.bool_()),
    ],
)
ORGANIZATION_TABLE: Final = RowTable("organization_counters", [*_SOURCE, *((name, pa.uint64()) for name in _TALLIES)])


def counters_row(value: bytes) -> tuple[RowTable, Row]:
    """Return the table and the row of one record's value; raises for anything else than counters."""
    counters = parse_counters(value)
    table = ITEM_TABLE if isinstance(counters, ItemCounters) else ORGANIZATION_TABLE
    return table, table.row(counters.model_dump(mode="python"))
