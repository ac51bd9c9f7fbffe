"""All charge ways on the real parts: processes are killed, and seats, slots, breaches and alerts are exact."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from licmeter.metering.authorizing import AuthDecision
from licmeter.metering.breaches import breach_message
from licmeter.metering.counters import item_counters
from licmeter.metering.decoding import decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.recount import Recount
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.stack import Stack
from licmeter.schemas.alerts import ALERT_TYPE, BREACH_TYPE
from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_COUNTERS, USAGE_EVENTS
from tests.integration.stage import Stage, make_settings
from tests.support import fleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EVENTS = 40_000
SLICES = 8
ORGANIZATIONS = 6


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path)) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


async def read_topic(bootstrap_servers: str, topic: str) -> list[Any]:
    """Return all records of a topic, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not places:
            places = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: list[Any] = []
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


def recount(log: list[Any]) -> tuple[Recount, Counter[tuple[str, str]]]:
    """Count the log as it stands on the broker, record by record; and the answers to authorizations."""
    books, answers = Recount(), Counter[tuple[str, str]]()
    for record in log:
        event = decode(record.key, record.value, record.timestamp, DEFAULT_LIMITS)
        counted = books.count(key_organization(record.key) or "", event, record.timestamp)
        if isinstance(counted.answer, AuthDecision):
            answers[counted.answer.outcome.value, counted.answer.code or ""] += 1
    return books, answers


def items_of(stage: Stage) -> dict[tuple[str, str], ItemCounters]:
    latest = asyncio.run(read_compacted(stage.stack.settings.bootstrap_servers, LICENSE_COUNTERS.name))
    found = [parse_counters(value) for value in latest.values()]
    return {(c.organization_id, c.item_id): c for c in found if isinstance(c, ItemCounters)}


def figures(counters: ItemCounters) -> dict[str, Any]:
    names = ("used", "in_quota", "in_grace", "over", "attributed", "active", "consumed", "percent", "state")
    return counters.model_dump(include=set(names))


def stored(stage: Stage) -> int:
    ((authorizations,),) = stage.query("SELECT count() FROM authorizations")
    return stage.stored() + int(authorizations)


def test_seats_slots_breaches_and_alerts_are_exact_whatever_is_killed(stage: Stage) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments, now = random.Random(seed), datetime.now(UTC)
    stage.send(fleet.catalogs(ORGANIZATIONS, now))
    size = EVENTS // SLICES
    for number in range(SLICES):
        stage.send(fleet.events(size, ORGANIZATIONS, now, seed, first=number * size))
        before = stored(stage)
        stage.until(lambda before=before: stored(stage) > before, "progress")
        if number < SLICES - 1:
            victim = moments.choice((stage.worker, stage.worker, stage.sink))
            victim.kill()
            victim.start()
    stage.until(lambda: stored(stage) >= EVENTS, f"{EVENTS} records in ClickHouse")
    servers = stage.stack.settings.bootstrap_servers
    log = asyncio.run(read_topic(servers, USAGE_EVENTS.name))
    books, answers = recount(log)
    assert_counters(stage, books)
    assert_breaches(stage, books, servers)
    rows = stage.query("SELECT outcome, code, count() FROM authorizations GROUP BY ALL")
    assert {(outcome, code): number for outcome, code, number in rows} == dict(answers)
    exceptions = stage.query(
        "SELECT organization_id, item_id, toInt64(sum(exceptions)) FROM usage_attributed "
        "WHERE exceptions > 0 GROUP BY ALL"
    )
    consumed = {
        (name, item_id): sum(use.consumed.values())
        for name, state in books.organizations.items()
        for item_id, use in state.uses.items()
        if use.consumed
    }
    assert {row[:2]: row[2] for row in exceptions} == consumed
    assert_alerts(stage, servers)


def assert_counters(stage: Stage, books: Recount) -> None:
    expected = {
        (name, counters.item_id): figures(counters)
        for name, state in books.organizations.items()
        if state.catalog is not None
        for counters in item_counters(state, 0, state.catalog.items.values(), books.now_ms)
    }
    stage.until(lambda: {k: figures(c) for k, c in items_of(stage).items()} == expected, "equal counters", seconds=20)
    found = {key: figures(counters) for key, counters in items_of(stage).items()}
    assert found == expected
    states = Counter(entry["state"] for entry in expected.values())
    assert {"blocked", "capped", "overusing", "active"} <= set(states), states


def assert_breaches(stage: Stage, books: Recount, servers: str) -> None:
    messages = [breach_message(fact) for fact in books.breaches]
    expected = {message.breach_id: message.model_dump(mode="json", exclude_none=True) for message in messages}
    assert len(expected) == len(messages), "one message for each identity"
    events = [json.loads(record.value) for record in asyncio.run(read_topic(servers, LICENSE_ALERTS.name))]
    found = {event["id"]: event["data"] for event in events if event["type"] == BREACH_TYPE}
    assert found == expected
    stage.until(lambda: stage.query("SELECT count() FROM breaches") == [(len(expected),)], "breaches in ClickHouse")
    kinds = stage.query("SELECT kind, count() FROM breaches GROUP BY ALL")
    assert dict(kinds) == dict(Counter(message.kind.value for message in messages))


def assert_alerts(stage: Stage, servers: str) -> None:
    """After a stop one check runs on the current state (W11); each organization has one message a check (W2)."""
    stage.worker.stop()
    stage.worker.start()

    def alerts() -> list[dict[str, Any]]:
        events = [json.loads(record.value) for record in asyncio.run(read_topic(servers, LICENSE_ALERTS.name))]
        return [event for event in events if event["type"] == ALERT_TYPE]

    # What an earlier start of the worker said at the same instant is not said again; the rest follows with the next.
    everybody = {str(2000 + number) for number in range(ORGANIZATIONS)}
    stage.until(lambda: {event["subject"] for event in alerts()} == everybody, "an alert for each organization")
    crossed = {c["item_id"] for event in alerts() for c in event["data"]["conditions"] if c["scope"] == "item"}
    assert crossed & {"i-qr", "i-slot", "i-host"}
    identities = {event["id"] for event in alerts()}
    stage.until(lambda: stage.query("SELECT count() FROM usage_alerts") == [(len(identities),)], "alerts in ClickHouse")
