"""One contract over all adapters of `PartitionStore`, and of `DuplicateMemory`; and what only durable ones promise."""

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from licmeter.metering.duplicates import DictMemory
from licmeter.schemas.topics import changelog_name
from licmeter.stream.app import make_app
from licmeter.stream.config import StreamConfig
from licmeter.stream.kafka import OffsetRange
from licmeter.stream.outputs import OutputRecord
from licmeter.stream.seen import SeenIndex
from licmeter.stream.segments import day_bound, segment_key
from licmeter.stream.store import CATALOGS, ORGANIZATIONS, SEEN, Change, MemoryStore, PartitionStore, record_key
from licmeter.stream.tables import FaustStore

PARTITION = 1
A5, A6, B5 = record_key("a", 5), record_key("a", 6), record_key("b", 5)


class StandInWriter:
    """Keeps changelogs in memory, as the broker would; others may write to them too."""

    def __init__(self) -> None:
        self.logs: dict[TP, list[OutputRecord | None]] = {}
        self.fails = False
        self.others_write_within = False

    def somebody_writes(self, topic: str) -> None:
        self.logs.setdefault(TP(topic, PARTITION), []).append(None)

    async def append(self, topic: str, partition: int, records: Iterable[OutputRecord]) -> OffsetRange:
        if self.fails:
            raise ConnectionError("no broker")
        log, records = self.logs.setdefault(TP(topic, partition), []), list(records)
        first = len(log)
        log.extend(records[:1])
        if self.others_write_within:
            log.append(None)
        log.extend(records[1:])
        return OffsetRange(first=first, last=len(log) - 1, count=len(records))


class Durable:
    """Opens the Faust tables of a folder, without a broker."""

    def __init__(self, folder: Path) -> None:
        self.writer = StandInWriter()
        self._config = StreamConfig(bootstrap_servers="127.0.0.1:9", partitions=2, data_dir=folder)
        self.tables = dict(make_app(self._config).tables)

    def store(self, partition: int = PARTITION) -> FaustStore:
        return FaustStore(self.tables, partition, self.writer)

    def complete_to(self, table: str) -> int | None:
        offset: int | None = self.tables[table].data.persisted_offset(TP(changelog_name(table), PARTITION))
        return offset

    def close(self) -> None:
        for table in self.tables.values():
            table.data._dbs.clear()  # as faust.stores.rocksdb.Store.stop does: there is no other way to close

    def reopen(self) -> None:
        self.close()
        self.tables = dict(make_app(self._config).tables)


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[Durable]:
    # Async, because a Faust app takes the running loop; otherwise it makes one that nobody closes.
    tables = Durable(tmp_path)
    yield tables
    tables.close()


@pytest.fixture(params=[MemoryStore, FaustStore], ids=lambda kind: kind.__name__)
def store(request: pytest.FixtureRequest, durable: Durable) -> PartitionStore:
    return MemoryStore() if request.param is MemoryStore else durable.store()


