"""What must come out of a log, counted anew from the log itself, and what came out on the real parts."""

import asyncio
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from licmeter.metering.authorizing import AuthDecision
from licmeter.metering.counters import item_counters
from licmeter.metering.decoding import decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.recount import Recount
from licmeter.runtime.compacted import read_compacted
from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.schemas.topics import LICENSE_COUNTERS
from tests.integration.stage import Stage


async def read_topic(stage: Stage, topic: str) -> list[Any]:
    """Return all records of a topic, partition by partition."""
    settings = stage.stack.settings
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(settings.kafka.partitions)]
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
    outcomes, _ = stage.counters()
    totals = sum(outcomes.values(), Counter())
    assert totals == +Counter({name: books.totals[name] for name in ("charged", "uncharged", "duplicate", "rejected")})
