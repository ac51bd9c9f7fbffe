"""`licmeter.sinks.alerts` and `licmeter alerts tail`, on the real broker."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

import licmeter.sinks
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.alerts import Breach, UsageAlert, alert_event
from licmeter.schemas.outcomes import BreachKind
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_ALERTS
from tests.integration.kafka_fixture import require_topics
from tests.unit.sinks.records import breach, usage_alert

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTITIONS = 2
DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
WAIT_S = 60.0


class Stage:
    """A producer of alerts for an organization that no other test has."""

    def __init__(self, servers: str, producer: AIOKafkaProducer) -> None:
        self.servers = servers
        self.producer = producer
        self.organization = f"org{uuid.uuid4().hex[:12]}"

    async def send(self, *messages: Breach | UsageAlert, partition: int = 0) -> None:
        for message in messages:
            await self.producer.send_and_wait(
                LICENSE_ALERTS.name, encode_event(alert_event(message)), key=b"k", partition=partition
            )

    def breaches(self, first: int, count: int, kind: BreachKind = BreachKind.QUOTA_REACHED) -> list[Breach]:
        return [
            breach(organization_id=self.organization, breach_id=f"{self.organization}-{number}", kind=kind)
            for number in range(first, first + count)
        ]

    async def read(self, count: int | None = None, **options: Any) -> list[licmeter.sinks.Alert]:
        """Read so many of this organization, or all there are."""
        found: list[licmeter.sinks.Alert] = []
        if count is None:
            options |= {"follow": False}
        reading = licmeter.sinks.alerts(self.servers, organizations=[self.organization], **options)
        async with asyncio.timeout(WAIT_S), aclosing(reading):
            async for alert in reading:
                found.append(alert)
                if len(found) == count:
                    break
        return found


@pytest.fixture
async def stage(kafka: EmbeddedKafka) -> AsyncIterator[Stage]:
    servers = kafka.bootstrap_servers
    await require_topics(kafka, [LICENSE_ALERTS], PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    yield Stage(servers, producer)
    await producer.stop()


def names(alerts: list[licmeter.sinks.Alert]) -> list[str]:
    return [alert.event_id.rpartition("-")[2] for alert in alerts]


async def test_breaches_and_usage_alerts_come_typed(stage: Stage) -> None:
    alert = usage_alert(organization_id=stage.organization)
    await stage.send(*stage.breaches(0, 1), alert)
    first, second = await stage.read(start="earliest")
    assert (first.kind, first.event_id) == ("quota_reached", f"{stage.organization}-0")
    assert (second.kind, second.message, second.event_id) == ("usage_alert", alert, alert.alert_id)
    assert datetime.now(UTC) - first.arrived_at < timedelta(minutes=2)


async def test_latest_is_what_comes_from_now_on(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 3))
    reading = asyncio.create_task(stage.read(2))
    found: list[licmeter.sinks.Alert] = []
    for number in range(3, 200):  # until the reader has taken its place and two more came
        await stage.send(*stage.breaches(number, 1))
        done, _ = await asyncio.wait([reading], timeout=0.1)
        if done:
            found = reading.result()
            break
    assert len(found) == 2
    assert int(names(found)[0]) >= 3
    assert int(names(found)[1]) == int(names(found)[0]) + 1


async def test_a_reader_goes_on_exactly_where_it_was(stage: Stage) -> None:
    for partition in range(PARTITIONS):
        await stage.send(*stage.breaches(partition * 10, 10), partition=partition)
    first = await stage.read(7, start="earliest")
    places = dict.fromkeys(range(PARTITIONS), 0) | dict(alert.position for alert in first)
    rest = await stage.read(start=places)
    assert sorted(map(int, names([*first, *rest]))) == list(range(20))


async def test_an_instant_is_a_place_to_begin(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 3))
    await asyncio.sleep(0.01)  # the clock of records has milliseconds
    instant = datetime.now(UTC)
    await stage.send(*stage.breaches(3, 3))
    assert names(await stage.read(start=instant)) == ["3", "4", "5"]
    assert await stage.read(start=datetime.now(UTC) + timedelta(days=1)) == []


async def test_kinds_leave_out_the_others(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 2), *stage.breaches(2, 2, BreachKind.UNLICENSED_USE))
    await stage.send(usage_alert(organization_id=stage.organization))
    assert names(await stage.read(start="earliest", kinds=["unlicensed_use"])) == ["2", "3"]
    assert len(await stage.read(start="earliest", kinds=["usage_alert", "quota_reached"])) == 3


async def test_an_unknown_kind_and_an_impossible_start_are_refused(stage: Stage) -> None:
    with pytest.raises(ValueError, match=r"quota_reachd.*there are"):
        await stage.read(kinds=["quota_reachd"])
    with pytest.raises(ValueError, match="group keeps its own place"):
        await stage.read(group_id="g", start=datetime.now(UTC))


async def test_what_is_no_alert_is_told_and_stops_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.send(*stage.breaches(0, 1))
    for value in (b"no json", b"{}", None, b'{"specversion":"1.0","type":"license.breach.v1","data":{}}'):
        await stage.producer.send_and_wait(LICENSE_ALERTS.name, value, key=b"k", partition=0)
    await stage.send(*stage.breaches(1, 1))
    unreadable: list[Any] = []
    found = await stage.read(start="earliest", on_unreadable=unreadable.append)
    assert names(found) == ["0", "1"]
    assert {b"no json", b"{}", None} <= {record.value for record in unreadable}
    assert "is no alert and is skipped" in caplog.text


async def test_a_group_keeps_its_place_and_repeats_only_what_was_not_handled(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 10))
    group = f"group-{stage.organization}"
    first = await stage.read(4, group_id=group, start="earliest")
    # The fourth was given but the next one was never asked for: it may be half done, and comes again.
    rest = await stage.read(group_id=group, start="earliest")
    assert names(first) == ["0", "1", "2", "3"]
    assert names(rest) == [str(number) for number in range(3, 10)]
    assert await stage.read(group_id=group, start="earliest") == []


async def test_a_new_group_that_dies_with_its_first_alert_gets_it_again(stage: Stage) -> None:
    group = f"new-{stage.organization}"
    reading = asyncio.create_task(stage.read(1, group_id=group, start="latest"))
    for number in range(200):  # until the group has its place, and one more came
        await stage.send(*stage.breaches(number, 1))
        done, _ = await asyncio.wait([reading], timeout=0.1)
        if done:
            break
    (first,) = await reading  # given, and never handled
    again = await stage.read(group_id=group, start="latest")
    assert names(again)[0] == names([first])[0]


async def test_a_reader_of_some_alerts_goes_on_after_all_that_it_passed(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 5), partition=0)
    await asyncio.sleep(0.002)  # Kafka tells instants by the millisecond: the next one is later than what was sent
    now = datetime.now(UTC)
    await stage.send(*stage.breaches(10, 2), partition=1)
    (first,) = await stage.read(1, start=now)
    assert names([first]) == ["10"]
    # Of partition 0 nothing was given, and what had come before is not wanted.
    assert set(first.resume) == set(range(PARTITIONS))
    assert names(await stage.read(start=first.resume)) == ["11"]


async def test_a_topic_that_is_not_there_is_named(kafka: EmbeddedKafka) -> None:
    with pytest.raises((KafkaError, OSError)):
        async for _ in licmeter.sinks.alerts("127.0.0.1:1"):
            pass


PROGRAM = """
import asyncio, sys
import licmeter.sinks

