"""Slots in records: the union of what was added, up to the fence."""

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.metering.organization import OrganizationState
from licmeter.metering.slot_use import DictSlots
from licmeter.stream.slot_records import SlotCache
from licmeter.stream.store import SLOTS, MemoryStore

SLOT = 1_930_730_400


def write(cache: SlotCache, store: MemoryStore, offset: int) -> None:
    touched = {name: OrganizationState(name) for name in ("7", "8")}
    asyncio.run(store.write(SLOTS, cache.changes(touched, offset)))
    cache.written()


@given(st.integers(0, 2**32), st.sampled_from((0, 3, 1_000)))
@settings(max_examples=200)
def test_any_cache_size_and_any_restart_gives_what_a_dictionary_has(seed: int, holders_max: int) -> None:
    random, store, plain = Random(seed), MemoryStore(), DictSlots()
    fence = [-1]

    def fence_of(_: str) -> int:
        return fence[0]

    cache = SlotCache(store, fence_of, holders_max)
    for offset in range(40):
        for _ in range(random.randrange(5)):
            place = (random.choice("78"), random.choice(("a", "b", "/7-p")), SLOT + 180 * random.randrange(6))
            client, seats = f"c{random.randrange(6)}", random.randint(1, 4)
            grown = [memory.slot(*place).hold(client, seats) for memory in (cache, plain)]
            assert grown[0] == grown[1]
            for memory in (cache, plain):
                memory.slot(*place).exceptions += grown[0]
        write(cache, store, offset)
        fence[0] = offset
        if random.random() < 0.2:
            cache = SlotCache(store, fence_of, holders_max)
    for place, use in plain.slots.items():
        found = SlotCache(store, fence_of).slot(*place)
        assert (found.holders, found.total, found.exceptions) == (use.holders, use.total, use.exceptions)


def test_what_the_fence_does_not_cover_does_not_count() -> None:
    store = MemoryStore()
    cache = SlotCache(store, lambda _: -1)
    cache.slot("7", "a", SLOT).hold("x", 1)
    write(cache, store, 5)
    assert SlotCache(store, lambda _: 4).slot("7", "a", SLOT).total == 0
    assert SlotCache(store, lambda _: 5).slot("7", "a", SLOT).total == 1


def test_owners_with_zero_bytes_do_not_meet() -> None:
    store = MemoryStore()
    cache = SlotCache(store, lambda _: 9)
    cache.slot("7", "a\0b", SLOT).hold("x", 1)
    write(cache, store, 1)
    assert SlotCache(store, lambda _: 9).slot("7", "a", SLOT).total == 0
    assert SlotCache(store, lambda _: 9).slot("7", "a\0b", SLOT).total == 1