class TestPartitionStore:
    def test_begins_empty(self, store: PartitionStore) -> None:
        for table in (ORGANIZATIONS, CATALOGS, SEEN):
            assert store.get(table, A5) is None
            assert list(store.items(table)) == []

    async def test_returns_what_was_written(self, store: PartitionStore) -> None:
        await store.write(ORGANIZATIONS, [(A5, b"one"), (B5, b"")])
        assert store.get(ORGANIZATIONS, A5) == b"one"
        assert store.get(ORGANIZATIONS, B5) == b""
        assert store.get(ORGANIZATIONS, A6) is None

    async def test_keeps_tables_apart(self, store: PartitionStore) -> None:
        await store.write(ORGANIZATIONS, [(A5, b"one")])
        await store.write(CATALOGS, [(A5, b"two")])
        assert [store.get(table, A5) for table in (ORGANIZATIONS, CATALOGS, SEEN)] == [b"one", b"two", None]

    async def test_iterates_in_the_order_of_keys(self, store: PartitionStore) -> None:
        keys = [record_key(name, offset) for name in ("", "a", "ab", "é") for offset in (0, 255, 256, 2**40)]
        await store.write(ORGANIZATIONS, [(key, b"v") for key in reversed(keys)])
        assert [key for key, _ in store.items(ORGANIZATIONS)] == sorted(keys) == keys

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [(b"a\0", [A5, A6]), (b"a", [A5, A6, record_key("ab", 1)]), (b"b\0", [B5]), (b"c", []), (b"\xff", [])],
    )
    async def test_iterates_over_a_prefix(self, store: PartitionStore, prefix: bytes, expected: list[bytes]) -> None:
        await store.write(ORGANIZATIONS, [(key, key) for key in (B5, record_key("ab", 1), A6, A5)])
        assert list(store.items(ORGANIZATIONS, prefix)) == [(key, key) for key in expected]

    @pytest.mark.parametrize(
        ("changes", "left"),
        [
            ([(A6, b"new"), (A5, None)], [(A6, b"new")]),
            ([(A5, None), (A5, b"again")], [(A5, b"again")]),
            ([(A6, b"new"), (A6, None)], [(A5, b"old")]),
            ([(B5, None)], [(A5, b"old")]),
            ([(A5, b"other")], [(A5, b"other")]),
        ],
        ids=["replace", "delete, then put", "put, then delete", "delete what is not there", "put again"],
    )
    async def test_makes_changes_in_their_order(
        self, store: PartitionStore, changes: list[Change], left: list[Change]
    ) -> None:
        await store.write(CATALOGS, [(A5, b"old")])
        await store.write(CATALOGS, changes)
        assert list(store.items(CATALOGS)) == left

    @pytest.mark.parametrize(("below", "left"), [(0, 4), (20_000, 4), (20_001, 2), (20_002, 1), (30_000, 0)])
    async def test_forgets_what_is_below(self, store: PartitionStore, below: int, left: int) -> None:
        keys = [segment_key(day, o, o, b"") for day, o in ((20_000, 1), (20_000, 2), (20_001, 3), (20_002, 0))]
        await store.write(SEEN, [(key, b"v") for key in keys])
        store.forget(SEEN, day_bound(below))
        assert [key for key, _ in store.items(SEEN)] == keys[4 - left :]


KEYS = st.builds(record_key, st.sampled_from(["", "a", "b"]), st.integers(0, 3))
WRITES = st.lists(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2)), max_size=5), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, prefix=st.sampled_from([b"", b"\0", b"a\0", b"b"]))
async def test_both_adapters_answer_alike(durable: Durable, writes: list[list[Change]], prefix: bytes) -> None:
    memory, real = MemoryStore(), durable.store()
    await real.write(CATALOGS, [(key, None) for key, _ in real.items(CATALOGS)])  # of the example before
    for changes in writes:
        await memory.write(CATALOGS, changes)
        await real.write(CATALOGS, changes)
    assert list(real.items(CATALOGS, prefix)) == list(memory.items(CATALOGS, prefix))


