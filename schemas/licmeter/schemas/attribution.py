"""`usage.attributed`: blocks of attribution rows, one Arrow IPC stream per Kafka record.

A row says what one feature of one report was charged to. Its identity is `(source_partition, source_offset,
line)`; the same event always gives the same rows, whatever batch it came in. Every report that was not rejected
has a row with line 0, so counting those counts reports.

This module needs pyarrow, which the bare package does not install.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

__all__ = ["BLOCK_ROWS_MAX", "COLUMNS", "SCHEMA", "decode_block", "encode_blocks"]

_WORD = pa.dictionary(pa.int32(), pa.string())

SCHEMA: Final = pa.schema(
    [
        ("organization_id", _WORD),
        ("project_id", _WORD),
        ("item_id", _WORD),  # "" = charged to nothing
        ("client_uuid", pa.string()),
        ("report_id", pa.string()),
        ("slot", pa.timestamp("s", tz="UTC")),  # start of the slot
        ("feature", _WORD),  # "" = a report that names none, or a duplicate
        ("outcome", _WORD),  # of the whole report: charged, uncharged, duplicate
        ("usage_kind", _WORD),
        ("quantity", pa.uint64()),  # = in_quota + in_grace + over when charged to a cumulative item
        ("in_quota", pa.uint64()),
        ("in_grace", pa.uint64()),
        ("over", pa.uint64()),
        ("tier", _WORD),  # in which pass an item took it: quota, grace, over; "" = nothing took it
        ("exceptions", pa.uint32()),  # what the line added to the exceptions of its slot
        ("instances", pa.uint32()),
        ("late", pa.bool_()),
        ("in_expiry_grace", pa.bool_()),
        ("received_at", pa.timestamp("ms", tz="UTC")),
        ("source_partition", pa.uint16()),
        ("source_offset", pa.uint64()),
        ("line", pa.uint16()),
    ]
)
COLUMNS: Final = tuple(SCHEMA.names)
#: Rows in one record: about 100 bytes a row, so a block stays far below `topics.BLOCK_BYTES_MAX`
#: even when every client and report id has its full length.
BLOCK_ROWS_MAX: Final = 8_000

# Threads help blocks of thousands of rows a little, and cost small ones several times what they take without.
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ_OPTIONS: Final = pa.ipc.IpcReadOptions(use_threads=False)


def encode_blocks(columns: Sequence[Sequence[object]], schema: pa.Schema = SCHEMA) -> Iterator[bytes]:
    """Encode columns of equal length, in the order of the schema, as blocks of at most `BLOCK_ROWS_MAX` rows."""
    arrays = [
        pa.array(values, field.type.value_type).dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else pa.array(values, field.type)
        for values, field in zip(columns, schema, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    for start in range(0, batch.num_rows, BLOCK_ROWS_MAX):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema, options=_OPTIONS) as writer:
            writer.write_batch(batch.slice(start, BLOCK_ROWS_MAX))
        yield sink.getvalue().to_pybytes()


def decode_block(block: bytes, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Decode one record's value; raises `pyarrow.ArrowInvalid` for anything that is not a block of the schema."""
    table = pa.ipc.open_stream(block, options=_READ_OPTIONS).read_all()
    if not table.schema.equals(schema):
        raise pa.ArrowInvalid(f"not a block of these rows: {table.schema}")
    return table
