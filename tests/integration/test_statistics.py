"""Every measure and view of the domain's section 10 against an independent recount in plain Python.

One generated history (all charge ways, late data, items shared by projects, repeats, rejects) is counted twice: by the
product, through its stream, sink and real engine, and by `tests.support.statistics`, which shares no code with it. The
SQL must give the same numbers, to the unit: read from the facts, from the rollups, and from both, when some days are
open. Which scopes are asked is drawn anew in each run; the seed is in each failure.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from licmeter.analytics.query import ALWAYS, Period, run
from licmeter.analytics.statistics import rollup
from licmeter.analytics.statistics.api import Statistics, last_days
from licmeter.analytics.statistics.details import DetailBy
from licmeter.analytics.statistics.series import Series
from licmeter.analytics.statistics.words import (
    ORGANIZATION,
    Basis,
    Bucket,
    Measure,
    Scope,
    ScopeKind,
    Split,
    StatisticsError,
)
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.clickhouse_fixture import Engine
from tests.support.statistics.catalogs import DAYS, IDLE, LARGE, SMALL, START
from tests.support.statistics.history import generate
from tests.support.statistics.load import load
from tests.support.statistics.recount import Recount
from tests.support.statistics.views import day_detail, day_detail_received, header, shares, trend

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EVENTS = 2_500
OWNERS = (LARGE, SMALL, IDLE)


@dataclass
class World:
    seed: int
    recount: Recount
    client: Any
    now: dt.datetime

    @property
    def today(self) -> dt.date:
        return self.now.date()

    def statistics(self, organization: str) -> Statistics:
        return Statistics(self.client, organization, lambda: self.now)


@cache
def counted(seed: int) -> Recount:
    return Recount.of(generate(seed, EVENTS))


@pytest.fixture(scope="module")
def seed() -> int:
    return random.randrange(2**32)


#: Details of a day are read from the facts alone.
details = pytest.mark.parametrize("world", ["facts"], indirect=True)


@pytest.fixture(scope="module", params=["facts", "rollups", "both"])
def world(request: pytest.FixtureRequest, clickhouse: Engine, seed: int) -> Iterator[World]:
    """The history in the engine: nothing rolled up, everything, or all but what came last."""
    target = clickhouse.target(f"test_statistics_{request.param}_{seed}")
    migrate(target)
    client = target.connect()
    log = generate(seed, EVENTS)
    cut = {"facts": 0, "rollups": len(log), "both": len(log) * 2 // 3}[request.param]
    _fill(log, target, client, seed, cut)
    recount = counted(seed)
    last = dt.datetime.fromtimestamp(log[-1].received_ms / 1000, dt.UTC)
    yield World(seed, recount, client, last.replace(hour=23, minute=59, second=0, microsecond=0))
    client.command(f"DROP DATABASE {target.database}")
    client.close()


def _fill(log: Any, target: ClickHouseTarget, client: Any, seed: int, cut: int) -> None:
    """Load a log; the rollups cover what its first `cut` records led to."""
    if cut:
        load(log[:cut], target, seed=seed, repeated=0.2)
        rollup.refresh(client, lag_s=0)
    # The whole log again, in other batches: what is there already replaces itself.
    load(log, target, seed=seed + 1, repeated=0.2)
    if cut == len(log):
        rollup.refresh(client, lag_s=0)


def reference_scope(scope: Scope) -> tuple[Any, Any]:
    return (scope.kind.value, scope.name or None)


def scopes(organization: str) -> list[Scope]:
    document = {
        LARGE: (("kiosk", "mobile", "bare", "old", "vault"), "scan-a scan-b scan-free pages dev-m dev-n dev-d srv desk "
                "load web any pages-2 scan-seat"),
        SMALL: (("kiosk", "mobile", "bare"), "scan-a pages dev-m desk load"),
        IDLE: (("kiosk",), "scan-a dev-m"),
    }[organization]  # fmt: skip
    projects = [Scope.project(f"{organization}-{name}") for name in document[0]]
    return [ORGANIZATION, *projects, *(Scope.item(name) for name in document[1].split())]


def some(world: World, organization: str, count: int = 5) -> list[Scope]:
    """Draw some scopes of an organization, itself among them."""
    others = scopes(organization)[1:]
    return [ORGANIZATION, *random.Random(f"{world.seed} {organization}").sample(others, min(count, len(others)))]


def periods(world: World, measure: Measure) -> list[Period]:
    first, today = START.date(), world.today
    closed = [
        *(last_days(days, today) for days in (1, 7, 30, 90)),
        Period(first + dt.timedelta(days=20), first + dt.timedelta(days=41)),
        Period(first - dt.timedelta(days=3), today),
    ]
    # Where live seats are asked for without an end, each side may choose one.
    return closed if measure is Measure.ACTIVE_DEVICES else [ALWAYS, *closed]


def questions(world: World, chooser: random.Random) -> Iterator[Series]:
    """Each measure with each bucket, split and basis, in some scope and range; and each scope with each measure."""
    for measure in Measure:
        for basis in Basis:
            for bucket in Bucket:
                for split in (None, *Split):
                    if chooser.random() < 0.5:
                        continue  # another run asks the other half
                    organization = chooser.choice((LARGE, LARGE, SMALL))
                    question = (
                        organization,
                        measure,
                        chooser.choice(scopes(organization)),
                        chooser.choice(periods(world, measure)),
                        bucket,
                        split,
                        basis,
                    )
                    try:
                        yield Series(*question)
                    except StatisticsError:
                        continue
        for organization in OWNERS:
            for scope in scopes(organization):
                period = chooser.choice(periods(world, measure))
                yield Series(organization, measure, scope, period, chooser.choice((Bucket.DAY, Bucket.ALL)))


def expected(recount: Recount, question: Series) -> dict[tuple[Any, Any], int]:
    answer = recount.measure(
        question.measure.value,
        organization_id=question.organization_id,
        scope=reference_scope(question.scope),
        bucket=question.bucket.value,
        split=None if question.split is None else question.split.value,
        basis=question.basis.value,  # type: ignore[arg-type]
        first_day=question.period.first,
        last_day=question.period.last,
    )
    parts = {True: "yes", False: "no"} if question.split is Split.LATE else {}
    found = {(bucket, parts.get(part, part)): value for (bucket, part), value in answer.items()}
    if question.measure is Measure.PEAK_CONCURRENT and question.split is Split.ITEM:
        # What no item took is in use of no item.
        found = {key: value for key, value in found.items() if key[1] != ""}
    return found


def answered(rows: Any) -> dict[tuple[Any, Any], int]:
    return {
        (None if row["bucket"] is None else int(row["bucket"].timestamp()), row["split"]): row["value"] for row in rows
    }


def test_q1_every_measure_equals_the_recount_to_the_unit(world: World) -> None:
    chooser, asked, values = random.Random(world.seed), 0, 0
    for question in questions(world, chooser):
        answer, truth = answered(run(world.client, question)), expected(world.recount, question)
        assert answer == truth, (world.seed, question)
        asked, values = asked + 1, values + len(truth)
    assert asked > 300
    assert values > 2_500


def test_q3_shares(world: World) -> None:
    for organization in OWNERS:
        for scope in some(world, organization):
            for basis in Basis:
                period = last_days(30, world.today)
                found = world.statistics(organization).shares(scope, period, basis).value
                truth = shares(
                    world.recount,
                    organization,
                    reference_scope(scope),
                    today=world.today,
                    first_day=period.first,
                    last_day=period.last,
                    basis=basis.value,  # type: ignore[arg-type]
                )
                for name, share in (("all", found.all_history), ("range", found.selected), ("today", found.today)):
                    assert (share.total, share.by_feature) == truth[name], (world.seed, organization, scope, name)


@pytest.mark.parametrize("accumulative", [False, True])
def test_q4_trend(world: World, accumulative: bool) -> None:
    chooser = random.Random(world.seed)
    for measure in Measure:
        if accumulative and measure in (Measure.ACTIVE_DEVICES, Measure.DEVICES, Measure.PEAK_CONCURRENT):
            continue  # no running sums (G34)
        for basis in Basis:
            scope, period = (
                chooser.choice(scopes(LARGE)),
                chooser.choice([last_days(30, world.today), last_days(90, world.today)]),
            )
            assert period.first is not None
            assert period.last is not None
            found = world.statistics(LARGE).trend(measure, scope, period, basis, accumulative=accumulative).value
            truth = trend(
                world.recount,
                LARGE,
                reference_scope(scope),
                measure=measure.value,
                first_day=period.first,
                last_day=period.last,
                accumulative=accumulative,
                basis=basis.value,  # type: ignore[arg-type]
            )
            assert [(point.day, point.value) for point in found] == truth, (world.seed, measure, scope, basis)


def test_q4_devices_so_far_are_distinct(world: World) -> None:
    period = last_days(30, world.today)
    for scope in some(world, LARGE):
        found = world.statistics(LARGE).trend(Measure.DEVICES, scope, period, accumulative=True).value
        for point in found[::7]:
            question = Series(LARGE, Measure.DEVICES, scope, replace(period, last=point.day), Bucket.ALL)
            truth = expected(world.recount, question)
            assert point.value == truth.get((None, None), 0), (world.seed, scope, point)


def busiest(world: World, organization: str) -> list[dt.date]:
    """Some days: with the most reports, with late ones, one without any."""
    found = expected(world.recount, Series(organization, Measure.SUBMIT, bucket=Bucket.DAY))
    days = sorted(found, key=lambda key: (-found[key], key[0]))
    return [dt.datetime.fromtimestamp(days[n][0], dt.UTC).date() for n in (0, 1, len(days) // 2)] + [
        START.date() - dt.timedelta(days=100),
        START.date() + dt.timedelta(days=DAYS // 2),
    ]


@details
@pytest.mark.parametrize("bucket", [Bucket.HOUR, Bucket.TWO_HOURS])
def test_q5_a_day_by_time(world: World, bucket: Bucket) -> None:
    for organization in (LARGE, SMALL):
        for day in busiest(world, organization):
            for scope in some(world, organization):
                found = world.statistics(organization).day_detail(day, DetailBy.TIME, scope, bucket=bucket).value
                truth = day_detail(world.recount, organization, reference_scope(scope), day, bucket.value)
                assert [row | {"period": int(row["period"].timestamp())} for row in found] == truth[::-1]


@details
def test_q8_a_day_by_arrival(world: World) -> None:
    others = 0
    for organization in (LARGE, SMALL):
        for day in busiest(world, organization):
            for scope in some(world, organization):
                found = world.statistics(organization).day_detail(day, DetailBy.TIME, scope, Basis.RECEIVED).value
                truth = day_detail_received(world.recount, organization, reference_scope(scope), day)
                plain = {}
                for row in truth:
                    period = row["period"]
                    if not isinstance(period, int):
                        others += 1
                        period = int(dt.datetime(period.year, period.month, period.day, tzinfo=dt.UTC).timestamp())
                    plain[period] = (row["count"], row["auth"], row["submit"])
                assert {
                    int(row["period"].timestamp()): (row["count"], row["auth"], row["submit"]) for row in found
                } == plain, (world.seed, organization, day, scope)
    assert others > 0


@details
def test_q5_a_day_by_device(world: World) -> None:
    for organization in (LARGE, SMALL):
        for day in busiest(world, organization):
            for scope in some(world, organization):
                for basis in Basis:
                    found = world.statistics(organization).day_detail(day, DetailBy.DEVICE, scope, basis).value
                    truth = day_detail(
                        world.recount,
                        organization,
                        reference_scope(scope),
                        day,
                        "device",
                        basis=basis.value,  # type: ignore[arg-type]
                    )
                    assert {row["client_uuid"]: (row["count"], row["auth"], row["submit"]) for row in found} == {
                        row["client"]: (row["count"], row["auth"], row["submit"]) for row in truth
                    }


@details
def test_q5_a_day_by_authorization_and_by_report(world: World) -> None:
    rows = 0
    for organization in (LARGE, SMALL):
        for day in busiest(world, organization):
            for scope in some(world, organization):
                statistics = world.statistics(organization)
                asked = statistics.day_detail(day, DetailBy.AUTHORIZATION, scope).value
                truth = day_detail(world.recount, organization, reference_scope(scope), day, "authorization")
                assert [
                    (row["auth_id"], row["client_uuid"], row["outcome"] == "granted", row["project_id"])
                    for row in asked
                ] == [(row["auth_id"], row["client"], row["granted"], row["project"]) for row in truth]
                for basis in Basis:
                    reports = statistics.day_detail(day, DetailBy.REPORT, scope, basis).value
                    truth = day_detail(
                        world.recount,
                        organization,
                        reference_scope(scope),
                        day,
                        "report",
                        basis=basis.value,  # type: ignore[arg-type]
                    )
                    assert {(row["source_offset"], row["report_id"], row["count"], row["late"]) for row in reports} == {
                        (row["offset"], row["report_id"], row["count"], row["late"]) for row in truth
                    }
                    rows += len(truth)
    assert rows > 50


def test_q2_headers(world: World) -> None:
    for organization in OWNERS:
        found = world.statistics(organization).items().value
        assert [each.item_id for each in found] == sorted(each.item_id for each in found)
        for each in found:
            truth = header(world.recount, organization, each.item_id, world.now)
            assert (each.quota, each.percent, each.budget, each.attributed) == (
                truth["quota"],
                truth["percent"],
                truth["budget"],
                truth["attributed"],
            ), (world.seed, organization, each)
            assert (each.peak_concurrent, each.consumed) == (truth["peak"], truth["consumed"])
            if each.consumed is None and each.charge_way != "per_domain":
                assert each.used == truth["used"]


def test_q10_parts_add_up(world: World) -> None:
    for organization in OWNERS:
        statistics = world.statistics(organization)
        for scope in some(world, organization):
            total = sum(row["value"] for row in statistics.series(Measure.COUNT, scope).value)
            for split in (Split.FEATURE, Split.CLIENT, Split.PROJECT, Split.ITEM, Split.LATE):
                parts = statistics.series(Measure.COUNT, scope, split=split).value
                assert sum(row["value"] for row in parts) == total
            for bucket in (Bucket.SLOT, Bucket.HOUR, Bucket.DAY):
                parts = statistics.series(Measure.COUNT, scope, bucket=bucket).value
                assert sum(row["value"] for row in parts) == total
            if scope.kind is not ScopeKind.ITEM:
                items = statistics.series(Measure.COUNT, scope, split=Split.ITEM).value
                uncharged = sum(row["value"] for row in statistics.series(Measure.UNCHARGED, scope).value)
                assert sum(row["value"] for row in items if row["split"]) + uncharged == total


def test_percentiles_of_concurrency(world: World) -> None:
    for scope in (Scope.item("desk"), Scope.item("load"), Scope.project(f"{LARGE}-kiosk"), ORGANIZATION):
        period = last_days(30, world.today)
        profile = world.statistics(LARGE).concurrency(scope, period).value
        slots = expected(world.recount, Series(LARGE, Measure.PEAK_CONCURRENT, scope, period, Bucket.SLOT))
        values = sorted([*slots.values(), *[0] * (30 * 480 - len(slots))])
        assert profile.peak == values[-1]
        for percent, value in profile.percentiles.items():
            assert value == values[-(-percent * len(values) // 100) - 1]


def test_an_organization_without_use_has_zeros(world: World) -> None:
    statistics = world.statistics(IDLE)
    assert [point.value for point in statistics.trend(Measure.COUNT, period=last_days(7, world.today)).value] == [0] * 7
    assert statistics.seats().value.rows == []
    assert statistics.completeness().value.totals["known"] == 0


def test_q7_every_answer_says_when_the_last_counted_event_arrived(world: World) -> None:
    for organization in OWNERS:
        own = [record for record in generate(world.seed, EVENTS) if record.key == organization.encode()]
        last = dt.datetime.fromtimestamp(own[-1].received_ms / 1000, dt.UTC)
        statistics = world.statistics(organization)
        assert statistics.updated_at() == last
        assert {statistics.items().updated_at, statistics.shares().updated_at, statistics.seats().updated_at} == {last}


def test_q11_a_stranger_sees_nothing(world: World) -> None:
    statistics = world.statistics("9999")
    assert statistics.items().value == []
    assert statistics.updated_at() is None
    for measure in Measure:
        assert statistics.series(measure).value.rows == []