class TestDurableStore:
    async def test_writes_the_changelog_first(self, durable: Durable) -> None:
        await durable.store().write(CATALOGS, [(A5, b"one"), (B5, None)])
        log = durable.writer.logs[TP(changelog_name(CATALOGS), PARTITION)]
        assert log == [OutputRecord(A5, b"one"), OutputRecord(B5, None)]

    async def test_keeps_nothing_that_the_broker_does_not_have(self, durable: Durable) -> None:
        durable.writer.fails = True
        with pytest.raises(ConnectionError):
            await durable.store().write(CATALOGS, [(A5, b"one")])
        assert durable.store().get(CATALOGS, A5) is None
        assert durable.complete_to(CATALOGS) is None

    async def test_forgets_here_only(self, durable: Durable) -> None:
        store = durable.store()
        await store.write(SEEN, [(segment_key(20_000, 1, 1, b""), b"v")])
        store.forget(SEEN, day_bound(20_001))
        assert len(durable.writer.logs[TP(changelog_name(SEEN), PARTITION)]) == 1
        assert durable.complete_to(SEEN) == 0  # the mark is no record: forgetting leaves it

    async def test_keeps_partitions_apart(self, durable: Durable) -> None:
        await durable.store(0).write(CATALOGS, [(A5, b"one")])
        assert (durable.store(1).get(CATALOGS, A5), durable.complete_to(CATALOGS)) == (None, None)

    async def test_is_as_it_was_when_opened_again(self, durable: Durable) -> None:
        await durable.store().write(CATALOGS, [(A5, b"one"), (A6, b"two"), (A5, None)])
        durable.reopen()
        assert list(durable.store().items(CATALOGS)) == [(A6, b"two")]
        assert durable.complete_to(CATALOGS) == 2


def write_one(durable: Durable) -> None:
    durable.writer.somebody_writes(changelog_name(CATALOGS))


def write_within(durable: Durable) -> None:
    durable.writer.others_write_within = True


class TestHowFarTheLocalCopyIsComplete:
    """Recovery reads from the mark: beyond a record of somebody else it would be lost here for ever."""

    async def test_moves_over_its_own_writes(self, durable: Durable) -> None:
        marks = []
        for size in (3, 1, 2):
            await durable.store().write(CATALOGS, [(A5, b"v")] * size)
            marks.append(durable.complete_to(CATALOGS))
        assert marks == [2, 3, 5]

    @pytest.mark.parametrize("happens", [write_one, write_within], ids=["before", "within"])
    async def test_stands_where_somebody_else_wrote(self, durable: Durable, happens: Callable[[Durable], None]) -> None:
        await durable.store().write(CATALOGS, [(A5, b"v")])
        happens(durable)
        for value in (b"w", b"x"):
            await durable.store().write(CATALOGS, [(A5, value), (A6, value)])
            assert durable.complete_to(CATALOGS) == 0
        assert durable.store().get(CATALOGS, A5) == b"x", "the records are here all the same"

    async def test_does_not_begin_where_somebody_else_began(self, durable: Durable) -> None:
        write_one(durable)
        await durable.store().write(CATALOGS, [(A5, b"v")])
        assert durable.complete_to(CATALOGS) is None

    async def test_moves_on_after_recovery_read_what_was_missing(self, durable: Durable) -> None:
        write_one(durable)
        await durable.store().write(CATALOGS, [(A5, b"v")])
        durable.tables[CATALOGS].data.set_persisted_offset(TP(changelog_name(CATALOGS), PARTITION), 1)
        await durable.store().write(CATALOGS, [(A6, b"v")])
        assert durable.complete_to(CATALOGS) == 2


#: Few identities, so that they meet again; with halves in common, as runs are sorted by the first half alone.
IDENTITIES = st.builds(lambda high, low: bytes([high]) * 8 + bytes([low]) * 8, st.integers(0, 2), st.integers(0, 3))
REPORTS = st.lists(st.tuples(IDENTITIES, st.sampled_from([b"content1", b"content2"])), max_size=8)


@given(batches=st.lists(st.tuples(st.integers(0, 2), REPORTS), max_size=8), fresh_max=st.integers(0, 4))
def test_memories_of_reports_answer_alike(batches: list[tuple[int, list[tuple[bytes, bytes]]]], fresh_max: int) -> None:
    """Used as `meter_report` does: asked first, and told only what was not known."""
    reference, index, day = DictMemory(3), SeenIndex(3, fresh_max=fresh_max), 20_000
    for days, reports in batches:
        day += days
        index.prefetch([identity for identity, _ in reports])
        for identity, content in reports:
            known = reference.get(identity, day)
            assert index.get(identity, day) == known
            if known is None:
                reference.add(identity, content, day)
                index.add(identity, content, day)
        index.drop_days_before(day - 3)
