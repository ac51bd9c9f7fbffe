"""Rollups: answers are those of the facts before, during and after every run of the job, whatever kills it."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from licmeter.analytics.query import ALWAYS, Period, Rows, run
from licmeter.analytics.statistics import rollup
from licmeter.analytics.statistics.series import Series
from licmeter.analytics.statistics.sources import StandingQuery
from licmeter.analytics.statistics.words import ORGANIZATION, Basis, Bucket, Measure, Scope, Split
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.clickhouse_fixture import Engine

pytestmark = pytest.mark.integration

FIRST = dt.date(2031, 3, 1)
DAYS = 12
FACTS = """
    INSERT INTO usage_attributed (organization_id, project_id, item_id, client_uuid, report_id, slot, feature, outcome,
        usage_kind, quantity, in_quota, in_grace, over, exceptions, instances, late, received_at, source_partition,
        source_offset, line, ingested_at)
    SELECT ['a', 'b'][1 + n % 2], concat('p', toString(n % 3)), if(n % 7 = 0, '', concat('i', toString(n % 4))),
           concat('c', toString(n % 23)), toString(n), at_slot, ['qr', 'core', ''][1 + n % 3],
           if(n % 7 = 0, 'uncharged', 'charged'), 'use', n % 5, n % 5, 0, 0, n % 11 = 0, 1 + n % 3, n % 13 = 0,
           at_slot + 200 + if(n % 13 = 0, 86400 * (n % 9), 0), 0, n, 0, now64(3) - {age:UInt32}
    FROM (
        SELECT number AS n,
               toDateTime({from:String}, 'UTC') + ((number * 7919) % ({days:UInt32} * 480)) * 180 AS at_slot
        FROM numbers({first:UInt64}, {count:UInt64})
    )
"""
REQUESTS = """
    INSERT INTO authorizations (organization_id, project_id, item_id, client_uuid, auth_id, at, outcome, code,
        received_at, source_partition, source_offset, ingested_at)
    SELECT ['a', 'b'][1 + n % 2], concat('p', toString(n % 3)), if(n % 3 = 0, '', concat('i', toString(n % 4))),
           concat('c', toString(n % 31)), toString(n), asked, if(n % 3 = 0, 'refused', 'granted'),
           if(n % 3 = 0, 'limit_exceeded', ''), asked, 1, n, now64(3) - {age:UInt32}
    FROM (
        SELECT number AS n,
               toDateTime64({from:String}, 3, 'UTC') + ((number * 104729) % ({days:UInt32} * 86400)) AS asked
        FROM numbers({first:UInt64}, {count:UInt64})
    )