async def main():
    reading = licmeter.sinks.alerts(sys.argv[1], organizations=[sys.argv[2]], start="earliest", group_id=sys.argv[3])
    async for alert in reading:
        print(alert.event_id, flush=True)

asyncio.run(main())
"""


async def test_a_killed_reader_of_a_group_misses_nothing(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 400))
    command = [sys.executable, "-c", PROGRAM, stage.servers, stage.organization, f"killed-{stage.organization}"]
    seen: set[str] = set()
    for kill_after in (5, 150, None):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            count = 0
            while len(seen) < 400 if kill_after is None else count < kill_after:
                line = await process.stdout.readline()
                assert line, "the reader ended"
                seen.add(line.decode().strip())
                count += 1
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert len(seen) == 400


def test_a_subscriber_needs_the_bare_package_only() -> None:
    code = (
        "import sys, licmeter.sinks; licmeter.sinks.alerts; "
        "print([m for m in ('pyarrow', 'clickhouse_connect', 'faust', 'fastapi', 'apprise') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def tail(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "licmeter.runtime.cli", "alerts", "tail", *arguments],
        env=os.environ | {"LICMETER_KAFKA__BOOTSTRAP_SERVERS": stage.servers},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


async def test_tail_shows_a_line_each(stage: Stage) -> None:
    await stage.send(*stage.breaches(0, 2), usage_alert(organization_id=stage.organization))
    options = ("--organization", stage.organization, "--since", "10m", "--no-follow")
    done = await asyncio.to_thread(tail, stage, *options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum("quota_reached" in line for line in lines) == 2
    assert sum("usage_alert" in line for line in lines) == len(usage_alert().conditions)
    done = await asyncio.to_thread(tail, stage, *options, "--json", "--limit", "1")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["data"]["organization_id"] == stage.organization


@pytest.mark.parametrize("since", ["yesterday", "2031-03-08T10:00:00", "5 minutes"])
async def test_tail_refuses_what_is_no_time(stage: Stage, since: str) -> None:
    done = await asyncio.to_thread(tail, stage, "--since", since)
    assert done.returncode == 2
    assert since in done.stderr


async def test_the_example_in_the_documentation_runs(stage: Stage, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    program = example.replace("localhost:9092", stage.servers).replace('"300417"', f'"{stage.organization}"')
    program = program.replace('group_id="my-program"', f'group_id="{stage.organization}"')
    file = tmp_path / "example.py"
    file.write_text(program)
    process = await asyncio.create_subprocess_exec(sys.executable, "-u", str(file), stdout=subprocess.PIPE)
    assert process.stdout is not None
    reading = asyncio.create_task(process.stdout.readline())
    try:
        async with asyncio.timeout(WAIT_S):
            for number in range(500):  # until the reader has its place, and sees the next one
                await stage.send(*stage.breaches(number, 1))
                done, _ = await asyncio.wait([reading], timeout=0.2)
                if done:
                    break
            line = await reading
    finally:
        process.kill()
        await process.wait()
    assert line.decode().startswith("quota_reached: item")
