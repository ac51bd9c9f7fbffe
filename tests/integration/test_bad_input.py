"""Bad input goes to the rejects, byte for byte, with reason and origin; the partition goes on."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from licmeter.runtime.stack import Stack
from licmeter.schemas.rejects import HEADER_PREFIX, RejectOrigin, parse_reject_headers
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.schemas.topics import EVENT_BYTES_MAX, USAGE_EVENTS, USAGE_REJECTED
from tests.integration.stage import Stage, make_settings
from tests.support import load

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KEY = b"1000"
PARTITION = 0  # all into one, whatever the key, so that each has the others behind it


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path)) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


def good(report_id: str, now: datetime) -> dict[str, Any]:
    slot = datetime.fromtimestamp(int(now.timestamp()) // 180 * 180, UTC)
    return usage_report(report_id=report_id, client_uuid="d", slot=slot, counts={"qr": 1}, project_id="1000-two")


def bad_records(now: datetime) -> list[tuple[str, bytes | None, bytes | None]]:
    """Return reason, key and value."""

    def with_data(**data: Any) -> bytes:
        event = good("bad", now)
        event["data"] |= data
        return encode_event(event)

    event = good("bad", now)
    return [
        ("not_json", KEY, b"{nope"),
        ("not_json", KEY, bytes(range(256))),
        ("invalid_schema", KEY, encode_event({**event, "source": 17})),
        ("invalid_schema", KEY, with_data(counts={"qr": "1"})),
        ("invalid_schema", KEY, with_data(counts={"qr": 1.5})),
        ("negative_count", KEY, with_data(counts={"qr": -1})),
        ("count_out_of_range", KEY, with_data(counts={"qr": 10**30})),
        ("unknown_project", KEY, encode_event({**event, "subject": "1000-gone"})),
        ("unknown_project", b"4711", encode_event({**event, "subject": "4711-x"})),
        ("payload_too_large", KEY, b"x" * 10_000_000),
        ("payload_too_large", KEY, with_data(product="y" * 10_000_000)),
        ("empty_record", KEY, b""),
        ("tombstone", KEY, None),
        ("unknown_event_type", KEY, encode_event({**event, "type": "license.usage.report.v2"})),
        ("missing_key", None, encode_event(event)),
        ("key_mismatch", b"999", encode_event(event)),
        ("slot_misaligned", KEY, encode_event({**event, "time": "2026-01-01T00:00:01Z"})),
        ("too_old", KEY, encode_event({**event, "time": "2001-01-01T00:00:00Z"})),
        ("future_slot", KEY, encode_event({**event, "time": "2999-01-01T00:00:00Z"})),
    ]


HEADERS = [("traceparent", b"00-abc"), (f"{HEADER_PREFIX}reason", b"forged")]


async def send(servers: str, pairs: list[tuple[bytes | None, bytes | None]]) -> list[int]:
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=EVENT_BYTES_MAX) as producer:
        sent = [
            await producer.send_and_wait(USAGE_EVENTS.name, value, key=key, partition=PARTITION, headers=HEADERS)
            for key, value in pairs
        ]
    return [record.offset for record in sent]


async def read_rejects(servers: str, count: int) -> dict[int, tuple[RejectOrigin, Any]]:
    found: dict[int, tuple[RejectOrigin, Any]] = {}
    consumer = AIOKafkaConsumer(
        USAGE_REJECTED.name,
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=EVENT_BYTES_MAX,
    )
    async with consumer, asyncio.timeout(60):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    origin = parse_reject_headers(record.headers)
                    found[origin.offset] = (origin, record)
    return found


def test_each_bad_record_is_rejected_untouched_and_the_partition_goes_on(stage: Stage) -> None:
    servers, now = stage.stack.settings.bootstrap_servers, datetime.now(UTC)
    bad = bad_records(now)
    catalog = next(load.catalogs(1, 100, now))
    pairs: list[tuple[bytes | None, bytes | None]] = [catalog]
    for number, (_, key, value) in enumerate(bad):
        pairs += [(key, value), (KEY, encode_event(good(f"good-{number}", now)))]
    offsets = asyncio.run(send(servers, pairs))

    rejects = asyncio.run(read_rejects(servers, len(bad)))

    for (reason, key, value), offset in zip(bad, offsets[1::2], strict=True):
        origin, record = rejects[offset]
        assert (origin.reason, origin.topic, origin.partition) == (reason, USAGE_EVENTS.name, PARTITION)
        assert (record.key, record.value) == (key, value)
        assert list(record.headers)[: len(HEADERS)] == HEADERS
    stage.until(lambda: stage.stored() == 2 * len(bad), "all records in ClickHouse")
    assert stage.query("SELECT count() FROM usage_attributed WHERE outcome = 'charged'") == [(len(bad),)]
    rows = stage.query("SELECT reason, source_offset, payload_bytes FROM usage_rejected ORDER BY source_offset")
    expected = [
        (reason, offset, len(value or b"")) for (reason, _, value), offset in zip(bad, offsets[1::2], strict=True)
    ]
    assert rows == expected
