"""What holds for every generated history of statistics: the recount agrees with itself (Q10), with the events that
were accepted, and with the rows that the stream sends. The queries are held against it elsewhere."""

import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from licmeter.sinks.conversion import RowBatch
from licmeter.stream.batch import InputRecord
from tests.support.reference.catalog import CHARGE_WAYS
from tests.support.statistics.catalogs import DAYS, IDLE, LARGE, SMALL, START, UNKNOWN
from tests.support.statistics.facts import NONE
from tests.support.statistics.history import generate
from tests.support.statistics.load import batches
from tests.support.statistics.recount import BUCKETS, MEASURES, SPLITS, SUMS, WITHOUT, Basis, Recount, Scope
from tests.support.statistics.views import day_detail, day_detail_received, shares

SEEDS = [1, 2]
EVENTS = 1_000
BASES: tuple[Basis, ...] = ("usage", "received")


@pytest.fixture(scope="module", params=SEEDS)
def history(request: pytest.FixtureRequest) -> tuple[list[InputRecord], Recount]:
    log = generate(request.param, EVENTS)
    return log, Recount.of(log)


def scopes(recount: Recount, organization_id: str) -> list[Scope]:
    projects = {r.project_id for r in recount.facts.reports if r.organization_id == organization_id}
    items = {name for owner, name in recount.facts.items if owner == organization_id}
    found: list[Scope] = [("organization", None)]
    return found + [("project", name) for name in sorted(projects)] + [("item", name) for name in sorted(items)]


def total(recount: Recount, measure: str, organization_id: str, scope: Scope, **asked: Any) -> int:
    found = recount.measure(measure, organization_id=organization_id, scope=scope, bucket="all", **asked)
    return found.get((None, None), 0)


def test_the_history_holds_every_case(history: tuple[list[InputRecord], Recount]) -> None:
    log, recount = history
    arrivals = [entry.received_ms for entry in log]
    assert arrivals == sorted(arrivals)
    assert [entry.offset for entry in log] == list(range(len(log)))
    units: Counter[Any] = Counter()
    for fact in recount.facts.reports:
        for line in fact.lines:
            found = recount.facts.items.get((fact.organization_id, line.item_id))
            units[fact.organization_id, found and (found["charge_way"], found["daily"])] += line.quantity
    ways = [(way, False) for way in CHARGE_WAYS] + [("per_device", True), None]
    assert all(units[LARGE, way] for way in ways)
    for measure in MEASURES:
        assert recount.measure(measure, organization_id=LARGE), measure
    outcomes = {(o["kind"], o["outcome"]) for o in recount.facts.outcomes}
    assert outcomes >= {("report", o) for o in ("charged", "uncharged", "duplicate", "rejected")}
    assert outcomes >= {("authorization", o) for o in ("granted", "refused")}
    reasons = {o["reason"] for o in recount.facts.outcomes} - {None}
    assert reasons >= {"conflict", "too_old", "unknown_project", "project_disabled", "clock_skew"}
    shared = Counter(
        item_id for _, item_id in {(r.project_id, x.item_id) for r in recount.facts.reports for x in r.lines}
    )
    assert min(shared["scan-a"], shared["load"]) > 1
    ages = [r.received_ms - r.slot_s * 1000 for r in recount.facts.reports]
    assert min(ages) < 0
    assert max(ages) > 28 * 86_400_000
    assert max(Counter(row.code for row in recount.facts.requests if not row.granted).values()) > 3
    assert {row.organization_id for row in recount.facts.requests} == {LARGE, SMALL, UNKNOWN}


def test_the_usual_ranges_differ(history: tuple[list[InputRecord], Recount]) -> None:
    _, recount = history
    today = (START + timedelta(days=DAYS - 1)).date()
    starts = [None, *(today - timedelta(days=n - 1) for n in (90, 30, 7, 1))]
    for measure in ("count", "submit", "devices", "exceptions", "auth"):
        found = [
            total(recount, measure, LARGE, ("organization", None), first_day=first, last_day=today) for first in starts
        ]
        assert found == sorted(found, reverse=True), measure
        assert measure == "devices" or len(set(found[:4])) == 4, (measure, found)


