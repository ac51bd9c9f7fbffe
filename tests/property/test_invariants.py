"""The invariants of the domain, section 15, over generated organizations and histories."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from licmeter.metering.alerting import HeldLevels, check_organization
from licmeter.metering.counters import item_counters
from licmeter.metering.items import instant_ms
from licmeter.metering.organization import OrganizationState
from licmeter.metering.recount import Recount
from licmeter.metering.slots import slot_index, slot_start
from licmeter.runtime.offline import OfflineMeter
from licmeter.schemas.alerts import ALERT_TYPE, Breach
from licmeter.schemas.attribution import COLUMNS
from licmeter.schemas.catalog import Organization
from licmeter.stream.batch import InputRecord
from tests.support import pipeline
from tests.support.build import item, organization
from tests.support.choices import Choices, choices
from tests.support.histories import ORGANIZATION, START, documents, histories, text

EXAMPLES = 2_000
relaxed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
History = tuple[dict[str, Any], list[dict[str, Any]]]
Log = list[dict[str, Any]]

SHORT = histories(events_max=15)


def meter(document: dict[str, Any], events: Log) -> tuple[OfflineMeter, list[dict[str, Any]]]:
    offline = OfflineMeter()
    offline.adopt([Organization.model_validate(document)])
    return offline, [offline.count(number, json.dumps(event).encode()) for number, event in enumerate(events, 1)]


def without_catalogs(events: Log) -> Log:
    return [event for event in events if event["type"] != "license.catalog.v1"]


def standing(offline: OfflineMeter) -> dict[str, Any]:
    """What must not change when nothing new is counted."""
    results = offline.results(slots=True)
    return {part: results[part] for part in ("items", "projects", "breaches")}


@given(SHORT)
@relaxed
def test_invariant_1_the_same_input_twice_changes_nothing(history: History) -> None:
    document, events = history
    events = without_catalogs(events)
    offline, outcomes = meter(document, events)
    before = standing(offline)
    last = events[-1]["receivedat"] if events else ""
    for number, (event, outcome) in enumerate(zip(events, outcomes, strict=True), 1):
        if outcome["outcome"] == "rejected":
            continue  # a wrong clock may be right by now
        again = offline.count(number, json.dumps(event | {"receivedat": last}).encode())
        if again["outcome"] != "duplicate":
            assert again["reason"] in ("too_old", "clock_skew")  # it comes again long after the first time
    after = standing(offline)
    # What is refused again because it is too old, or has a wrong clock by now, may be said once more.
    before["breaches"] = [b for b in before["breaches"] if b["kind"] not in ("clock_skew", "unknown_project")]
    after["breaches"] = [b for b in after["breaches"] if b["kind"] not in ("clock_skew", "unknown_project")]
    assert after == before


def window_report(number: int, chosen: Choices) -> dict[str, Any]:
    slot = START - timedelta(seconds=int(START.timestamp()) % 180) - chosen.integer(0, 4) * timedelta(minutes=3)
    counts = {name: chosen.integer(0, 4) for name in chosen.of((("qr",), ("core",), ("qr", "core")))}
    data = {"counts": counts, "instances": chosen.integer(1, 3)}
    event = {"specversion": "1.0", "type": "license.usage.report.v1", "id": str(number), "data": data}
    owner = {"subject": f"{ORGANIZATION}-p{chosen.integer(0, 1)}", "source": chosen.of("abcd")}
    return event | owner | {"time": text(slot), "receivedat": text(START)}


def window_reports() -> st.SearchStrategy[Log]:
    """Draw valid reports of several clients within the acceptance window."""
    several = st.lists(choices(8), min_size=1, max_size=14)
    return several.map(lambda drawn: [window_report(number, chosen) for number, chosen in enumerate(drawn)])


@given(documents(), window_reports(), st.randoms(use_true_random=False))
@relaxed
def test_invariant_2_a4_any_order_gives_the_same_totals(document: dict[str, Any], events: Log, random: Random) -> None:
    shuffled = random.sample(events, len(events))
    one, _ = meter(document, events)
    other, _ = meter(document, shuffled)
    assert one.results()["projects"] == other.results()["projects"]


@given(
    st.sampled_from(("per_scan", "per_page", "per_concurrent_device", "per_concurrent_instance")),
    st.sampled_from((None, 1, 2, 3, 10, 20)),
    window_reports(),
    st.randoms(use_true_random=False),
)
@relaxed
def test_invariant_2_n6_any_order_gives_one_item_the_same_state(
    way: str, quota: int | None, events: Log, random: Random
) -> None:
    entry = item("1", charge_way=way, quota=quota, starts_at="2031-01-01T00:00:00Z", expires_at="2033-01-01T00:00:00Z")
    projects = [{"project_id": f"{ORGANIZATION}-p{n}", "item_ids": ["1"]} for n in (0, 1)]
    document = {
        "organization_id": ORGANIZATION,
        "license_files": [{"license_id": "L", "items": [entry]}],
        "projects": projects,
    }
    one, _ = meter(document, events)
    other, _ = meter(document, random.sample(events, len(events)))
    assert one.results(slots=True)["items"] == other.results(slots=True)["items"]
    ids = [sorted(fact.breach_id for fact in each.recount.breaches) for each in (one, other)]
    assert ids[0] == ids[1]  # 8.2: the order may change values, never the set of ids


@given(SHORT)
@relaxed
def test_invariants_3_4_5_7_hold_after_every_event(history: History) -> None:
    document, events = history
    offline = OfflineMeter()
    offline.adopt([Organization.model_validate(document)])
    recount = offline.recount
    for number, event in enumerate(without_catalogs(events), 1):
        offline.count(number, json.dumps(event).encode())
        state = recount.organizations[ORGANIZATION]
        assert state.catalog is not None
        for counters in item_counters(state, 0, state.catalog.items.values(), recount.now_ms):
            metered = state.catalog.items[counters.item_id]
            quota, grace = metered.quota, metered.grace
            assert counters.in_quota + counters.in_grace + counters.over == counters.used
            if quota is not None:
                assert counters.in_quota <= quota
                assert counters.in_grace <= grace
                assert not counters.over or (counters.in_quota, counters.in_grace) == (quota, grace)
                if metered.seated:
                    assert counters.active <= quota + grace
        check_exceptions(recount)
    totals = recount.totals
    assert totals["received"] == sum(totals[name] for name in totals if name != "received")


def check_exceptions(recount: Recount) -> None:
    """Invariant 5."""
    state = recount.organizations[ORGANIZATION]
    assert state.catalog is not None
    for metered in state.catalog.items.values():
        if not metered.concurrent or metered.quota is None:
            continue
        consumed: Counter[int] = Counter()
        for (_, owner, slot_s), use in recount.slots.slots.items():
            if owner == metered.item_id:
                assert use.exceptions == max(0, sum(use.holders.values()) - metered.quota)
                consumed[metered.budget_year(slot_s * 1000)] += use.exceptions
        assert +consumed == +Counter(state.use(metered.item_id).consumed)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.sampled_from(("default", "legacy")))
@relaxed
def test_invariant_6_w5_w6_w7_levels_between_two_armings(active: list[int], preset: str) -> None:
    """The value is set at will; an independent set of what was notified since the last arming says what is due."""
    levels = (60, 80, 100) if preset == "default" else (75, 90, 95, 100, 110)
    quota = 20
    document = organization(
        item(charge_way="per_device", activity_period="yearly", quota=quota), alerts={"preset": preset}
    )
    state, held, notified = OrganizationState(document.organization_id), HeldLevels(), set[int]()
    state.adopt(document, 0)
    check_ms = instant_ms(START)
    for value in active:
        check_ms += 600_000
        state.seats.clear()
        for number in range(value):
            state.seat_book("41").contact(str(number), check_ms - 1, check_ms + 1_000)
        met = {level for level in levels if value * 100 >= level * quota}
        due = met - notified
        notified = {level for level in notified if value * 100 >= (level - 5) * quota} | met
        alert = check_organization(state, held, check_ms)
        if due:
            assert alert is not None
            (condition,) = alert.conditions
            assert (set(condition.crossed), condition.level) == (due, max(due))
        else:
            assert alert is None


@given(documents(), documents(), window_reports())
@relaxed
def test_invariant_8_p2_project_totals_do_not_depend_on_items(
    document: dict[str, Any], other: dict[str, Any], events: Log
) -> None:
    named = [f"{ORGANIZATION}-p{n}" for n in (0, 1)]
    ids = [entry["item_id"] for file in other.get("license_files", []) for entry in file["items"]]
    with_items = {
        "organization_id": ORGANIZATION,
        "license_files": other.get("license_files", []),
        "projects": [{"project_id": name, "item_ids": ids} for name in named],
    }
    empty = {"organization_id": ORGANIZATION, "projects": [{"project_id": name} for name in named]}
    assert document["organization_id"] == ORGANIZATION
    change = {"specversion": "1.0", "type": "license.catalog.v1", "source": "x", "id": "x", "subject": ORGANIZATION}
    change |= {"time": text(START), "receivedat": text(START), "data": with_items}
    half = len(events) // 2
    totals = [
        meter(catalog, log)[0].results()["projects"]
        for catalog, log in (
            (empty, events),
            (with_items, events),
            (empty, [*events[:half], change, *events[half:]]),
        )
    ]
    assert totals[0] == totals[1] == totals[2]


@given(st.integers(0, 2**33))
@relaxed
def test_invariant_9_t2_slot_arithmetic(epoch_s: int) -> None:
    start = slot_start(epoch_s)
    assert slot_start(start) == start <= epoch_s < start + 180
    midnight = datetime.fromtimestamp(epoch_s, UTC).replace(hour=0, minute=0, second=0)
    assert slot_index(epoch_s) == (epoch_s - int(midnight.timestamp())) // 180


def test_invariant_9_t3_480_slots_a_day() -> None:
    midnight = int(START.replace(hour=0, minute=0).timestamp())
    assert {slot_index(midnight + second) for second in range(86_400)} == set(range(480))


def log_of(document: dict[str, Any], events: Log) -> list[InputRecord]:
    """Put a document and its events on a partition."""
    change = {"specversion": "1.0", "type": "license.catalog.v1", "source": "x", "id": "x", "subject": ORGANIZATION}
    change |= {"time": text(START), "receivedat": text(START), "data": document}
    records = []
    for offset, event in enumerate([change, *events]):
        fields = {name: value for name, value in event.items() if name != "receivedat"}
        received_ms = instant_ms(datetime.fromisoformat(event["receivedat"]))
        records.append(InputRecord(offset, received_ms, ORGANIZATION.encode(), json.dumps(fields).encode()))
    return records


@given(SHORT, st.integers(0, 2**32), st.integers(1, 8))
@relaxed
def test_invariant_1_a8_batches_crashes_and_restores_change_nothing(history: History, seed: int, batch: int) -> None:
    """Any split into batches, a crash between any two writes, state read back from its records: the same books."""
    document, events = history
    log = log_of(document, events)
    whole, _ = pipeline.run(log)
    pieces, _ = pipeline.run(log, seed=seed, crash_probability=0.08, batch_max=batch)
    assert pieces.rows == whole.rows
    assert pieces.rejects == whole.rejects
    assert pieces.authorizations == whole.authorizations
    assert pieces.breaches == whole.breaches
    kept = {"applied_offset"}  # an item that the last batch did not touch has an older one
    for name, counters in whole.organizations.items():
        assert pieces.organizations[name].model_dump(exclude=kept) == counters.model_dump(exclude=kept)
    # What a catalog took away before the end is only known to who saw it before.
    assert {name: entry for name, entry in stable(pieces).items() if name in whole.items} == stable(whole)


def stable(results: pipeline.Results) -> dict[Any, Any]:
    """Leave out what says when an item was last looked at: seats end by time alone."""
    kept = {"applied_offset", "updated_at", "active", "percent", "state", "in_expiry_grace", "consumed", "budget_year"}
    return {name: counters.model_dump(exclude=kept) for name, counters in results.items.items()}


@given(SHORT)
@relaxed
def test_invariant_10_no_output_says_more_than_its_schema(history: History) -> None:
    document, events = history
    secret = "PASSWORD-HASH-9"
    document = json.loads(json.dumps(document))
    document["projects"][0]["session_password_hash"] = secret
    results, _ = pipeline.run(log_of(document, events))
    columns = len(COLUMNS)
    assert all(len(row) == columns for row in results.rows.values())
    seen = json.dumps(
        [list(results.breaches.values()), [counters.model_dump_json() for counters in results.items.values()]]
    )
    seen += repr([*results.rows.values(), *results.authorizations.values()])
    assert secret not in seen
    for event in results.breaches.values():
        assert event["type"] != ALERT_TYPE
        assert set(event["data"]) <= set(Breach.model_fields)
