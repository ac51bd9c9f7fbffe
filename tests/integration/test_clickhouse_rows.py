"""What the writer puts into the tables, and that writing it again changes nothing."""

import datetime as dt
import random
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any

import pytest

from licmeter.analytics.query import READ_SETTINGS, Query, Rows, run
from licmeter.analytics.usage import ItemCountersQuery, ItemUsage
from licmeter.schemas.alerts import Condition
from licmeter.schemas.outcomes import BreachKind, RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.topics import USAGE_REJECTED
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.records import Record
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter
from tests.integration.clickhouse_fixture import Engine
from tests.unit.sinks.records import (
    RECEIVED,
    SLOT,
    FakeRecord,
    alert_record,
    attribution_blocks,
    attribution_row,
    authorization_blocks,
    authorization_row,
    breach,
    counters_record,
    item_condition,
    item_counters,
    organization_counters,
    project_condition,
    usage_alert,
)

pytestmark = pytest.mark.integration


class Tables:
    def __init__(self, target: ClickHouseTarget) -> None:
        self._writer = ClickHouseWriter(target)
        self._client = target.connect(**READ_SETTINGS)  # partition by partition, as background merges work

    async def write(self, records: Iterable[Record]) -> None:
        batch = RowBatch()
        for record in records:
            batch.add(record)
        assert batch.undecodable == []
        await self._writer.write(batch.tables())

    def read(self, sql: str) -> list[dict[str, Any]]:
        return list(self._client.query(sql, tz_mode="aware").named_results())

    def ask(self, query: Query) -> Rows:
        return run(self._client, query)

    async def close(self) -> None:
        await self._writer.close()
        self._client.close()


@pytest.fixture
async def tables(clickhouse: Engine, database: str) -> AsyncIterator[Tables]:
    tables = Tables(clickhouse.target(database))
    yield tables
    await tables.close()


async def test_every_column_is_stored(tables: Tables) -> None:
    row = attribution_row()
    await tables.write(attribution_blocks([row]))
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
            await tables.write(attribution_blocks(rows[max(0, at - random_.randrange(500)) : at + size]))
            at += size
    total = "SELECT count() AS rows, sum(quantity) AS quantity, countIf(line = 0) AS reports FROM usage_attributed"
    assert tables.read(total) == [{"rows": 5_000, "quantity": sum(range(5_000)), "reports": 2_500}]


async def test_item_counters_are_stored(tables: Tables) -> None:
    limited, unlimited = item_counters(), item_counters(
        item_id="L1-2", quota=None, budget=None, budget_year=None, percent=None
    )  # fmt: skip
    await tables.write([counters_record(limited), counters_record(unlimited)])
    rows = tables.read("SELECT * EXCEPT ingested_at FROM license_counters ORDER BY item_id")
    assert rows == [
        limited.model_dump(exclude={"kind"}) | {"percent": Decimal("99.90")},
        unlimited.model_dump(exclude={"kind"}),
    ]


async def test_older_counters_never_replace_newer_ones(tables: Tables) -> None:
    def item(offset: int) -> FakeRecord:
        return counters_record(item_counters(applied_offset=offset, used=offset))

    for offset in (12, 10, 11, 12, 3):
        await tables.write([item(offset)])
    await tables.write([item(offset) for offset in (5, 12, 2)])
    assert tables.read("SELECT used, applied_offset FROM license_counters") == [{"used": 12, "applied_offset": 12}]


async def test_organization_counters_are_kept_for_each_partition(tables: Tables) -> None:
    def record(partition: int, offset: int, refused: int) -> FakeRecord:
        counters = organization_counters(
            organization_id="", source_partition=partition, applied_offset=offset, refused=refused
        )
        return counters_record(counters)

    await tables.write([record(0, 5, 5), record(1, 5, 1)])
    await tables.write([record(0, 4, 4), record(1, 6, 2)])
    sql = "SELECT source_partition, granted, refused FROM organization_counters ORDER BY source_partition"
    assert tables.read(sql) == [
        {"source_partition": 0, "granted": 5, "refused": 5},
        {"source_partition": 1, "granted": 5, "refused": 2},
    ]


async def test_authorizations_are_stored_with_every_column_and_once(tables: Tables) -> None:
    rows = [
        authorization_row(
            at=dt.datetime(2031, 1 + number % 3, 28, 9, 0, number % 5, 1_000, tzinfo=dt.UTC), source_offset=number
        )
        for number in range(500)
    ]
    for first in (0, 100, 0):
        await tables.write(authorization_blocks(rows[first:]))
    stored = tables.read("SELECT * EXCEPT ingested_at FROM authorizations ORDER BY source_offset")
    assert stored == rows