def test_nothing_that_was_refused_or_repeated_is_counted(history: tuple[list[InputRecord], Recount]) -> None:
    """The units are those of the accepted events themselves, not of how they were divided."""
    log, recount = history
    units: Counter[str] = Counter()
    for entry, outcome in zip(log, recount.facts.outcomes, strict=True):
        if outcome["kind"] == "report" and outcome["outcome"] in ("charged", "uncharged"):
            assert entry.key is not None
            units[entry.key.decode()] += sum(json.loads(entry.value or b"")["data"]["counts"].values())
    for name in (LARGE, SMALL, IDLE, UNKNOWN):
        assert total(recount, "count", name, ("organization", None)) == units[name]


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_q10_sums_over_buckets_and_parts_are_the_total(
    history: tuple[list[InputRecord], Recount], bucket: str, basis: Basis
) -> None:
    _, recount = history
    days = {"first_day": (START + timedelta(days=20)).date(), "last_day": (START + timedelta(days=80)).date()}
    for name in (LARGE, SMALL):
        for scope in scopes(recount, name):
            for measure in (*SUMS, "auth", "auth_failed"):
                whole = total(recount, measure, name, scope, basis=basis, **days)
                for split in set(SPLITS) - set(WITHOUT.get(measure, ())):
                    parts = recount.measure(
                        measure, organization_id=name, scope=scope, bucket=bucket, split=split, basis=basis, **days
                    )
                    assert sum(parts.values()) == whole, (name, scope, measure, split)


@pytest.mark.parametrize("basis", BASES)
def test_q10_attributed_and_uncharged_are_the_projects_total(
    history: tuple[list[InputRecord], Recount], basis: Basis
) -> None:
    _, recount = history
    for name in (LARGE, SMALL):
        by_item = recount.measure("count", organization_id=name, bucket="all", split="item", basis=basis)
        for scope in scopes(recount, name):
            everything = total(recount, "count", name, scope, basis=basis)
            if scope[0] == "item":
                assert by_item.get((None, scope[1]), 0) == everything
                by_project = recount.measure(
                    "count", organization_id=name, scope=scope, bucket="all", split="project", basis=basis
                )
                assert sum(by_project.values()) == everything
                continue
            parts = recount.measure("count", organization_id=name, scope=scope, bucket="all", split="item", basis=basis)
            unlicensed = total(recount, "uncharged", name, scope, basis=basis)
            assert parts.get((None, NONE), 0) == unlicensed
            assert sum(units for (_, item_id), units in parts.items() if item_id != NONE) + unlicensed == everything


def test_devices_are_not_additive_and_new_ones_are(history: tuple[list[InputRecord], Recount]) -> None:
    _, recount = history
    for name in (LARGE, SMALL):
        for scope in scopes(recount, name):
            for split in SPLITS:
                whole = recount.measure("devices", organization_id=name, scope=scope, bucket="all", split=split)
                new: Counter[Any] = Counter()
                by_day = recount.measure("new_devices", organization_id=name, scope=scope, split=split)
                for (_, part), devices in by_day.items():
                    new[None, part] += devices
                assert new == whole, (scope, split)
        whole_devices = total(recount, "devices", name, ("organization", None))
        assert sum(recount.measure("devices", organization_id=name).values()) > whole_devices
        by_project = recount.measure("devices", organization_id=name, bucket="all", split="project")
        assert sum(by_project.values()) > whole_devices


def test_submits_are_those_of_reports_once_for_each_feature(history: tuple[list[InputRecord], Recount]) -> None:
    _, recount = history
    for basis in BASES:
        whole = total(recount, "submit", LARGE, ("organization", None), basis=basis)
        for split in ("client", "project", "late"):
            parts = recount.measure("submit", organization_id=LARGE, bucket="all", split=split, basis=basis)
            assert sum(parts.values()) == whole
        for split in ("feature", "item"):
            parts = recount.measure("submit", organization_id=LARGE, bucket="all", split=split, basis=basis)
            assert sum(parts.values()) > whole
            assert max(parts.values()) < whole


def test_details_of_a_day_add_up_to_it(history: tuple[list[InputRecord], Recount]) -> None:
    _, recount = history
    for number in (0, 44, 45, 70):
        day = (START + timedelta(days=number)).date()
        for scope in scopes(recount, LARGE):
            for basis in BASES:
                asked: dict[str, Any] = {"basis": basis, "first_day": day, "last_day": day}
                expected = {name: total(recount, name, LARGE, scope, **asked) for name in ("count", "auth", "submit")}
                groups = {"1h": expected, "2h": expected, "device": expected, "report": expected | {"auth": 0}}
                groups["authorization"] = {"count": 0, "auth": expected["auth"], "submit": 0}
                for group, sums in groups.items():
                    rows = day_detail(recount, LARGE, scope, day, group, basis=basis)
                    assert {name: sum(row[name] for row in rows) for name in sums} == sums, (scope, basis, group)
                if basis == "received":
                    rows = day_detail_received(recount, LARGE, scope, day)
                    assert {name: sum(row[name] for row in rows) for name in expected} == expected
                    assert not any(row["auth"] for row in rows if isinstance(row["period"], date))


