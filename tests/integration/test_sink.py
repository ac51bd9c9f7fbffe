"""The sink between the real broker and the real engine: rows are exact, whatever is killed in mid stream."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.schemas.authorization_rows import AUTHORIZATIONS_KEY
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_COUNTERS, USAGE_ATTRIBUTED, USAGE_REJECTED
from licmeter.sinks.migrate import migrate
from licmeter.sinks.stats import SinkStats
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.clickhouse_fixture import Engine
from tests.integration.sink_stage import BLOCK_ROWS, WAIT_S_MAX, Running, Stage, stage_on, topics
from tests.unit.sinks.records import (
    alert_record,
    authorization_blocks,
    authorization_row,
    breach,
    counters_record,
    item_counters,
    usage_alert,
)

__all__ = ["topics"]

pytestmark = pytest.mark.integration


@pytest.fixture
async def stage(kafka: EmbeddedKafka, clickhouse: Engine, database: str, topics: None) -> AsyncIterator[Stage]:
    async with stage_on(kafka, clickhouse.target(database)) as made:
        yield made


async def test_every_topic_reaches_its_table(stage: Stage) -> None:
    counters = counters_record(item_counters(used=5))
    origin = RejectOrigin(RejectReason.TOO_OLD, "", "usage.events", 1, 9, 1_930_000_000_000)
    async with Running(stage):
        await stage.send_blocks(0, 3)
        await stage.send(LICENSE_COUNTERS, counters.value, key=counters.key)
        await stage.send(LICENSE_COUNTERS, None, key=counters.key)
        await stage.send(USAGE_REJECTED, b"{}", key=b"acme", headers=reject_headers(origin, []))
        await stage.until(lambda: stage.counts() == (150, 150))
        await stage.until(lambda: stage.read("SELECT used FROM license_counters") == [(5,)])
        await stage.until(lambda: stage.read("SELECT reason, source_offset FROM usage_rejected") == [("too_old", 9)])


async def test_authorizations_breaches_and_alerts_that_come_twice_are_stored_once(stage: Stage) -> None:
    authorizations = authorization_blocks([authorization_row(source_offset=offset) for offset in range(3)])
    alerts = [alert_record(breach()), alert_record(usage_alert())]
    wanted = {"authorizations": 3, "breaches": 1, "usage_alerts": 1}
    async with Running(stage):
        for _ in range(2):
            for record in authorizations:
                await stage.send(USAGE_ATTRIBUTED, record.value, key=record.key, partition=0)
            for record in alerts:
                await stage.send(LICENSE_ALERTS, record.value, key=record.key)
        await stage.until(lambda: stage.stats.rows_written == {table: 2 * rows for table, rows in wanted.items()})
    for table, rows in wanted.items():
        assert stage.read(f"SELECT count() FROM {table}") == [(rows,)]
    assert stage.stats.forwarded == 0


async def test_undecodable_records_go_round_by_the_rejects_and_foreign_rejects_do_not(stage: Stage) -> None:
    await stage.send(USAGE_ATTRIBUTED, b"no block", partition=1, key=b"\xff", headers=[("h", b"v")])
    await stage.send(USAGE_ATTRIBUTED, None, partition=1, key=b"acme")
    await stage.send(USAGE_ATTRIBUTED, b"no block", partition=0, key=AUTHORIZATIONS_KEY)
    await stage.send(LICENSE_COUNTERS, b"{}", partition=0, key=b"acme")
    await stage.send(LICENSE_ALERTS, b"{}", partition=1, key=b"acme")
    await stage.send(LICENSE_ALERTS, None, partition=1, key=b"acme")
    await stage.send(USAGE_REJECTED, b"whatever", partition=0)
    await stage.send_blocks(0, 1)
    wanted = [
        ("license.alerts", 1, 0, "invalid_schema", b"{}".hex()),
        ("license.alerts", 1, 1, "invalid_schema", None),
        ("license.counters", 0, 0, "invalid_schema", b"{}".hex()),
        ("usage.attributed", 0, 0, "invalid_schema", b"no block".hex()),
        ("usage.attributed", 1, 0, "invalid_schema", b"no block".hex()),
        ("usage.attributed", 1, 1, "invalid_schema", None),
        ("usage.rejected", 0, 0, "undecodable", b"whatever".hex()),
    ]
    sql = (
        "SELECT source_topic, source_partition, source_offset, reason, lower(hex(payload)) FROM usage_rejected "
        "ORDER BY source_topic, source_partition, source_offset"
    )
    async with Running(stage):
        await stage.until(lambda: stage.read(sql) == wanted)
        await stage.until(lambda: stage.counts() == (50, 50))
    assert stage.stats.forwarded == 6


async def test_a_restarted_sink_goes_on_where_it_committed(stage: Stage) -> None:
    async with Running(stage):
        await stage.send_blocks(0, 5)
        await stage.until(lambda: stage.counts() == (250, 250))
    written = stage.stats.rows_written.total()
    await stage.send_blocks(5, 1)
    async with Running(stage):
        await stage.until(lambda: stage.counts() == (300, 300))
    assert stage.stats.rows_written.total() == written + 50


async def test_clickhouse_killed_and_restarted_in_mid_stream(
    kafka: EmbeddedKafka, topics: None, tmp_path: Path
) -> None:
    with EmbeddedClickHouse(ClickHouseSettings(port=0), tmp_path) as clickhouse:
        target = ClickHouseTarget(clickhouse.url, "licmeter")
        migrate(target)
        async with stage_on(kafka, target) as stage, Running(stage):
            await stage.send_blocks(0, 20)
            await stage.until(lambda: stage.counts()[0] > 0)
            clickhouse.kill()
            sending = asyncio.create_task(stage.send_blocks(20, 40))
            await stage.until(lambda: stage.stats.retries >= 3)
            await sending
            await asyncio.to_thread(clickhouse.start)
            await stage.until(lambda: stage.counts() == (3_000, 3_000))


SINK = """
    import asyncio, sys
    from licmeter.sinks.sink import SinkConfig, run_sink
    from licmeter.sinks.target import ClickHouseTarget
    bootstrap, group, *target = sys.argv[1:]
    config = SinkConfig(bootstrap, ClickHouseTarget(*target), group_id=group, flush_interval_s=0.05,
                        batch_rows_max=100, session_timeout_s=6.0)
    asyncio.run(run_sink(config, asyncio.Event()))
