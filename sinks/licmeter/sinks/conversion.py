"""From consumed records to Arrow batches, one for each table: pure, and total.

Whatever stands on a topic becomes either a row or an entry of `RowBatch.undecodable`; no record can stop the sink.
What the sink's three topics may hold, and what becomes of it:

- `usage.attributed`: a block becomes its rows. Anything else is undecodable.
- `license.counters`: a state becomes a row. A tombstone is the compaction's and says nothing: it is skipped, and
  counted. Anything else is undecodable.
- `usage.rejected`: always a row. A record without our headers is not ours; it is stored with the reason
  `undecodable` and its own place as its origin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from licmeter.schemas import attribution
from licmeter.schemas.counters import ItemCounters, OrganizationCounters, parse_counters
from licmeter.schemas.topics import LICENSE_COUNTERS, USAGE_ATTRIBUTED, USAGE_REJECTED
from licmeter.sinks.records import Record
from licmeter.sinks.rejected import REJECTED_SCHEMA, REJECTED_TABLE, RejectedRow, rejected_row

__all__ = ["ITEM_TABLE", "ORGANIZATION_TABLE", "ROWS_TABLE", "RowBatch", "Undecodable"]

ROWS_TABLE: Final = "usage_attributed"
ITEM_TABLE: Final = "license_counters"
ORGANIZATION_TABLE: Final = "organization_counters"

_DETAIL_CHARS_MAX: Final = 300
_SLOT_S_MAX: Final = 2**32 - 1  # what ClickHouse's DateTime can hold
_STAMP: Final = pa.timestamp("ms", tz="UTC")

_SOURCE: Final = [
    ("organization_id", pa.string()),
    ("source_partition", pa.uint16()),
    ("applied_offset", pa.uint64()),
    ("updated_at", _STAMP),
]
_ITEM_SCHEMA: Final = pa.schema(
    [
        *_SOURCE,
        ("item_id", pa.string()),
        ("charge_way", pa.string()),
        ("quota", pa.uint64()),
        ("used", pa.uint64()),
        ("in_quota", pa.uint64()),
        ("in_grace", pa.uint64()),
        ("over", pa.uint64()),
        ("percent", pa.decimal128(38, 2)),
        ("state", pa.string()),
        ("in_expiry_grace", pa.bool_()),
    ]
)
_ORGANIZATION_SCHEMA: Final = pa.schema(
    [*_SOURCE, *((name, pa.uint64()) for name in ("charged", "uncharged", "duplicate", "rejected"))]
)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A record that is not what its topic holds, and why."""

    record: Record
    detail: str


class RowBatch:
    """Records gathered for one flush."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self.skipped = 0
        self.undecodable: list[Undecodable] = []
        self._blocks: list[pa.Table] = []
        self._items: list[pa.RecordBatch] = []
        self._organizations: list[pa.RecordBatch] = []
        self._rejected: list[RejectedRow] = []

    def add(self, record: Record) -> None:
        """Take one record of any of the topics; it may be all there ever is, so it must not fail."""
        before = self.rows
        if record.topic == USAGE_REJECTED.name:
            self._rejected.append(rejected_row(record))
            self.rows += 1
        elif record.topic == LICENSE_COUNTERS.name and record.value is None:
            self.skipped += 1
        else:
            try:
                self._add_decoded(record)
            except (ValidationError, ValueError, TypeError, ArithmeticError, OSError, pa.ArrowException) as error:
                self.rows = before
                self.undecodable.append(Undecodable(record, f"{type(error).__name__}: {error}"[:_DETAIL_CHARS_MAX]))
        self.bytes += len(record.value or b"") + len(record.key or b"")

    def _add_decoded(self, record: Record) -> None:
        if record.value is None:
            raise ValueError("a tombstone")
        if record.topic == USAGE_ATTRIBUTED.name:
            block = checked_block(record.value)
            self._blocks.append(block)
            self.rows += block.num_rows
        elif record.topic == LICENSE_COUNTERS.name:
            counters = parse_counters(record.value)
            if isinstance(counters, ItemCounters):
                self._items.append(_item_row(counters))
            else:
                self._organizations.append(_organization_row(counters))
            self.rows += 1
        else:
            raise ValueError(f"the sink knows no topic {record.topic}")

    def tables(self) -> dict[str, pa.RecordBatch]:
        """Return one Arrow batch for each table that gets rows."""
        found = {
            ROWS_TABLE: combine_blocks(self._blocks),
            ITEM_TABLE: _combine(self._items),
            ORGANIZATION_TABLE: _combine(self._organizations),
            REJECTED_TABLE: pa.RecordBatch.from_pylist(list(self._rejected), schema=REJECTED_SCHEMA),
        }
        return {name: batch for name, batch in found.items() if batch is not None and batch.num_rows}


def checked_block(value: bytes) -> pa.Table:
    """Decode a block; raises `ArrowInvalid` also for one whose rows ClickHouse could not hold."""
    block = attribution.decode_block(value)
    block.validate(full=True)  # an index outside its dictionary would read foreign memory
    empty = [name for name in attribution.COLUMNS if block[name].null_count]
    if empty:
        raise pa.ArrowInvalid(f"nulls in {', '.join(empty)}")
    if block.num_rows:
        bounds = pc.min_max(block["slot"].cast(pa.int64()))
        if bounds["min"].as_py() < 0 or bounds["max"].as_py() > _SLOT_S_MAX:
            raise pa.ArrowInvalid("a slot outside of what a table can hold")
    return block


def combine_blocks(blocks: Sequence[pa.Table]) -> pa.RecordBatch | None:
    """Make one batch out of blocks: one insert is one batch, and has one dictionary for each column."""
    if not blocks:
        return None
    table = pa.concat_tables(blocks).unify_dictionaries().combine_chunks()
    batches = table.to_batches()
    assert len(batches) <= 1
    return batches[0] if batches else None


def _combine(rows: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    return pa.concat_batches(rows) if rows else None


def _row(schema: pa.Schema, values: Mapping[str, object]) -> pa.RecordBatch:
    """Build one row at once, so that what a column cannot hold fails with its record."""
    return pa.RecordBatch.from_pylist([values], schema=schema)


def _item_row(counters: ItemCounters) -> pa.RecordBatch:
    percent = None if counters.percent is None else Decimal(counters.percent)
    return _row(_ITEM_SCHEMA, {**counters.model_dump(mode="python"), "percent": percent})


def _organization_row(counters: OrganizationCounters) -> pa.RecordBatch:
    return _row(_ORGANIZATION_SCHEMA, counters.model_dump(mode="python"))
