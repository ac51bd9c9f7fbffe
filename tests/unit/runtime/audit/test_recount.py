"""The audit's own counting against the stream's: the same rows, whatever they were kept in; and its own memory."""

import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.metering.counters import item_counters, organization_counters
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.slot_use import DictSlots
from licmeter.runtime.audit.memory import PackedMemory, SpilledSlots
from licmeter.runtime.audit.recount import PartitionRecount
from licmeter.runtime.audit.tables import AUTHORIZATIONS, BREACHES, REJECTED, USAGE, Row, Table, breach_row
from licmeter.schemas.attribution import COLUMNS
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA
from licmeter.stream.batch import BatchResult, InputRecord, process_batch
from licmeter.stream.partition import PartitionState, load_partition
from licmeter.stream.store import MemoryStore
from tests.support import fleet, load

NOW = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
EVENTS = 3_000


class Kept:
    """Books that keep every row."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    def add(self, table: Table, row: Row, offset: int) -> None:
        assert not table.in_log or row[1] == offset
        self.rows.setdefault(table.name, []).append(row)


@pytest.fixture(scope="module")
def log() -> list[InputRecord]:
    pairs: list[tuple[bytes | None, bytes | None]] = [
        *fleet.events(20, 2, NOW, 1),  # nobody knows these organizations yet
        *fleet.catalogs(2, NOW),
        *load.catalogs(2, 50, NOW),
        *fleet.events(EVENTS, 2, NOW, 3),
        *load.reports(EVENTS, 3, NOW, 3),
        (b"2000", None),
        (None, b"{}"),
        (b"\xff", b"x"),
        (b"", b""),
    ]
    received = int(NOW.timestamp() * 1000)
    return [InputRecord(number, received + number * 50, key, value) for number, (key, value) in enumerate(pairs)]


def counted(log: list[InputRecord], **options: Any) -> tuple[PartitionRecount, Kept]:
    kept = Kept()
    recount = PartitionRecount(3, len(log), kept, cut=log[-1].offset, **options)
    for each in log:
        record = SimpleNamespace(
            key=each.key, value=each.value, timestamp=each.received_ms, offset=each.offset, partition=3
        )
        recount.count(record)
    return recount, kept


def streamed(log: list[InputRecord]) -> tuple[PartitionState, list[BatchResult]]:
    state = load_partition(3, MemoryStore(), DEFAULT_LIMITS.duplicate_days)
    results, start, sizes = [], 0, random.Random(1)
    while start < len(log):
        size = sizes.randrange(1, 900)
        results.append(process_batch(log[start : start + size], state, DEFAULT_LIMITS))
        start += size
    return state, results


def by_names(table: Table, names: list[str], rows: list[tuple[Any, ...]]) -> list[Row]:
    """Bring the stream's columns into the audit's order."""
    places = [names.index(name) for name in table.columns]
    return [tuple(row[place] for place in places) for row in rows]


def test_a8_the_rows_are_those_of_the_stream(log: list[InputRecord]) -> None:
    recount, kept = counted(log)
    state, results = streamed(log)
    rows = [row for result in results for row in result.rows]
    assert kept.rows[USAGE.name] == by_names(USAGE, list(COLUMNS), rows)
    requests = [row for result in results for row in result.authorizations]
    assert kept.rows[AUTHORIZATIONS.name] == by_names(AUTHORIZATIONS, AUTHORIZATION_SCHEMA.names, requests)
    rejects = [(each.record.offset, each.reason.value, each.detail) for r in results for each in r.rejects]
    assert [(row[1], row[5], row[6]) for row in kept.rows[REJECTED.name]] == [(o, r, d[:500]) for o, r, d in rejects]
    assert kept.rows[BREACHES.name] == [breach_row(fact) for result in results for fact in result.breaches]
    for name, mine in recount.organizations.items():
        theirs = state.nobody() if not name else state.organization(name)
        assert theirs is not None
        mine.applied_offset = theirs.applied_offset
        assert organization_counters(mine, 3) == organization_counters(theirs, 3)
        if mine.catalog is not None and theirs.catalog is not None:
            at = mine.updated_ms
            assert list(item_counters(mine, 3, mine.catalog.items.values(), at)) == list(
                item_counters(theirs, 3, theirs.catalog.items.values(), at)
            )
    recount.close()


def test_one_organization_is_counted_as_among_the_others(log: list[InputRecord]) -> None:
    _, all_rows = counted(log)
    recount, kept = counted(log, only="2001")
    known = next(each.offset for each in log if each.key == b"2001" and b"license.catalog" in (each.value or b""))
    assert kept.rows[USAGE.name] == [row for row in all_rows.rows[USAGE.name] if row[13] == "2001"]
    assert recount.tallies["2001"].records == sum(1 for r in log if r.key == b"2001" and r.offset > known)


def test_with_hardly_any_memory_the_rows_are_the_same(log: list[InputRecord]) -> None:
    _, kept = counted(log)
    _, spilled = counted(log, slots=SpilledSlots(holders_max=20))
    assert spilled.rows == kept.rows


def test_every_record_is_in_one_tally_and_has_one_outcome(log: list[InputRecord]) -> None:
    recount, kept = counted(log)
    catalogs = sum(1 for each in log if b'"license.catalog.v1"' in (each.value or b""))
    assert sum(tally.records for tally in recount.tallies.values()) == len(log) - catalogs
    for name, tally in recount.tallies.items():
        state = recount.organizations[name]
        assert sum(state.outcomes.values()) + state.granted + state.refused == tally.records == tally.settled
    places = [row[:2] for row in kept.rows[USAGE.name] if row[2] == 0]
    places += [row[:2] for name in (AUTHORIZATIONS.name, REJECTED.name) for row in kept.rows[name]]
    assert len(places) == len(set(places)) == len(log) - catalogs


ENTRIES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=60)


@given(ENTRIES)
def test_a3_the_packed_memory_remembers_what_a_dictionary_does(entries: list[tuple[int, int, int, bool]]) -> None:
    packed, plain = PackedMemory(len(entries), 32), DictMemory(32)
    try:
        for number, content, day, adding in entries:
            # The first half decides about the place: few of them, so that they meet.
            identity = (number % 3).to_bytes(8, "little") + number.to_bytes(8, "little")
            assert packed.get(identity, day) == plain.get(identity, day)
            if adding:
                for memory in (packed, plain):
                    memory.add(identity, content.to_bytes(8, "little"), day)
    finally:
        packed.close()


def test_the_packed_memory_holds_as_many_as_were_announced() -> None:
    packed = PackedMemory(5_000, 32)
    for number in range(5_000):
        packed.add(random.Random(number).randbytes(16), number.to_bytes(8, "little"), 1)
    for number in range(5_000):
        assert packed.get(random.Random(number).randbytes(16), 1) == number.to_bytes(8, "little")
    packed.close()


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(1, 4)), max_size=80), st.integers(1, 20))
def test_n2_spilled_slots_hold_what_a_dictionary_does(uses: list[tuple[int, int, int]], holders_max: int) -> None:
    spilled, plain = SpilledSlots(holders_max), DictSlots()
    for slot, client, seats in uses:
        for memory in (spilled, plain):
            use = memory.slot("1", "41", slot * 180)
            use.exceptions += use.hold(f"c{client}", seats)
        spilled.settle()
    for slot in range(9):
        mine, theirs = spilled.slot("1", "41", slot * 180), plain.slot("1", "41", slot * 180)
        assert (mine.holders, mine.total, mine.exceptions) == (theirs.holders, theirs.total, theirs.exceptions)
        spilled.settle()
    spilled.close()