"""
AT_REST = 3_600


class Database:
    def __init__(self, target: ClickHouseTarget) -> None:
        self.target = target
        self.client = target.connect()

    def write(self, first: int, count: int, *, age: int = AT_REST, start: dt.date = FIRST, days: int = DAYS) -> None:
        parameters = {"from": f"{start} 00:00:00", "days": days, "first": first, "count": count, "age": age}
        for text in (FACTS, REQUESTS):
            self.client.command(text, parameters=parameters)

    def answers(self, organization: str = "a") -> dict[Any, Rows]:
        """One question for each rollup and way to group; test_statistics.py asks all of them."""
        month = Period(dt.date(2031, 3, 3), dt.date(2031, 3, 9))
        project, item = Scope.project("p0"), Scope.item("i2")
        questions = [
            Series(organization, Measure.COUNT, ORGANIZATION, ALWAYS, Bucket.DAY),
            Series(organization, Measure.SUBMIT, project, month, Bucket.DAY, None, Basis.RECEIVED),
            Series(organization, Measure.SUBMIT, item, ALWAYS, Bucket.DAY, Split.FEATURE),
            Series(organization, Measure.COUNT, project, ALWAYS, Bucket.ALL, Split.ITEM),
            Series(organization, Measure.EXCEPTIONS, item, month, Bucket.DAY, Split.LATE),
            Series(organization, Measure.UNCHARGED, ORGANIZATION, ALWAYS, Bucket.ALL, Split.FEATURE),
            Series(organization, Measure.DEVICES, ORGANIZATION, ALWAYS, Bucket.DAY),
            Series(organization, Measure.DEVICES, project, month, Bucket.ALL),
            Series(organization, Measure.DEVICES, item, month, Bucket.DAY, Split.PROJECT),
            Series(organization, Measure.PEAK_CONCURRENT, item, ALWAYS, Bucket.DAY),
            Series(organization, Measure.PEAK_CONCURRENT, ORGANIZATION, month, Bucket.ALL, Split.PROJECT),
            Series(organization, Measure.AUTH_FAILED, project, ALWAYS, Bucket.DAY),
        ]
        return {question: run(self.client, question) for question in questions}

    def dirty(self, organization: str = "a") -> list[dt.date]:
        (row,) = run(self.client, StandingQuery(organization))
        return list(row["dirty"])

    def count(self, organization: str = "a") -> int:
        return sum(row["value"] for row in run(self.client, Series(organization, Measure.COUNT)))

    def counted_in_facts(self, organization: str = "a") -> int:
        rows = self.client.query(
            "SELECT sum(quantity) FROM usage_attributed FINAL WHERE organization_id = {organization:String}",
            parameters={"organization": organization},
        ).result_rows
        return int(rows[0][0])


@pytest.fixture
def facts(clickhouse: Engine, database: str) -> Iterator[Database]:
    opened = Database(clickhouse.target(database))
    yield opened
    opened.client.close()


def test_answers_are_the_same_from_facts_and_from_rollups(facts: Database) -> None:
    facts.write(0, 6_000)
    before = facts.answers()
    assert facts.dirty() == [FIRST + dt.timedelta(days=number) for number in range(DAYS)]
    report = rollup.refresh(facts.client)
    assert report.pairs == 2 * DAYS
    assert facts.dirty() == []
    assert facts.answers() == before
    assert all(before.values())


def test_the_columns_of_every_rollup_are_what_the_facts_give(facts: Database) -> None:
    facts.write(0, 6_000)
    facts.write(0, 3_000)  # half of it came twice
    rollup.refresh(facts.client)
    assert facts.count() == facts.counted_in_facts() > 0


def test_days_with_young_facts_stay_open_and_are_answered_from_the_facts(facts: Database) -> None:
    facts.write(0, 2_000, start=FIRST, days=3)
    facts.write(2_000, 500, start=FIRST + dt.timedelta(days=2), days=3, age=0)
    report = rollup.refresh(facts.client)
    assert report.pairs == 2 * 2
    assert facts.dirty() == [FIRST + dt.timedelta(days=number) for number in (2, 3, 4)]
    assert facts.count() == facts.counted_in_facts()


def test_a_late_fact_is_seen_at_once_and_rolled_up_when_it_rests(facts: Database) -> None:
    facts.write(0, 2_000)
    rollup.refresh(facts.client)
    facts.write(2_000, 10, days=1, age=0)
    assert facts.dirty() == [FIRST]
    assert facts.count() == facts.counted_in_facts()
    assert rollup.refresh(facts.client).pairs == 0
    report = rollup.refresh(facts.client, lag_s=0)
    assert report.pairs == 2
    assert facts.dirty() == []
    assert facts.count() == facts.counted_in_facts()


class DyingClient:
    """A connection that is gone after some statements."""

    def __init__(self, client: Any, statements: int) -> None:
        self._client = client
        self.left = statements

    def query(self, query: str, *, parameters: Any = None, settings: Any = None) -> Any:
        return self._client.query(query, parameters=parameters, settings=settings)

    def command(self, cmd: str, *, parameters: Any = None, settings: Any = None) -> Any:
        if self.left == 0:
            raise ConnectionError("killed")
        self.left -= 1
        return self._client.command(cmd, parameters=parameters, settings=settings)


def test_a_run_that_dies_between_any_two_statements_changes_no_answer(facts: Database) -> None:
    facts.write(0, 1_500)
    before = facts.answers()
    deaths, statements = 0, 0
    while True:
        try:
            rollup.refresh(DyingClient(facts.client, statements))
        except ConnectionError:
            deaths += 1
        else:
            break
        assert facts.count() == facts.counted_in_facts()
        statements += 1
    assert deaths >= 14
    assert facts.dirty() == []
    assert facts.answers() == before


def test_an_older_run_that_ends_last_undoes_nothing(facts: Database) -> None:
    facts.write(0, 1_000)

    class Slow(DyingClient):
        """Computes, and then another run with newer facts is done before it writes its cut."""

        def command(self, cmd: str, *, parameters: Any = None, settings: Any = None) -> Any:
            if "rollup_cuts" in cmd and self.left:
                self.left = 0
                facts.write(1_000, 500)
                rollup.refresh(facts.client)
            return self._client.command(cmd, parameters=parameters, settings=settings)

    rollup.refresh(Slow(facts.client, 1))
    assert facts.dirty() == []
    assert facts.count() == facts.counted_in_facts()


def test_a_rebuild_mends_what_is_wrong_and_takes_away_what_the_facts_do_not_have(facts: Database) -> None:
    facts.write(0, 2_000)
    rollup.refresh(facts.client)
    before = facts.answers()
    facts.client.command(
        "INSERT INTO usage_day (organization_id, level, day, received_day, project_id, quantity, version) VALUES "
        "('a', 'project', '2031-03-02', '2031-03-02', 'nobody', 1000, 1)"
    )
    facts.client.command(
        "INSERT INTO device_day SELECT * REPLACE(devices + 5 AS devices, version + 1 AS version) FROM device_day FINAL"
    )
    assert facts.answers() != before
    (step,) = rollup.spans(facts.client, None)
    rollup.rebuild(facts.client, step)
    assert facts.answers() == before


def test_a_rebuild_of_one_organization_leaves_the_others(facts: Database) -> None:
    facts.write(0, 2_000)
    rollup.refresh(facts.client)
    wrong = (
        "INSERT INTO usage_day SELECT * REPLACE(quantity + 1 AS quantity, version + 1 AS version) FROM usage_day FINAL"
    )
    facts.client.command(wrong)
    last = FIRST + dt.timedelta(days=DAYS - 1)
    rollup.rebuild(facts.client, rollup.Span(FIRST, last, "a"))
    assert facts.count("a") == facts.counted_in_facts("a")
    assert facts.count("b") != facts.counted_in_facts("b")
    rollup.rebuild(facts.client, rollup.Span(FIRST, last))
    assert facts.count("b") == facts.counted_in_facts("b")


def test_a_rebuild_keeps_days_whose_facts_were_dropped_by_age(facts: Database) -> None:
    facts.write(0, 2_000)
    rollup.refresh(facts.client)
    before = facts.count()
    facts.client.command("ALTER TABLE usage_attributed DROP PARTITION 203103")
    facts.client.command("ALTER TABLE authorizations DROP PARTITION 203103")
    rollup.rebuild(facts.client, rollup.Span(FIRST, FIRST + dt.timedelta(days=DAYS)))
    assert facts.count() == before > 0


def test_a_rebuild_that_is_killed_can_be_run_again(facts: Database, tmp_path: Path) -> None:
    facts.write(0, 20_000, days=90)
    rollup.refresh(facts.client)
    before = facts.answers()
    environment = os.environ | {
        "LICMETER_CLICKHOUSE__URL": facts.target.url,
        "LICMETER_CLICKHOUSE__DATABASE": facts.target.database,
        "LICMETER_CLICKHOUSE__USERNAME": facts.target.username,
        "LICMETER_CLICKHOUSE__PASSWORD": facts.target.password,
        "LICMETER_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "licmeter.runtime.cli", "rollup", "rebuild"]
    version = "SELECT max(version) FROM client_day"
    ((old,),) = facts.client.query(version).result_rows
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while facts.client.query(version).result_rows[0][0] == old and time.monotonic() < deadline:
        time.sleep(0.01)  # until it has written something, bounded
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert facts.answers() == before
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert facts.answers() == before
