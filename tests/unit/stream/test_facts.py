"""Seats and notices in records: what is read back is what was known at the fence."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.metering.organization import OrganizationState
from licmeter.stream import facts
from licmeter.stream.facts import FactLog, load_facts
from licmeter.stream.store import FACTS, Change, MemoryStore, record_prefix

Known = tuple[dict[str, dict[str, tuple[int, int, int, int]]], dict[int, set[str]]]


def known(state: OrganizationState) -> Known:
    seats = {
        item_id: {c: (s.first_ms, s.last_ms, s.expires_ms, s.instances) for c, s in book.seats.items()}
        for item_id, book in state.seats.items()
        if book.seats
    }
    return seats, {day: set(ids) for day, ids in state.notices.days.items() if ids}


def read(store: MemoryStore, fence: int) -> tuple[OrganizationState, FactLog]:
    state = OrganizationState("7", applied_offset=fence)
    return state, load_facts(state, store.items(FACTS, record_prefix("7")))


def touch(state: OrganizationState, random: Random, offset: int, clients: int = 30) -> None:
    for _ in range(random.randrange(6)):
        client = f"device-{random.randrange(clients)}"
        state.seat_book(random.choice("ab")).contact(client, offset * 1_000, offset * 1_000 + random.randrange(90_000))
    if random.random() < 0.3:
        state.notices.note(0, f"notice-{random.randrange(50)}")


def write(store: MemoryStore, changes: list[Change]) -> None:
    asyncio.run(store.write(FACTS, changes))


@given(st.integers(0, 2**32), st.sampled_from((0, 200, 2_048)), st.sampled_from((3, 20_000)))
@settings(max_examples=300)
def test_facts_read_back_are_those_at_the_fence(seed: int, small_bytes: int, facts_a_record: int) -> None:
    """Batches, now and then a crash at any point, after which the batch is done again with other bounds."""
    random = Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "SMALL_BYTES", small_bytes)
        patch.setattr(facts, "FACTS_A_RECORD_MAX", facts_a_record)
        store, fence = MemoryStore(), -1
        # What happens at an offset is a function of the offset, as it is of an event.
        happens = [random.getrandbits(32) for _ in range(60)]
        state, log = read(store, fence)
        while fence < len(happens) - 1:
            last = min(len(happens) - 1, fence + random.randint(1, 6))
            for offset in range(fence + 1, last + 1):
                touch(state, Random(happens[offset]), offset)
            changes = log.changes(state, last)
            through = random.randint(0, len(changes)) if random.random() < 0.3 else len(changes)
            write(store, changes[:through])
            if through < len(changes) or random.random() < 0.1:
                state, log = read(store, fence)  # the process died before the fence was written
                continue
            fence = state.applied_offset = last
            if random.random() < 0.9:  # or it dies before the deletions
                write(store, log.superseded("7", [key for key, _ in store.items(FACTS, record_prefix("7"))]))
            again, again_log = read(store, fence)
            assert known(again) == known(state)
            if random.random() < 0.2:
                state, log = again, again_log


def test_a_stalled_workers_half_base_is_not_taken_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "FACTS_A_RECORD_MAX", 1)
    store, state, log = MemoryStore(), OrganizationState("7"), FactLog()
    for number, client in enumerate(("x", "y")):
        state.seat_book("a").contact(client, number, 1_000)
    write(store, log.changes(state, 10))
    late, late_log = read(store, 10)
    late.seat_book("a").contact("z", 20, 2_000)
    base = late_log.changes(late, 20)
    assert len(base) == 3
    write(store, base[:1])
    state.seat_book("a").contact("x", 15, 5_000)
    write(store, [change for change in log.changes(state, 15) if change not in base])
    again, _ = read(store, 20)
    assert set(again.seats["a"].seats) >= {"x", "y"}


def test_small_organizations_are_written_whole_and_old_records_go() -> None:
    store, state, log = MemoryStore(), OrganizationState("7"), FactLog()
    for offset in range(5):
        state.seat_book("a").contact(f"c{offset}", offset, 1_000)
        write(store, log.changes(state, offset))
        state.applied_offset = offset
        write(store, log.superseded("7", [key for key, _ in store.items(FACTS)]))
    assert len(list(store.items(FACTS))) == 1


def test_large_organizations_write_what_changed() -> None:
    state, log = OrganizationState("7"), FactLog()
    for number in range(1_000):
        state.seat_book("a").contact(f"client-{number}", 0, 1_000)
    whole = sum(len(value or b"") for _, value in log.changes(state, 0))
    state.seat_book("a").contact("client-5", 1, 2_000)
    delta = sum(len(value or b"") for _, value in log.changes(state, 1))
    assert delta < whole / 100
    assert log.changes(state, 2) == []
