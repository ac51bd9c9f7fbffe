"""Exactly once: against a store that refuses, fails, breaks off or keeps silent, rebalances, and a sink come back."""

import asyncio
import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.topics import USAGE_ATTRIBUTED
from licmeter.sinks.stats import SinkStats
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.clickhouse_fixture import Engine
from tests.integration.faulty_proxy import Fault, FaultyProxy
from tests.integration.sink_stage import WAIT_S_MAX, Running, Stage, stage_on, topics
from tests.integration.sink_traffic import QUESTIONS, ROUND_ROWS, Traffic

__all__ = ["topics"]

pytestmark = pytest.mark.integration

ROUNDS = 60
#: A flush has up to ten inserts, and a new connection some questions more: most flushes meet a fault or two.
SHARES = {Fault.REFUSED: 0.01, Fault.ERROR: 0.02, Fault.HALF: 0.02, Fault.SILENT: 0.02, Fault.CUT: 0.02}
ANSWER_TIMEOUT_S = 1
MISSES_MAX = 100


class Watch:
    """Looks at committed offsets and at the rows, again and again, by ways of its own."""

    def __init__(self, stage: Stage, traffic: Traffic, admin: AIOKafkaAdminClient) -> None:
        self._stage = stage
        self._traffic = traffic
        self._admin = admin
        self._client = stage.config.target.connect(final=1)
        self.committed: dict[TopicPartition, int] = {}
        self.looks = 0
        self.misses = 0

    def close(self) -> None:
        self._client.close()

    async def offsets(self) -> dict[TopicPartition, int]:
        found = await self._admin.list_consumer_group_offsets(self._stage.config.group_id)
        return {partition: each.offset for partition, each in found.items() if each.offset >= 0}

    async def look(self) -> None:
        """What is committed is in the store, and nobody takes a commit back."""
        committed = await self.offsets()
        for partition, offset in self.committed.items():
            assert committed[partition] >= offset, f"{partition} went back from {offset} to {committed[partition]}"
        self.committed = committed
        number = f"intDiv(source_offset, {ROUND_ROWS})"
        sql = f"SELECT {number} FROM usage_attributed GROUP BY {number} HAVING count() = {ROUND_ROWS}"
        stored = {number for (number,) in (await asyncio.to_thread(self._client.query, sql)).result_rows}
        for (partition, offset), number in list(self._traffic.places.items()):
            if offset < committed.get(TopicPartition(USAGE_ATTRIBUTED.name, partition), 0):
                assert number in stored, f"round {number} is committed, and not stored"
        self.looks += 1

    async def keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except KafkaError:  # the group's coordinator is not known yet
                self.misses += 1
                assert self.misses < MISSES_MAX
            await asyncio.sleep(0.05)

    async def all_committed(self) -> bool:
        """Whether the sinks have nothing left to read of what was sent."""
        offsets = await self.offsets()
        ends = await self._stage.ends()
        return all(offsets.get(partition, 0) == end for partition, end in ends.items())


@asynccontextmanager
async def watching(stage: Stage, traffic: Traffic) -> AsyncIterator[Watch]:
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.config.bootstrap_servers)
    await admin.start()
    watch = Watch(stage, traffic, admin)
    looking = asyncio.create_task(watch.keep_looking())
    try:
        yield watch
        assert not looking.done(), looking.exception()
        assert watch.looks > 3
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        watch.close()
        await admin.close()


@pytest.fixture
async def stage(kafka: EmbeddedKafka, clickhouse: Engine, database: str, topics: None) -> AsyncIterator[Stage]:
    async with stage_on(kafka, clickhouse.target(database)) as made:
        yield made


@contextmanager
def faults(stage: Stage, shares: Mapping[Fault, float]) -> Iterator[tuple[FaultyProxy, ClickHouseTarget]]:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # pytest shows it when the test fails
    target = stage.config.target
    with FaultyProxy(target.port, seed, shares) as proxy:
        yield proxy, dataclasses.replace(target, url=proxy.url, answer_timeout_s=ANSWER_TIMEOUT_S)


def answers(stage: Stage) -> dict[str, list[tuple[Any, ...]]]:
    client = stage.config.target.connect(final=1)
    try:
        return {
            table: sorted(tuple(row) for row in client.query(sql, tz_mode="aware").result_rows)
            for table, sql in QUESTIONS.items()
        }
    finally:
        client.close()


