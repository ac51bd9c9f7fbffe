"""The promise: every accepted report counts exactly once, whatever crashes, repeats, reorders or splits."""

from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.stream.batch import InputRecord
from tests.support.build import SLOT, catalog_record, item, organization, record, report
from tests.support.oracle import Oracle, count
from tests.support.pipeline import Results, run

ORGANIZATIONS = ("100", "200", "300")


def document(organization_id: str, quota: int) -> Any:
    items = [item("A", quota=quota), item("B", quota=2 * quota, expires_at="2031-12-01T00:00:00Z")]
    projects = [
        {"project_id": f"{organization_id}-one", "item_ids": ["A", "B"]},
        {"project_id": f"{organization_id}-two", "item_ids": ["A"]},
        {"project_id": f"{organization_id}-none", "item_ids": []},
    ]
    return organization(*items, organization_id=organization_id, projects=projects, default_project_id=None)


reports = st.fixed_dictionaries(
    {
        "organization": st.sampled_from((*ORGANIZATIONS, "999")),
        "project": st.sampled_from(("one", "two", "none", "gone")),
        "client": st.sampled_from(("x", "y")),
        "id": st.integers(0, 12),  # few, so that duplicates and conflicts are common
        "counts": st.dictionaries(st.sampled_from(("qr", "ean", "ocr")), st.integers(0, 40), max_size=3),
        "slot": st.integers(0, 3),
    }
)
catalogs = st.tuples(st.sampled_from(ORGANIZATIONS), st.integers(1, 60))
broken = st.tuples(st.sampled_from((*ORGANIZATIONS, "999")), st.sampled_from((b"{", b"\xff", b"[")))
events = st.lists(st.one_of(reports, reports, reports, reports, catalogs, broken), min_size=1, max_size=60)


def as_log(drawn: list[Any]) -> list[InputRecord]:
    log = []
    for offset, event in enumerate(drawn):
        if isinstance(event, dict):
            fields = {
                "project_id": f"{event['organization']}-{event['project']}",
                "client_uuid": event["client"],
                "counts": event["counts"],
                "slot": SLOT - timedelta(minutes=3 * event["slot"]),
            }
            log.append(record(report(f"r{event['id']}", **fields), offset, key=event["organization"].encode()))
        elif isinstance(event[1], int):
            log.append(catalog_record(document(*event), offset))
        else:
            log.append(record(event[1], offset, key=event[0].encode()))
    return log


def assert_equal(results: Results, oracle: Oracle, log: list[InputRecord]) -> None:
    for name in (*ORGANIZATIONS, ""):
        counters = results.organizations.get(name)
        found = (
            {} if counters is None else counters.model_dump(include={"charged", "uncharged", "duplicate", "rejected"})
        )
        assert {k: v for k, v in found.items() if v} == dict(oracle.outcomes.get(name, {})), name
    items = {key: [c.in_quota, c.in_grace, c.over] for key, c in results.items.items() if c.used}
    assert items == {key: parts for key, parts in oracle.parts.items() if any(parts)}
    units: dict[tuple[str, str, str], int] = {}
    for row in results.rows.values():
        organization_id, project_id, _, _, _, _, feature, outcome = row[:8]
        if outcome != "duplicate":
            key = (organization_id, project_id, feature)
            units[key] = units.get(key, 0) + row[9]
    assert {key: value for key, value in units.items() if value} == {k: v for k, v in oracle.units.items() if v}
    reports_in_rows = sum(1 for _, _, line in results.rows if line == 0)
    catalogs_in_log = sum(1 for entry in log if b'"license.catalog.v1"' in (entry.value or b""))
    assert reports_in_rows + len(results.rejects) + catalogs_in_log == len(log)  # invariant 7


@settings(max_examples=500)
@given(events, st.integers(0, 2**32), st.sampled_from((1, 3, 10, 100)))
def test_crashes_and_batch_bounds_change_nothing(drawn: list[Any], seed: int, batch_max: int) -> None:
    log = as_log(drawn)
    oracle = count(log)
    results, _ = run(log, seed=seed, crash_probability=0.25, batch_max=batch_max)
    assert_equal(results, oracle, log)


def dense_log(seed: int) -> list[InputRecord]:
    """Many events of few identities, so that each crash has something to forget or to count twice."""
    random = Random(seed)
    drawn: list[Any] = [(name, random.randint(1, 60)) for name in ORGANIZATIONS if random.random() < 0.7]
    for _ in range(60):
        kind = random.random()
        name = random.choice((*ORGANIZATIONS, "999")) if kind < 0.3 else "100"
        if kind < 0.04:
            drawn.append((name if name != "999" else "100", random.randint(1, 60)))
        elif kind < 0.08:
            drawn.append((name, b"{"))
        else:
            drawn.append(
                {
                    "organization": name,
                    "project": random.choice(("one", "one", "two", "none", "gone")),
                    "client": random.choice("xy"),
                    "id": random.randint(0, 9),
                    "counts": {"qr": random.choice((0, 1, 1, 1))},
                    "slot": 0,
                }
            )
    return as_log(drawn)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from((2, 5, 20)))
def test_crashes_in_dense_logs_change_nothing(seed: int, batch_max: int) -> None:
    log = dense_log(seed)
    results, _ = run(log, seed=seed, crash_probability=0.25, batch_max=batch_max)
    assert_equal(results, count(log), log)


@settings(max_examples=200)
@given(events, st.integers(0, 2**32))
def test_invariant_1_and_2_any_order_and_any_repetition_give_the_same_totals(drawn: list[Any], seed: int) -> None:
    """Distinct reports of one project with one item, after one catalog: any order, any repetition."""
    unique = {
        (e["client"], e["id"]): e | {"organization": "100", "project": "two"} for e in drawn if isinstance(e, dict)
    }
    once = [("100", 30), *unique.values()]
    shuffled = [*unique.values(), *unique.values()]
    Random(seed).shuffle(shuffled)
    first, _ = run(as_log(once))
    second, _ = run(as_log([("100", 30), *shuffled]), seed=seed, batch_max=7)

    def totals(results: Results) -> tuple[Any, Any]:
        item_counters = results.items["100", "A"]
        by_slot: dict[Any, int] = {}
        for row in results.rows.values():
            if row[7] != "duplicate":
                by_slot[row[5], row[6]] = by_slot.get((row[5], row[6]), 0) + row[9]
        return (item_counters.in_quota, item_counters.in_grace, item_counters.over), by_slot

    assert totals(first) == totals(second)


def test_the_crashes_do_happen() -> None:
    """The check above can fail: the simulated process dies often enough, also between the writes."""
    log = as_log(
        [
            ("100", 10),
            *(
                {"organization": "100", "project": "one", "client": "x", "id": n, "counts": {"qr": 1}, "slot": 0}
                for n in range(40)
            ),
        ]
    )
    results, faults = run(log, seed=7, crash_probability=0.25, batch_max=5)
    assert faults.crashes >= 10
    assert_equal(results, count(log), log)