async def test_a_breach_is_stored_with_every_column(tables: Tables) -> None:
    message = breach()
    await tables.write([alert_record(message)])
    assert tables.read("SELECT * EXCEPT ingested_at FROM breaches") == [
        message.model_dump() | {"percent": Decimal("105.00")}
    ]


@pytest.mark.parametrize("kind", BreachKind)
async def test_breaches_of_every_kind_are_one_row_each(tables: Tables, kind: BreachKind) -> None:
    messages = [breach(kind=kind, breach_id=f"{number:032x}", value=number) for number in range(20)]
    for first in (0, 10, 0):
        await tables.write(alert_record(message) for message in messages[first:])
    assert tables.read("SELECT count() AS rows, sum(value) AS value FROM breaches") == [{"rows": 20, "value": 190}]


@pytest.mark.parametrize("kind", [BreachKind.QUOTA_REACHED, BreachKind.GRACE_EXHAUSTED, BreachKind.OVERUSE_EXHAUSTED])
async def test_a_limit_that_is_crossed_again_in_another_month_is_still_one_row(
    tables: Tables, kind: BreachKind
) -> None:
    """Its identity holds no time, so it must not decide about the row's place. The latest crossing stays."""
    first = breach(kind=kind, limit=1000)
    again = breach(kind=kind, limit=2000, slot=SLOT + dt.timedelta(days=90), at=RECEIVED + dt.timedelta(days=90))
    for message in (first, again, first):
        await tables.write([alert_record(message)])
    sql = "SELECT slot, `limit`, identity_day FROM breaches"
    assert tables.read(sql) == [{"slot": again.slot, "limit": 2000, "identity_day": dt.date(1970, 1, 1)}]


@pytest.mark.parametrize("kind", [BreachKind.UNLICENSED_USE, BreachKind.DEVICE_REFUSED, BreachKind.CLOCK_SKEW])
async def test_breaches_whose_identity_holds_a_time_lie_by_their_day(tables: Tables, kind: BreachKind) -> None:
    last_slot = dt.datetime(2031, 3, 31, 23, 57, tzinfo=dt.UTC)
    await tables.write([alert_record(breach(kind=kind, slot=last_slot))])
    assert tables.read("SELECT identity_day, _partition_id AS month FROM breaches") == [
        {"identity_day": dt.date(2031, 3, 31), "month": "203103"}
    ]


async def test_an_alert_is_stored_with_its_conditions(tables: Tables) -> None:
    reminder = item_condition(metric="expires_in_days", value=7, quota=None, percent=None, level=7, crossed=[7])
    await tables.write([alert_record(usage_alert(item_condition(), project_condition(), reminder))])
    sql = "SELECT * EXCEPT (ingested_at, alert_id, checked_at) FROM usage_alerts ARRAY JOIN conditions"
    rows = tables.read(sql)
    names = list(Condition.model_fields)
    assert [[row[f"conditions.{name}"] for name in names] for row in rows] == [
        ["item", "L1-1", "", ["acme-web", "acme-kiosk"], "per_page", "used", 1610, 2000, Decimal("80.50"), 80, [60, 80],
         "active", 0, {}],
        ["project", "", "acme-web", [], "", "auth_failed_ratio", 9, 40, Decimal("22.50"), 20, [10, 20], "", 60,
         {"120": 7, "111": 2}],
        ["item", "L1-1", "", ["acme-web", "acme-kiosk"], "per_page", "expires_in_days", 7, None, None, 7, [7],
         "active", 0, {}],
    ]  # fmt: skip
    assert {row["organization_id"] for row in rows} == {"acme"}


async def test_an_alert_that_comes_again_with_less_is_one_row_that_says_all(tables: Tables) -> None:
    whole, part = usage_alert(item_condition(), project_condition()), usage_alert(project_condition())
    for message in (part, whole, part):
        await tables.write([alert_record(message)])
    await tables.write([alert_record(whole), alert_record(part)])
    sql = "SELECT conditions.scope AS scopes, condition_count AS count FROM usage_alerts"
    assert tables.read(sql) == [{"scopes": ["item", "project"], "count": 2}]


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


async def test_what_items_of_all_charge_ways_stand_at_can_be_asked(tables: Tables) -> None:
    rows = [attribution_row(source_offset=offset, exceptions=offset) for offset in range(4)]
    for _ in range(2):
        await tables.write([*attribution_blocks(rows), counters_record(item_counters())])
    (usage,) = tables.ask(ItemUsage("acme"))
    assert (usage["count"], usage["exceptions"], usage["submit"]) == (24, 6, 4)
    (standing,) = tables.ask(ItemCountersQuery("acme"))
    assert standing == item_counters().model_dump(include={*ItemCountersQuery.columns}) | {"percent": Decimal("99.90")}
