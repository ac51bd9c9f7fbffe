"""The state of one partition in memory, read from its store as needed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from licmeter.metering.organization import NOBODY, OrganizationState
from licmeter.schemas.catalog import Organization
from licmeter.stream.errors import StateCorruptError
from licmeter.stream.facts import FactLog, load_facts
from licmeter.stream.seen import SeenIndex
from licmeter.stream.segments import day_bound, decode_segment, segment_span
from licmeter.stream.slot_records import SLOT_DAYS, SlotCache
from licmeter.stream.store import (
    CATALOGS,
    FACTS,
    ORGANIZATIONS,
    SEEN,
    SLOTS,
    PartitionStore,
    record_key,
    record_offset,
    record_prefix,
)

__all__ = ["PartitionState", "forget_old", "load_partition"]

#: Organizations held in memory; the least recently used ones are read again when needed (about 5 KB each).
ORGANIZATIONS_MAX: Final = 20_000
#: Entries of one day that are gathered before they go into the index, while a partition is loaded.
LOADED_BYTES_MAX: Final = 6_000_000


class PartitionState:
    """Organizations and remembered reports of one partition.

    Changes are made here while a batch is computed, and are in the store only after its flush. When a flush is
    abandoned the whole object must be thrown away.
    """

    def __init__(self, partition: int, store: PartitionStore, seen: SeenIndex) -> None:
        self.partition = partition
        self.store = store
        self.seen = seen
        self.slots = SlotCache(store, self._fence)
        self._organizations: dict[str, OrganizationState] = {}
        self._unknown: set[str] = set()
        self._superseded: dict[str, list[bytes]] = {}
        self._facts: dict[str, FactLog] = {}

    def _fence(self, organization_id: str) -> int:
        state = self.organization(organization_id)
        return -1 if state is None else state.applied_offset

    def nobody(self) -> OrganizationState:
        """Return the state that counts records of no known organization."""
        return self.organization(NOBODY) or self._keep(OrganizationState(NOBODY))

    def organization(self, organization_id: str) -> OrganizationState | None:
        """Return an organization's state, or None when no catalog ever named it."""
        state = self._organizations.get(organization_id)
        if state is None and organization_id not in self._unknown:
            state = self._read(organization_id)
            if state is None:
                self._unknown.add(organization_id)
            else:
                self._keep(state)
        return state

    def create(self, organization_id: str, offset: int) -> OrganizationState:
        """Begin the state of an organization that the catalog at an offset names for the first time."""
        self._unknown.discard(organization_id)
        return self._keep(OrganizationState(organization_id, created_offset=offset))

    def facts(self, organization_id: str) -> FactLog:
        """Return how an organization's facts are recorded."""
        return self._facts.setdefault(organization_id, FactLog())

    def organization_ids(self) -> list[str]:
        """Return all organizations of the partition that a catalog ever named, as far as they are in the store."""
        names = {key[:-9].decode() for key, _ in self.store.items(ORGANIZATIONS)}
        return sorted(names - {NOBODY})

    def superseded(self, organization_id: str) -> list[bytes]:
        """Return the keys of the records that the next record of an organization replaces."""
        return self._superseded.get(organization_id, [])

    def written(self, states: Iterable[OrganizationState]) -> None:
        """Note that the states are in the store, and forget what need not be held."""
        for state in states:
            organization_id = state.organization_id
            self._superseded[organization_id] = [record_key(organization_id, state.applied_offset)]
            # To the end: the first ones are the least recently used.
            self._organizations[organization_id] = self._organizations.pop(organization_id)
        self._unknown.clear()
        while len(self._organizations) > ORGANIZATIONS_MAX:
            oldest = next(iter(self._organizations))
            del self._organizations[oldest]
            self._superseded.pop(oldest, None)
            self._facts.pop(oldest, None)
        self.slots.written()

    def _keep(self, state: OrganizationState) -> OrganizationState:
        self._organizations[state.organization_id] = state
        return state

    def _read(self, organization_id: str) -> OrganizationState | None:
        records = list(self.store.items(ORGANIZATIONS, record_prefix(organization_id)))
        if not records:
            return None
        key, encoded = records[-1]
        # More than one is left behind by a crash between writing the new record and deleting the old one.
        self._superseded[organization_id] = [known for known, _ in records]
        state = OrganizationState.from_bytes(organization_id, encoded)
        if state.applied_offset != record_offset(key):
            raise StateCorruptError(f"record {key!r} says that it is of offset {state.applied_offset}")
        if state.catalog_offset is not None:
            document = self.store.get(CATALOGS, record_key(organization_id, state.catalog_offset))
            if document is None:
                raise StateCorruptError(
                    f"organization {organization_id} has no catalog of offset {state.catalog_offset}"
                )
            state.adopt(Organization.model_validate_json(document), state.catalog_offset)
        self._facts[organization_id] = load_facts(state, self.store.items(FACTS, record_prefix(organization_id)))
        return state


def load_partition(
    partition: int, store: PartitionStore, duplicate_days: int, folder: Path | None = None
) -> PartitionState:
    """Read a partition's remembered reports, and make its state ready; the index's file is in `folder`."""
    seen = SeenIndex(duplicate_days, folder=folder)
    state = PartitionState(partition, store, seen)
    fences: dict[str, int] = {}
    for key, _ in store.items(ORGANIZATIONS):
        organization_id = key[:-9].decode()
        fences[organization_id] = max(record_offset(key), fences.get(organization_id, -1))
    by_day: dict[int, bytearray] = {}
    for key, segment in store.items(SEEN):
        span = segment_span(key)
        for organization_id, entries in decode_segment(segment):
            # A segment whose batch was not finished does not count: its events come again.
            if fences.get(organization_id, -1) >= span.last_offset:
                known = by_day.setdefault(span.day, bytearray())
                known.extend(entries)
                if len(known) >= LOADED_BYTES_MAX:
                    seen.load(span.day, bytes(by_day.pop(span.day)))
    for day in sorted(by_day):
        seen.load(day, bytes(by_day.pop(day)))
    return state


def forget_old(state: PartitionState, today: int, duplicate_days: int) -> None:
    """Free what no event of today or later can meet any more, in memory and in the store."""
    state.seen.drop_days_before(today - duplicate_days)
    state.store.forget(SEEN, day_bound(today - duplicate_days))
    state.store.forget(SLOTS, day_bound(today - SLOT_DAYS))
