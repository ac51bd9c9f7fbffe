"""The ten-minute check in the stream: alerts first, then the levels; one message for an organization and check."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.stream.batch import process_batch
from licmeter.stream.checks import LevelBook, check_partition, latest_check
from licmeter.stream.errors import FlushAbandonedError
from licmeter.stream.flush import flush
from licmeter.stream.outputs import MemoryOutputs
from licmeter.stream.partition import PartitionState, load_partition
from licmeter.stream.store import LEVELS, MemoryStore
from tests.support.build import RECEIVED, catalog_record, item, ms, organization, record, report

CHECK = ms(RECEIVED + timedelta(minutes=9))
INTERVAL = 600_000


def counted(used: int) -> tuple[MemoryStore, PartitionState]:
    store = MemoryStore()
    state = load_partition(0, store, 32)
    log = [catalog_record(organization(item(quota=100)), 0), record(report(counts={"qr": used}), 1)]
    asyncio.run(flush(process_batch(log, state, DEFAULT_LIMITS), state, MemoryOutputs(), lambda: True))
    return store, state


def alerts(outputs: MemoryOutputs) -> list[dict[str, Any]]:
    sent = outputs.sent.get(LICENSE_ALERTS.name, [])
    return [json.loads(each.value or b"")["data"] for each in sent]


def test_w1_checks_are_at_full_ten_minutes() -> None:
    assert latest_check(CHECK) == CHECK
    assert latest_check(CHECK + INTERVAL - 1) == CHECK
    assert CHECK % INTERVAL == 0


def test_w5_w6_a_level_is_said_once_also_after_a_restart() -> None:
    store, state = counted(85)
    outputs = MemoryOutputs()
    assert asyncio.run(check_partition(state, LevelBook(state), CHECK, outputs, lambda: True)) == 1
    (alert,) = alerts(outputs)
    (condition,) = alert["conditions"]
    assert (condition["level"], condition["crossed"], condition["value"]) == (80, [60, 80], 85)
    again = load_partition(0, store, 32)
    for check_ms in (CHECK, CHECK + INTERVAL):
        assert asyncio.run(check_partition(again, LevelBook(again), check_ms, outputs, lambda: True)) == 0
    assert len(alerts(outputs)) == 1


def test_w12_a_crash_before_the_levels_are_written_repeats_the_alert() -> None:
    class Dying(MemoryStore):
        async def write(self, table: str, changes: Any) -> None:
            if table == LEVELS:
                raise ConnectionError
            await super().write(table, changes)

    store, state = counted(85)
    dying = Dying()
    dying.tables = store.tables
    outputs = MemoryOutputs()
    broken = load_partition(0, dying, 32)
    with pytest.raises(ConnectionError):
        asyncio.run(check_partition(broken, LevelBook(broken), CHECK, outputs, lambda: True))
    asyncio.run(check_partition(state, LevelBook(state), CHECK, outputs, lambda: True))
    first, second = alerts(outputs)
    assert first == second


def test_only_the_latest_levels_are_kept() -> None:
    store, state = counted(65)
    levels, outputs = LevelBook(state), MemoryOutputs()
    asyncio.run(check_partition(state, levels, CHECK, outputs, lambda: True))
    log = [record(report("r2", counts={"qr": 35}), 2)]
    asyncio.run(flush(process_batch(log, state, DEFAULT_LIMITS), state, MemoryOutputs(), lambda: True))
    asyncio.run(check_partition(state, levels, CHECK + INTERVAL, outputs, lambda: True))
    assert [alert["conditions"][0]["crossed"] for alert in alerts(outputs)] == [[60], [80, 100]]
    assert len(store.tables[LEVELS]) == 1


def test_nothing_is_sent_for_a_partition_that_was_taken_away() -> None:
    _, state = counted(85)
    outputs = MemoryOutputs()
    with pytest.raises(FlushAbandonedError):
        asyncio.run(check_partition(state, LevelBook(state), CHECK, outputs, lambda: False))
    assert not alerts(outputs)


def test_w11_a_missed_check_is_not_made_up() -> None:
    _, state = counted(85)
    levels, outputs = LevelBook(state), MemoryOutputs()
    assert asyncio.run(check_partition(state, levels, CHECK + 10 * INTERVAL, outputs, lambda: True)) == 1
    assert asyncio.run(check_partition(state, levels, CHECK, outputs, lambda: True)) == 0
