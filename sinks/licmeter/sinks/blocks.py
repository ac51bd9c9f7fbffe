"""`usage.attributed`: blocks of rows, of reports, authorizations or seats; the record's key tells which.

A block is one record, so it is taken whole or not at all.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from licmeter.schemas.attribution import SCHEMA, decode_block
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA, AUTHORIZATIONS_KEY
from licmeter.schemas.seat_rows import SEAT_SCHEMA, SEATS_KEY
from licmeter.sinks.rows import SECONDS, SECONDS_MAX

__all__ = ["AUTHORIZATIONS_TABLE", "ROWS_TABLE", "SEATS_TABLE", "checked_block", "combine_blocks"]

ROWS_TABLE: Final = "usage_attributed"
AUTHORIZATIONS_TABLE: Final = "authorizations"
SEATS_TABLE: Final = "seats"


def checked_block(key: bytes | None, value: bytes) -> tuple[str, pa.Table]:
    """Decode a block, and name its table; raises `ArrowInvalid` also for one whose rows ClickHouse could not hold."""
    if key == AUTHORIZATIONS_KEY:
        return AUTHORIZATIONS_TABLE, _checked(value, AUTHORIZATION_SCHEMA, "at")
    if key == SEATS_KEY:
        return SEATS_TABLE, _checked(value, SEAT_SCHEMA, "first_at")
    return ROWS_TABLE, _checked(value, SCHEMA, "slot")


def _checked(value: bytes, schema: pa.Schema, clock: str) -> pa.Table:
    """Decode a block of a schema; `clock` is the column that decides about a row's partition and end."""
    block = decode_block(value, schema)
    block.validate(full=True)  # an index outside its dictionary would read foreign memory
    empty = [name for name in schema.names if block[name].null_count]
    if empty:
        raise pa.ArrowInvalid(f"nulls in {', '.join(empty)}")
    if block.num_rows:
        per_second = 1 if schema.field(clock).type == SECONDS else 1000
        bounds = pc.min_max(block[clock].cast(pa.int64()))
        if bounds["min"].as_py() < 0 or bounds["max"].as_py() // per_second > SECONDS_MAX:
            raise pa.ArrowInvalid(f"{clock} is outside of what a table can hold")
    return block


def combine_blocks(blocks: Sequence[pa.Table]) -> pa.RecordBatch | None:
    """Make one batch out of blocks of one table: one insert is one batch, and has one dictionary for each column."""
    table = pa.concat_tables(blocks).unify_dictionaries().combine_chunks()
    batches = table.to_batches()
    assert len(batches) <= 1
    return batches[0] if batches else None