def test_q3_shares_add_up(history: tuple[list[InputRecord], Recount]) -> None:
    _, recount = history
    today = (START + timedelta(days=60)).date()
    found = shares(recount, LARGE, today=today, first_day=today - timedelta(days=29), last_day=today)
    assert found["all"][0] > found["range"][0] > found["today"][0] > 0
    for whole, by_feature in found.values():
        assert sum(by_feature.values()) == whole


def test_q11_another_organization_sees_nothing(history: tuple[list[InputRecord], Recount]) -> None:
    log, recount = history
    alone = Recount.of([entry for entry in log if entry.key == SMALL.encode()])
    for measure in MEASURES:
        asked: dict[str, Any] = {"organization_id": SMALL, "last_day": recount.last_day}
        assert alone.measure(measure, **asked) == recount.measure(measure, **asked)
        if not measure.startswith("auth"):
            assert not recount.measure(measure, organization_id=IDLE)
            assert not recount.measure(measure, organization_id=UNKNOWN)


# --- and the stream's own rows say the same


def stored(log: list[InputRecord]) -> dict[str, pa.Table]:
    """What the sink would have in its tables, without ClickHouse."""
    batch = RowBatch()
    for sent in batches(log, seed=7, repeated=0.3):
        for row in sent:
            batch.add(row)
    assert not batch.undecodable
    return {name: pa.Table.from_batches([rows]) for name, rows in batch.tables().items()}


def test_the_rows_of_the_stream_are_the_facts(history: tuple[list[InputRecord], Recount]) -> None:
    log, recount = history
    tables = stored(log)
    theirs: dict[Any, dict[int, tuple[Any, ...]]] = defaultdict(dict)
    for row in tables["usage_attributed"].to_pylist():
        if row["outcome"] != "duplicate":
            line = (
                row["feature"],
                row["item_id"],
                *(row[name] for name in ("quantity", "in_quota", "in_grace", "over")),
            )
            place: tuple[Any, ...] = (
                row["source_offset"],
                row["project_id"],
                row["client_uuid"],
                int(row["slot"].timestamp()),
            )
            place += (row["late"], row["instances"], row["outcome"], row["received_at"].timestamp())
            theirs[place][row["line"]] = (*line, row["exceptions"])
    ours = {}
    for fact in recount.facts.reports:
        place = (fact.offset, fact.project_id, fact.client, fact.slot_s)
        place += (fact.late, fact.instances, fact.outcome, fact.received_ms / 1000)
        ours[place] = sorted(
            (x.feature, x.item_id, x.quantity, x.in_quota, x.in_grace, x.over, x.exceptions) for x in fact.lines
        )
    assert {place: sorted(lines.values()) for place, lines in theirs.items()} == ours
    requests = {
        (
            r["source_offset"],
            r["project_id"],
            r["item_id"],
            r["client_uuid"],
            r["at"].timestamp(),
            r["outcome"],
            r["code"],
        )
        for r in tables["authorizations"].to_pylist()
        if r["outcome"] != "duplicate"
    }
    assert requests == {
        (r.offset, r.project_id, r.item_id, r.client, r.at_ms / 1000, "granted" if r.granted else "refused", r.code)
        for r in recount.facts.requests
    }


def test_the_seats_of_the_stream_are_the_lives(history: tuple[list[InputRecord], Recount]) -> None:
    """But for those that end before they begin: a report of a time when the item was valid came long after its end."""
    log, recount = history
    ends: dict[Any, float] = {}
    since: dict[Any, dict[str, float]] = defaultdict(dict)
    for row in stored(log)["seats"].to_pylist():
        life = (row["organization_id"], row["item_id"], row["client_uuid"], row["first_at"].timestamp())
        ends[life] = max(ends.get(life, 0.0), row["expires_at"].timestamp())
        if row["project_id"]:
            moment = row["since"].timestamp()
            since[life][row["project_id"]] = min(since[life].get(row["project_id"], moment), moment)
    lives = [seat for seat in recount.seats if seat.first_ms < seat.end_ms]
    ours = {(s.organization_id, s.item_id, s.client, s.first_ms / 1000): s for s in lives}
    ends = {life: end for life, end in ends.items() if life[-1] < end}
    since = {life: projects for life, projects in since.items() if life in ends}
    assert ends == {life: seat.end_ms / 1000 for life, seat in ours.items()}
    assert since == {life: {p: ms / 1000 for p, ms in seat.projects.items()} for life, seat in ours.items()}
