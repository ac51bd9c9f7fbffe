"""Seats and notices of an organization, as records: what changed in each batch, and now and then everything.

Facts do not fit into the organization's record, which is written with every batch. So each batch writes a *delta*: the
facts that it changed, with their absolute values. When the deltas have become as large as the whole, the batch writes a
*base* instead, all facts, and after the fence covers it everything older is deleted. So what is written stays within
a small factor of what changed, and reading is going through the records in the order of their offsets.

Records are immutable, as everywhere here: the key ends with a digest of the value, so a repeat of a batch with other
bounds, or a worker that wakes up late, adds records and replaces none. Their values are those at their offsets, so
they are right in whatever company they are read, if the organization's fence covers them.

    key    organization, 0, offset (8 bytes), kind ("b" base, "d" delta), digest (8)
    value  msgpack: number of records of this base, seats, notices
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from licmeter.metering.organization import OrganizationState
from licmeter.metering.seats import Seat
from licmeter.stream.store import Change, record_prefix

__all__ = ["FactLog", "load_facts"]

#: Below this size everything is written each time: reading one small record beats reading many.
SMALL_BYTES: Final = 2_048
#: Facts in one record: at most some 300 bytes each, so a record stays below `topics.BLOCK_BYTES_MAX`.
FACTS_A_RECORD_MAX: Final = 20_000
_OFFSET: Final = struct.Struct(">Q")
_BASE: Final = b"b"
_DELTA: Final = b"d"

SeatFact = tuple[str, str, int, int, int, int]  # item, client, first, last, end, instances
NoticeFact = tuple[int, str]  # day, breach id


class _Facts(msgspec.Struct, array_like=True):
    records: int
    seats: list[SeatFact]
    notices: list[NoticeFact]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Facts).decode


@dataclass(slots=True)
class FactLog:
    """How much an organization's records hold, to decide between delta and base."""

    base_bytes: int = 0
    delta_bytes: int = 0
    base_offset: int = -1  # of a base that is written but whose predecessors are not deleted

    def changes(self, state: OrganizationState, offset: int) -> list[Change]:
        """Return the records of what changed since the last call, at the offset of the batch's last event."""
        seats, notices = list(_changed_seats(state)), sorted(state.notices.changed)
        for book in state.seats.values():
            book.changed.clear()
        state.notices.changed.clear()
        if not seats and not notices:
            return []
        kind = _DELTA
        if self.delta_bytes >= max(self.base_bytes, SMALL_BYTES) or self.base_bytes <= SMALL_BYTES:
            kind, seats, notices = _BASE, list(_all_seats(state)), list(_all_notices(state))
        changes: list[Change] = [
            (_key(state.organization_id, offset, kind, value), value) for value in _values(seats, notices)
        ]
        size = sum(len(value or b"") for _, value in changes)
        if kind == _BASE:
            self.base_bytes, self.delta_bytes, self.base_offset = size, 0, offset
        else:
            self.delta_bytes += size
        return changes

    def superseded(self, organization_id: str, keys: Iterable[bytes]) -> list[Change]:
        """Return the deletions that a base has made due; the fence covers it now."""
        if self.base_offset < 0:
            return []
        bound = record_prefix(organization_id) + _OFFSET.pack(self.base_offset)
        self.base_offset = -1
        return [(key, None) for key in keys if key < bound]


def _changed_seats(state: OrganizationState) -> Iterator[SeatFact]:
    for item_id, book in sorted(state.seats.items()):
        for client in sorted(book.changed):
            seat = book.seats.get(client)
            if seat is not None:
                yield _seat_fact(item_id, client, seat)


def _all_seats(state: OrganizationState) -> Iterator[SeatFact]:
    for item_id, book in sorted(state.seats.items()):
        for client, seat in sorted(book.seats.items()):
            yield _seat_fact(item_id, client, seat)


def _seat_fact(item_id: str, client: str, seat: Seat) -> SeatFact:
    return (item_id, client, seat.first_ms, seat.last_ms, seat.expires_ms, seat.instances)


def _all_notices(state: OrganizationState) -> Iterator[NoticeFact]:
    for day, identifiers in sorted(state.notices.days.items()):
        for identifier in sorted(identifiers):
            yield (day, identifier)


def _values(seats: list[SeatFact], notices: list[NoticeFact]) -> list[bytes]:
    """Encode facts in as many records as they need; each says how many there are."""
    most = FACTS_A_RECORD_MAX
    parts = [_Facts(0, seats[start : start + most], []) for start in range(0, len(seats), most)]
    parts += [_Facts(0, [], notices[start : start + most]) for start in range(0, len(notices), most)]
    for part in parts:
        part.records = len(parts)
    return [_encode(part) for part in parts]


def _key(organization_id: str, offset: int, kind: bytes, value: bytes) -> bytes:
    return record_prefix(organization_id) + _OFFSET.pack(offset) + kind + blake2b(value, digest_size=8).digest()


def load_facts(state: OrganizationState, records: Iterable[tuple[bytes, bytes]]) -> FactLog:
    """Read an organization's facts up to its fence into its state; `records` are in the order of their keys."""
    log = FactLog()
    start = len(record_prefix(state.organization_id))
    by_place: dict[tuple[int, bytes], list[tuple[int, _Facts]]] = {}
    for key, value in records:
        offset = _OFFSET.unpack_from(key, start)[0]
        kind = key[start + 8 : start + 9]
        if offset <= state.applied_offset:
            by_place.setdefault((offset, kind), []).append((len(value), _decode(value)))
    for (_, kind), parts in by_place.items():
        size = sum(length for length, _ in parts)
        if kind == _BASE:
            if len(parts) < parts[0][1].records:
                continue  # a stalled worker's, half written: the deltas around it say all
            state.seats.clear()
            state.notices.days.clear()
            log.base_bytes, log.delta_bytes = size, 0
        else:
            log.delta_bytes += size
        for _, facts in parts:
            _take_over(state, facts)
    for book in state.seats.values():
        book.loaded()
    return log


def _take_over(state: OrganizationState, facts: _Facts) -> None:
    for item_id, client, *seat in facts.seats:
        state.seat_book(item_id).load(client, Seat(*seat))
    for day, identifier in facts.notices:
        state.notices.load(day, identifier)
