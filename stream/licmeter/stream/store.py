"""What the worker keeps of one partition, as it needs it: tables of immutable records.

A record is never changed: its key holds the offset that wrote it, and other content has another key. So nothing
that a stalled worker writes late can replace anything (docs/decisions/0003-state-records.md).

| table | key | value |
|---|---|---|
| organizations | organization, applied offset | counters up to that offset; the highest offset is the current one |
| catalogs | organization, offset of the change | the document |
| seen | day, offsets of the batch, digest | identities and contents of accepted reports, by organization |
| facts | organization, offset, kind, digest | seats and notices (`facts`) |
| slots | day, organization, item, slot, offset, digest | who used a concurrency item in a slot (`slot_records`) |
| levels | organization, check instant | alert levels that were notified and are held (`checks`) |
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

__all__ = [
    "CATALOGS",
    "FACTS",
    "LEVELS",
    "ORGANIZATIONS",
    "SEEN",
    "SLOTS",
    "Change",
    "MemoryStore",
    "PartitionStore",
    "record_key",
    "record_offset",
    "record_prefix",
]

ORGANIZATIONS: Final = "organizations"
CATALOGS: Final = "catalogs"
SEEN: Final = "seen"
FACTS: Final = "facts"
SLOTS: Final = "slots"
LEVELS: Final = "levels"
TABLES: Final = (ORGANIZATIONS, CATALOGS, SEEN, FACTS, SLOTS, LEVELS)

Change = tuple[bytes, bytes | None]  # key and value; None deletes
_OFFSET: Final = struct.Struct(">Q")


def record_key(organization_id: str, offset: int) -> bytes:
    """Return the key of an organization's record; keys of one organization sort by offset."""
    return record_prefix(organization_id) + _OFFSET.pack(offset)


def record_prefix(organization_id: str) -> bytes:
    """Return what all keys of an organization begin with. An organization id holds no zero byte."""
    return organization_id.encode() + b"\0"


def record_offset(key: bytes) -> int:
    """Return the offset in a key that `record_key` made."""
    offset: int = _OFFSET.unpack(key[-8:])[0]
    return offset


class PartitionStore(Protocol):
    """The records of one partition.

    `write` returns when the changes are durable: whoever owns the partition next will see them. Changes of one
    call become durable in their order, but not as a whole: a crash may leave a first part of them.
    """

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return a record, or None."""

    def items(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Return records by key, those with a prefix."""

    async def write(self, table: str, changes: Sequence[Change]) -> None:
        """Write records, and delete those with value None."""

    def forget(self, table: str, below: bytes) -> None:
        """Delete all records whose keys are below one, here only: the log's retention deletes them elsewhere."""


class MemoryStore:
    """Keeps records in memory: for tests and recounts."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return a record, or None."""
        return self.tables[table].get(key)

    def items(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Return records by key, those with a prefix."""
        records = self.tables[table]
        return iter([(key, records[key]) for key in sorted(records) if key.startswith(prefix)])

    async def write(self, table: str, changes: Sequence[Change]) -> None:
        """Write records, and delete those with value None."""
        for key, value in changes:
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value

    def forget(self, table: str, below: bytes) -> None:
        """Delete all records whose keys are below one."""
        self.tables[table] = {key: value for key, value in self.tables[table].items() if key >= below}
