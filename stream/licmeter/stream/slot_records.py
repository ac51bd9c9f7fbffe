"""The slots of concurrency items: in memory while they are hot, otherwise in records that only ever are added.

A batch writes, for each slot that it changed, the clients that are new in it. Reading a slot is the union of its
records up to the organization's fence. Nothing is rewritten, so a busy slot costs what changes in it, and a burst
of thirty days of late reports costs one small record for each slot.

    key    day of the slot (4 bytes), organization, 0, length of owner (2), owner, slot (4), offset (8), digest (8)
    value  msgpack: seats by client, exceptions of the slot up to here
"""

import struct
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from licmeter.metering.organization import OrganizationState
from licmeter.metering.slot_use import SlotUse
from licmeter.stream.store import SLOTS, Change, PartitionStore

__all__ = ["HOLDERS_MAX", "SLOT_DAYS", "SlotCache"]

#: Slots are asked for as long as reports are accepted: 30 days, the slot itself and the clock's tolerance (design 5).
SLOT_DAYS: Final = 33
#: Clients held in memory over all slots of a partition: about 120 bytes each, so 4 MB.
HOLDERS_MAX: Final = 30_000
#: A slot takes as much as so many clients: 600 bytes (measured), also with one client, as most late reports find it.
SLOT_HOLDERS: Final = 5
_DAY_S: Final = 86_400
_DAY: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_SLOT: Final = struct.Struct(">I")
_OFFSET: Final = struct.Struct(">Q")
_TAIL: Final = _OFFSET.size + 8

_Place = tuple[str, str, int]  # organization, owner, slot
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(tuple[dict[str, int], int]).decode


class SlotCache:
    """The slots of one partition (a `SlotMemory`); what changed is in the store after `changes` was written."""

    def __init__(self, store: PartitionStore, fence: Callable[[str], int], holders_max: int = HOLDERS_MAX) -> None:
        self._store = store
        self._fence = fence
        self._holders_max = holders_max
        self._slots: dict[_Place, SlotUse] = {}
        self._touched: dict[_Place, SlotUse] = {}

    def slot(self, organization_id: str, owner: str, slot_s: int) -> SlotUse:
        """Return what is known of a slot."""
        place = (organization_id, owner, slot_s)
        use = self._slots.get(place)
        if use is None:
            use = self._slots[place] = self._read(place)
        self._touched[place] = use
        return use

    def _read(self, place: _Place) -> SlotUse:
        use, prefix, fence = SlotUse(), _prefix(place), self._fence(place[0])
        for key, value in self._store.items(SLOTS, prefix):
            if _OFFSET.unpack_from(key, len(key) - _TAIL)[0] > fence:
                continue
            holders, exceptions = _decode(value)
            for client, seats in holders.items():
                use.hold(client, seats)
            use.exceptions = max(use.exceptions, exceptions)
        use.changed.clear()
        return use

    def changes(self, touched: Mapping[str, OrganizationState], offset: int) -> list[Change]:
        """Return the records of what changed in the slots of the touched organizations since the last call."""
        changes: list[Change] = []
        for place, use in self._touched.items():
            if use.changed and place[0] in touched:
                value = _encode(({client: use.holders[client] for client in sorted(use.changed)}, use.exceptions))
                digest = blake2b(value, digest_size=8).digest()
                changes.append((_prefix(place) + _OFFSET.pack(offset) + digest, value))
                use.changed.clear()
        return changes

    def written(self) -> None:
        """Note that what changed is in the store, and forget the slots that need not be held."""
        for place in self._touched:
            self._slots[place] = self._slots.pop(place)  # to the end: the first are the least recently used
        self._touched.clear()
        held = sum(len(use.holders) + SLOT_HOLDERS for use in self._slots.values())
        for place in list(self._slots):
            if held <= self._holders_max:
                break
            held -= len(self._slots.pop(place).holders) + SLOT_HOLDERS


def _prefix(place: _Place) -> bytes:
    organization_id, owner, slot_s = place
    name = owner.encode()
    return b"".join(
        (
            _DAY.pack(slot_s // _DAY_S),
            organization_id.encode(),
            b"\0",
            _LENGTH.pack(len(name)),
            name,
            _SLOT.pack(slot_s),
        )
    )
