"""What the writer puts into the tables, and that writing it again changes nothing."""

import datetime as dt
import random
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any

import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.schemas import attribution
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import ChargeWay, ItemState, RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.topics import LICENSE_COUNTERS, USAGE_REJECTED
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.records import Record
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter
from tests.unit.sinks.records import FakeRecord, attribution_row, columns

pytestmark = pytest.mark.integration

UPDATED = dt.datetime(2031, 3, 8, 14, 15, tzinfo=dt.UTC)


class Tables:
    def __init__(self, target: ClickHouseTarget) -> None:
        self._writer = ClickHouseWriter(target)
        self._client = target.connect(final=1)

    async def write(self, records: Iterable[Record]) -> None:
        batch = RowBatch()
        for record in records:
            batch.add(record)
        assert batch.undecodable == []
        await self._writer.write(batch.tables())

    def read(self, sql: str) -> list[dict[str, Any]]:
        return list(self._client.query(sql, tz_mode="aware").named_results())

    async def close(self) -> None:
        await self._writer.close()
        self._client.close()


@pytest.fixture
async def tables(clickhouse: EmbeddedClickHouse, database: str) -> AsyncIterator[Tables]:
    tables = Tables(ClickHouseTarget(clickhouse.url, database=database))
    yield tables
    await tables.close()


def blocks(rows: list[dict[str, Any]]) -> list[FakeRecord]:
    return [FakeRecord(block) for block in attribution.encode_blocks(columns(rows))]


async def test_every_column_is_stored(tables: Tables) -> None:
    row = attribution_row()
    await tables.write(blocks([row]))
    assert tables.read("SELECT * EXCEPT ingested_at FROM usage_attributed") == [row]


async def test_rows_written_again_in_other_batches_count_once(tables: Tables) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    random_ = random.Random(seed)
    rows = [
        attribution_row(
            project_id=f"acme-{number % 7}",
            item_id=f"L1-{number % 3}",
            slot=dt.datetime(2031, 1 + number % 3, 28, tzinfo=dt.UTC),
            quantity=number,
            source_offset=number // 2,
            line=number % 2,
        )
        for number in range(5_000)
    ]
    for _ in range(4):
        at = 0
        while at < len(rows):
            size = random_.randrange(1, 3_000)
            await tables.write(blocks(rows[max(0, at - random_.randrange(500)) : at + size]))
            at += size
    total = "SELECT count() AS rows, sum(quantity) AS quantity, countIf(line = 0) AS reports FROM usage_attributed"
    assert tables.read(total) == [{"rows": 5_000, "quantity": sum(range(5_000)), "reports": 2_500}]


def item(**changes: Any) -> FakeRecord:
    values = {
        "organization_id": "acme",
        "source_partition": 3,
        "applied_offset": 10,
        "updated_at": UPDATED,
        "item_id": "L1-1",
        "charge_way": ChargeWay.PER_SCAN,
        "quota": 1000,
        "used": 999,
        "in_quota": 900,
        "in_grace": 90,
        "over": 9,
        "percent": "99.90",
        "state": ItemState.GRACE,
        "in_expiry_grace": True,
    }
    record = ItemCounters.model_validate(values | changes)
    return FakeRecord(record.model_dump_json().encode(), topic=LICENSE_COUNTERS.name)


async def test_item_counters_are_stored(tables: Tables) -> None:
    await tables.write([item(), item(item_id="L1-2", quota=None, percent=None)])
    first, second = tables.read("SELECT * EXCEPT ingested_at FROM license_counters ORDER BY item_id")
    assert first["percent"] == Decimal("99.90")
    assert (first["quota"], first["used"], first["state"], first["charge_way"]) == (1000, 999, "grace", "per_scan")
    assert (first["in_expiry_grace"], first["updated_at"]) == (True, UPDATED)
    assert (second["quota"], second["percent"]) == (None, None)


async def test_older_counters_never_replace_newer_ones(tables: Tables) -> None:
    for offset in (12, 10, 11, 12, 3):
        await tables.write([item(applied_offset=offset, used=offset)])
    await tables.write([item(applied_offset=offset, used=offset) for offset in (5, 12, 2)])
    assert tables.read("SELECT used, applied_offset FROM license_counters") == [{"used": 12, "applied_offset": 12}]


async def test_organization_counters_are_kept_for_each_partition(tables: Tables) -> None:
    def record(partition: int, offset: int, rejected: int) -> FakeRecord:
        counters = OrganizationCounters(
            organization_id="", source_partition=partition, applied_offset=offset, updated_at=UPDATED,
            charged=0, uncharged=0, duplicate=0, rejected=rejected,
        )  # fmt: skip
        return FakeRecord(counters.model_dump_json().encode(), topic=LICENSE_COUNTERS.name)

    await tables.write([record(0, 5, 5), record(1, 5, 1)])
    await tables.write([record(0, 4, 4), record(1, 6, 2)])
    rows = tables.read("SELECT source_partition, rejected FROM organization_counters ORDER BY source_partition")
    assert rows == [{"source_partition": 0, "rejected": 5}, {"source_partition": 1, "rejected": 2}]


async def test_rejects_are_stored_once_with_their_bytes(tables: Tables) -> None:
    origin = RejectOrigin(RejectReason.NOT_JSON, "no", "usage.events", 5, 77, 1_930_000_000_123)
    payload = bytes(range(256))
    ours = FakeRecord(
        payload, topic=USAGE_REJECTED.name, key=b"\xff\x00", headers=reject_headers(origin, [("h", b"\xfe")]), offset=1
    )
    foreign = FakeRecord(None, topic=USAGE_REJECTED.name, offset=2)
    for _ in range(2):
        await tables.write([ours, foreign])
    rows = tables.read(
        "SELECT reason, source_topic, source_offset, hex(key) AS key, key IS NULL AS no_key, hex(payload) AS payload, "
        "payload IS NULL AS no_payload, payload_bytes, arrayMap(h -> (h.1, hex(h.2)), headers) AS headers "
        "FROM usage_rejected ORDER BY source_topic"
    )
    assert rows == [
        {
            "reason": "not_json", "source_topic": "usage.events", "source_offset": 77, "key": "FF00", "no_key": 0,
            "payload": payload.hex().upper(), "no_payload": 0, "payload_bytes": 256, "headers": [("h", "FE")],
        },
        {
            "reason": "undecodable", "source_topic": "usage.rejected", "source_offset": 2, "key": None, "no_key": 1,
            "payload": None, "no_payload": 1, "payload_bytes": 0, "headers": [],
        },
    ]  # fmt: skip


async def test_a_batch_of_rejects_from_all_times_can_be_written(tables: Tables) -> None:
    """Their month is their partition, and a server refuses an insert into more than 100 by default."""
    month_ms = 31 * 86_400_000
    await tables.write(
        FakeRecord(b"", topic=USAGE_REJECTED.name, offset=month + 1, timestamp=month * month_ms)
        for month in range(-1, 300)
    )
