"""Segments: the reports that one batch accepted, packed into one record of the `seen` table.

One record for each report would cap the worker at the rate at which single records can be sent (design 5).
A segment holds a group for each organization, because a group counts only if that organization's fence covers
the segment: after a crash between the two writes the events are processed again, and must not meet themselves.

In such a repeat the same offsets may give another segment: organizations whose fence was written already are
skipped. So the key ends with a digest of the segment; otherwise the repeat would take the place of the first
segment, and what only that one held would be forgotten.

    key    day (4 bytes), first offset (8), last offset (8), digest (8): big-endian, so that keys sort by day
    group  length of the organization id (2), the id, number of entries (4), entries
    entry  identity (16), content (8)
"""

import struct
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from licmeter.metering.report import CONTENT_BYTES, IDENTITY_BYTES

__all__ = ["ENTRY_BYTES", "Group", "day_bound", "decode_segment", "encode_segment", "segment_key", "segment_span"]

ENTRY_BYTES: Final = IDENTITY_BYTES + CONTENT_BYTES
_KEY: Final = struct.Struct(">IQQ8s")
_DAY: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_COUNT: Final = struct.Struct(">I")


class Group(NamedTuple):
    """The entries of one organization, packed."""

    organization_id: str
    entries: bytes


class Span(NamedTuple):
    """What a segment's key says."""

    day: int
    first_offset: int
    last_offset: int
    digest: bytes


def segment_key(day: int, first_offset: int, last_offset: int, segment: bytes) -> bytes:
    """Return the key of a segment."""
    return _KEY.pack(day, first_offset, last_offset, blake2b(segment, digest_size=8).digest())


def segment_span(key: bytes) -> Span:
    """Read a key back."""
    return Span(*_KEY.unpack(key))


def day_bound(day: int) -> bytes:
    """Return what is below all keys of a day and above those of earlier days."""
    return _DAY.pack(max(0, day))


def encode_segment(groups: Mapping[str, bytearray]) -> bytes:
    """Pack the entries of each organization."""
    parts = []
    for organization_id, entries in groups.items():
        name = organization_id.encode()
        parts += [_LENGTH.pack(len(name)), name, _COUNT.pack(len(entries) // ENTRY_BYTES), bytes(entries)]
    return b"".join(parts)


def decode_segment(segment: bytes) -> Iterator[Group]:
    """Unpack the groups of a segment."""
    position = 0
    while position < len(segment):
        (length,) = _LENGTH.unpack_from(segment, position)
        position += _LENGTH.size
        name = segment[position : position + length].decode()
        position += length
        (count,) = _COUNT.unpack_from(segment, position)
        position += _COUNT.size
        end = position + count * ENTRY_BYTES
        yield Group(name, segment[position:end])
        position = end
