"""A record of `usage.rejected` as a row; every record has one, ours or not."""

import hashlib
from collections.abc import Sequence
from typing import Final, TypedDict

import pyarrow as pa

from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import HEADER_PREFIX, RejectOrigin, parse_reject_headers
from licmeter.sinks.records import Record

__all__ = ["PAYLOAD_BYTES_MAX", "REJECTED_SCHEMA", "REJECTED_TABLE", "UNDECODABLE", "RejectedRow", "rejected_row"]

REJECTED_TABLE: Final = "usage_rejected"
#: The reason of a record on `usage.rejected` that nobody of ours put there.
UNDECODABLE: Final = "undecodable"
#: Far above a report; the topic keeps the rest, and the row its length and hash.
PAYLOAD_BYTES_MAX: Final = 64 * 1024

_OUR_HEADERS: Final = 6  # how many `reject_headers` adds
_UINT32_MAX: Final = 2**32 - 1
_INT64_MAX: Final = 2**63 - 1
_RECEIVED_MS_MAX: Final = 4_102_444_800_000  # the year 2100: a month has to exist for its partition

REJECTED_SCHEMA: Final = pa.schema(
    [
        ("organization_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("source_topic", pa.string()),
        ("source_partition", pa.uint32()),
        ("source_offset", pa.uint64()),
        ("received_at", pa.timestamp("ms", tz="UTC")),
        ("key", pa.binary()),
        ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
        ("payload", pa.binary()),
        ("payload_bytes", pa.uint64()),
        ("payload_sha256", pa.string()),
    ]
)


class _Header(TypedDict):
    name: str
    value: bytes


class RejectedRow(TypedDict):
    """One row, in the columns of `REJECTED_SCHEMA`."""

    organization_id: str
    reason: str
    detail: str
    source_topic: str
    source_partition: int
    source_offset: int
    received_at: int
    key: bytes | None
    headers: list[_Header]
    payload: bytes | None
    payload_bytes: int
    payload_sha256: str


def rejected_row(record: Record) -> RejectedRow:
    """Turn a record into its row; a record that is not ours is its own origin."""
    headers = [(name, value or b"") for name, value in record.headers]
    origin = _origin(headers)
    original = headers if origin is None else headers[:-_OUR_HEADERS]
    payload = record.value
    return RejectedRow(
        organization_id=_organization(record.key),
        reason=UNDECODABLE if origin is None else origin.reason.value,
        detail="" if origin is None else origin.detail,
        source_topic=record.topic if origin is None else origin.topic,
        source_partition=record.partition if origin is None else origin.partition,
        source_offset=record.offset if origin is None else origin.offset,
        received_at=_in_range(record.timestamp) if origin is None else origin.received_at_ms,
        key=record.key,
        headers=[_Header(name=_printable(name), value=value) for name, value in original],
        payload=None if payload is None else payload[:PAYLOAD_BYTES_MAX],
        payload_bytes=len(payload or b""),
        payload_sha256=hashlib.sha256(payload or b"").hexdigest(),
    )


def _origin(headers: Sequence[tuple[str, bytes]]) -> RejectOrigin | None:
    """Read our headers, which are the last ones; None where they are not there or hold what no row can."""
    ours = headers[-_OUR_HEADERS:]
    if len(ours) != _OUR_HEADERS or not all(name.startswith(HEADER_PREFIX) for name, _ in ours):
        return None
    try:
        origin = parse_reject_headers(ours)
    except (KeyError, ValueError):
        return None
    fits = (
        0 <= origin.partition <= _UINT32_MAX
        and 0 <= origin.offset <= _INT64_MAX
        and 0 <= origin.received_at_ms <= _RECEIVED_MS_MAX
    )
    return origin if fits else None


def _organization(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return ""


def _in_range(timestamp_ms: int) -> int:
    return min(max(timestamp_ms, 0), _RECEIVED_MS_MAX)


def _printable(name: str) -> str:
    """Header names are UTF-8 on the wire; a name that Python read with escapes must not stop the row."""
    return name.encode("utf-8", "replace").decode()


assert UNDECODABLE not in set(RejectReason)
