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

from licmeter.metering.breaches import breach_message
from licmeter.metering.recount import Recount
from licmeter.runtime.stack import Stack
from licmeter.schemas.alerts import ALERT_TYPE, BREACH_TYPE
from licmeter.schemas.topics import LICENSE_ALERTS, USAGE_EVENTS
from tests.integration.books import assert_counters, items_of, read_topic, recount, stored
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
    log = asyncio.run(read_topic(stage, USAGE_EVENTS.name))
    books, answers = recount(log)
    assert_counters(stage, books)
    states = {counters.state.value for counters in items_of(stage).values()}
    assert {"blocked", "capped", "overusing", "active"} <= states
    assert_breaches(stage, books)
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
    assert_alerts(stage)


def assert_breaches(stage: Stage, books: Recount) -> None:
    messages = [breach_message(fact) for fact in books.breaches]
    expected = {message.breach_id: message.model_dump(mode="json", exclude_none=True) for message in messages}
    assert len(expected) == len(messages), "one message for each identity"
    events = [json.loads(record.value) for record in asyncio.run(read_topic(stage, LICENSE_ALERTS.name))]
    found = {event["id"]: event["data"] for event in events if event["type"] == BREACH_TYPE}
    assert found == expected
    stage.until(lambda: stage.query("SELECT count() FROM breaches") == [(len(expected),)], "breaches in ClickHouse")
    kinds = stage.query("SELECT kind, count() FROM breaches GROUP BY ALL")
    assert dict(kinds) == dict(Counter(message.kind.value for message in messages))


def assert_alerts(stage: Stage) -> None:
    """After a stop one check runs on the current state (W11); each organization has one message a check (W2)."""
    stage.worker.stop()
    stage.worker.start()

    def alerts() -> list[dict[str, Any]]:
        events = [json.loads(record.value) for record in asyncio.run(read_topic(stage, LICENSE_ALERTS.name))]
        return [event for event in events if event["type"] == ALERT_TYPE]

    # What an earlier start of the worker said at the same instant is not said again; the rest follows with the next.
    everybody = {str(2000 + number) for number in range(ORGANIZATIONS)}
    stage.until(lambda: {event["subject"] for event in alerts()} == everybody, "an alert for each organization")
    crossed = {c["item_id"] for event in alerts() for c in event["data"]["conditions"] if c["scope"] == "item"}
    assert crossed & {"i-qr", "i-slot", "i-host"}
    identities = {event["id"] for event in alerts()}
    stage.until(lambda: stage.query("SELECT count() FROM usage_alerts") == [(len(identities),)], "alerts in ClickHouse")