"""


async def test_sinks_killed_in_mid_stream(stage: Stage) -> None:
    config = stage.config
    command = [sys.executable, "-c", textwrap.dedent(SINK), config.bootstrap_servers]
    target = config.target
    command += [config.group_id, target.url, target.database, target.username, target.password]
    sending = asyncio.create_task(stage.send_blocks(0, 400))
    for kills in range(1, 4):
        process = subprocess.Popen(command)  # noqa: ASYNC220  # returns at once
        try:
            await stage.until(lambda wanted=kills * 2_000: stage.counts()[0] >= wanted)  # type: ignore[misc]
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    await sending
    async with Running(stage):
        await stage.until(lambda: stage.counts() == (20_000, 20_000))


async def test_a_second_sink_takes_its_share_and_nothing_is_lost(stage: Stage) -> None:
    """It joins, and leaves, while blocks are sent and gathered."""
    second = Running(stage, stats=SinkStats())
    sent = 0

    async def send_until(enough: Callable[[], bool]) -> None:
        nonlocal sent
        while not enough():
            await stage.send_blocks(sent, 1)
            sent += 1

    async with Running(stage), asyncio.timeout(WAIT_S_MAX):
        await send_until(lambda: stage.stats.batches > 1)
        async with second:
            await send_until(lambda: second.stats.batches > 1)
            shared = stage.stats.batches
            await send_until(lambda: stage.stats.batches > shared)
        gone = stage.stats.batches
        await send_until(lambda: stage.stats.batches > gone + 1)
        rows = sent * BLOCK_ROWS
        await stage.until(lambda: stage.counts() == (rows, rows))