async def until_exact(stage: Stage, traffic: Traffic, watch: Watch) -> None:
    """All is committed, and every table holds what was sent, once."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not await watch.all_committed():  # noqa: ASYNC110  # other processes do it
            await asyncio.sleep(0.1)
    found, expected = answers(stage), traffic.expected()
    for table in QUESTIONS:
        assert found[table] == expected[table], table


async def test_a_store_that_refuses_fails_breaks_off_or_answers_too_late(stage: Stage) -> None:
    traffic = Traffic(stage)
    with faults(stage, SHARES) as (proxy, target):
        async with Running(stage, target=target), watching(stage, traffic) as watch, asyncio.timeout(4 * WAIT_S_MAX):
            while traffic.rounds < ROUNDS or min(proxy.faults[fault] for fault in Fault) < 2:
                await traffic.send()
                await asyncio.sleep(0.05)
            proxy.shares = {}  # so that it comes to an end
            await until_exact(stage, traffic, watch)
        print(proxy.requests, proxy.faults, stage.stats)
        # Reading questions are asked again by the client itself, and a port that is closed refuses more than once.
        assert stage.stats.retries >= len(Fault)
    assert stage.stats.rows_written["usage_attributed"] >= traffic.rounds * ROUND_ROWS


async def test_sinks_that_join_and_leave_again_and_again(stage: Stage) -> None:
    """Static members, as `licmeter sink` are, before a store that fails now and then."""
    traffic = Traffic(stage)
    with faults(stage, {Fault.ERROR: 0.01, Fault.CUT: 0.01}) as (_, target):
        others = []

        async def come_and_go(number: int) -> None:
            for _ in range(3):
                other = Running(stage, stats=SinkStats(), target=target, instance_id=f"sink-{number}")
                async with other:
                    others.append(other.stats)
                    written = traffic.rounds + random.randrange(10, 20)
                    await stage.until(lambda wanted=written: traffic.rounds > wanted)  # type: ignore[misc]

        async with Running(stage, target=target, instance_id="sink-0"), watching(stage, traffic) as watch:
            rebalancing = asyncio.gather(come_and_go(1), come_and_go(2))
            while not rebalancing.done():
                await traffic.send()
                await asyncio.sleep(0.05)
            await rebalancing
            await until_exact(stage, traffic, watch)
    print(stage.stats, others)
    assert sum(each.batches > 0 for each in others) >= 2


ZOMBIE = """
    import asyncio, logging, sys
    from licmeter.sinks.sink import SinkConfig, run_sink
    from licmeter.sinks.stats import SinkStats
    from licmeter.sinks.target import ClickHouseTarget
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bootstrap, group, *target = sys.argv[1:]
    config = SinkConfig(bootstrap, ClickHouseTarget(*target), group_id=group, instance_id="sink-zombie",
                        flush_interval_s=0.1, session_timeout_s=6.0, stats_interval_s=0.2)
    asyncio.run(run_sink(config, asyncio.Event()))
"""


@asynccontextmanager
async def zombie(stage: Stage, url: str, log: Path) -> AsyncIterator["subprocess.Popen[bytes]"]:
    config, target = stage.config, stage.config.target
    command = [sys.executable, "-c", textwrap.dedent(ZOMBIE), config.bootstrap_servers, config.group_id]
    command += [url, target.database, target.username, target.password]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output)  # noqa: ASYNC220  # returns at once
    try:
        yield process
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.mark.parametrize("alone", [False, True], ids=["the-other-stays", "the-other-has-left"])
async def test_a_sink_that_was_dead_for_the_group_changes_nothing_when_it_wakes(
    stage: Stage, tmp_path: Path, alone: bool
) -> None:
    """Its insert arrives when another sink has written that and newer states, and its commit comes after theirs.

    When the other has left too, the group has no member that could object to the commit.
    """
    traffic = Traffic(stage)
    with faults(stage, {}) as (proxy, _):
        async with zombie(stage, proxy.url, tmp_path / "log") as process, watching(stage, traffic) as watch:
            await traffic.send(5)
            await stage.until(lambda: len(stage.read("SELECT 1 FROM license_counters")) == 3)
            proxy.holding = b"license_counters"
            async with asyncio.timeout(WAIT_S_MAX):
                while not proxy.held:
                    await traffic.send()
                    await asyncio.sleep(0.05)
            os.kill(process.pid, signal.SIGSTOP)
            async with Running(stage, instance_id="sink-other"):
                await traffic.send(20)
                await until_exact(stage, traffic, watch)  # the session of the stopped one has ended by then
                if not alone:
                    await _wake(proxy, process, stage, traffic, watch)
            if alone:
                await _wake(proxy, process, stage, traffic, watch)


async def _wake(
    proxy: FaultyProxy, process: "subprocess.Popen[bytes]", stage: Stage, traffic: Traffic, watch: Watch
) -> None:
    before = answers(stage)
    proxy.released = True
    requests = proxy.requests
    await stage.until(lambda: proxy.answered >= proxy.held)
    assert answers(stage) == before, "a late insert changed something"
    os.kill(process.pid, signal.SIGCONT)
    await stage.until(lambda: proxy.requests > requests)
    await traffic.send(5)
    await until_exact(stage, traffic, watch)
