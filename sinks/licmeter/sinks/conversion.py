"""From consumed records to Arrow batches, one for each table: pure, and total.

Whatever stands on a topic becomes either rows or an entry of `RowBatch.undecodable`; no record can stop the sink.
What the sink's topics may hold, and what becomes of it:

- `usage.attributed`: a block becomes its rows. Anything else is undecodable.
- `license.counters`: a state becomes a row. A tombstone is the compaction's and says nothing: it is skipped, and
  counted. Anything else is undecodable.
- `license.alerts`: a breach or a usage alert becomes a row. Anything else is undecodable.
- `license.catalog`: a document becomes a row. A tombstone is skipped, and counted. Anything else is undecodable.
- `usage.rejected`: always a row. A record without our headers is not ours; it is stored with the reason
  `undecodable` and its own place as its origin.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from pydantic import ValidationError

from licmeter.schemas.topics import (
    LICENSE_ALERTS,
    LICENSE_CATALOG,
    LICENSE_COUNTERS,
    USAGE_ATTRIBUTED,
    USAGE_REJECTED,
)
from licmeter.sinks.alert_rows import alert_row
from licmeter.sinks.blocks import checked_block, combine_blocks
from licmeter.sinks.catalogs import CATALOGS_TABLE, catalog_row
from licmeter.sinks.counters import counters_row
from licmeter.sinks.records import Record
from licmeter.sinks.rejected import REJECTED_SCHEMA, REJECTED_TABLE, RejectedRow, rejected_row
from licmeter.sinks.rows import Row, RowTable

__all__ = ["RowBatch", "Undecodable"]

_DETAIL_CHARS_MAX: Final = 300
#: Topics on which a tombstone is nothing to store.
_COMPACTED: Final = frozenset({LICENSE_COUNTERS.name, LICENSE_CATALOG.name})

#: Topics of which a record is one row: how it is made, and for which table.
_ROW_MAKERS: Final[Mapping[str, Callable[[bytes], tuple[RowTable, Row]]]] = MappingProxyType(
    {LICENSE_COUNTERS.name: counters_row, LICENSE_ALERTS.name: alert_row}
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
        self._blocks: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._rows: defaultdict[RowTable, list[Row]] = defaultdict(list)
        self._rejected: list[RejectedRow] = []

    def add(self, record: Record) -> None:
        """Take one record of any of the topics; it may be all there ever is, so it must not fail."""
        if record.topic == USAGE_REJECTED.name:
            self._rejected.append(rejected_row(record))
            self.rows += 1
        elif record.topic in _COMPACTED and record.value is None:
            self.skipped += 1
        else:
            try:
                self._add_decoded(record)
            except (ValidationError, ValueError, TypeError, ArithmeticError, OSError, pa.ArrowException) as error:
                self.undecodable.append(Undecodable(record, f"{type(error).__name__}: {error}"[:_DETAIL_CHARS_MAX]))
        self.bytes += len(record.value or b"") + len(record.key or b"")

    def _add_decoded(self, record: Record) -> None:
        if record.value is None:
            raise ValueError("a tombstone")
        if record.topic == USAGE_ATTRIBUTED.name:
            name, block = checked_block(record.key, record.value)
            self._blocks[name].append(block)
            self.rows += block.num_rows
        elif record.topic == LICENSE_CATALOG.name:
            self._rows[CATALOGS_TABLE].append(catalog_row(record.value, record.offset))
            self.rows += 1
        elif record.topic in _ROW_MAKERS:
            table, row = _ROW_MAKERS[record.topic](record.value)
            self._rows[table].append(row)
            self.rows += 1
        else:
            raise ValueError(f"the sink knows no topic {record.topic}")

    def tables(self) -> dict[str, pa.RecordBatch]:
        """Return one Arrow batch for each table that gets rows."""
        found = {
            **{name: combine_blocks(blocks) for name, blocks in self._blocks.items()},
            **{table.name: table.batch(rows) for table, rows in self._rows.items()},
            REJECTED_TABLE: pa.RecordBatch.from_pylist(list(self._rejected), schema=REJECTED_SCHEMA),
        }
        return {name: batch for name, batch in found.items() if batch is not None and batch.num_rows}
