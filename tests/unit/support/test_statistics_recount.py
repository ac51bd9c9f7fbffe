"""Statistics counted again by hand: the worked example of section 10, and small histories for each definition."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from licmeter.schemas.authorizations import authorization
from licmeter.schemas.catalog import Organization
from tests.support.build import ORGANIZATION, catalog_record, item, organization, record, report
from tests.support.statistics.facts import NONE
from tests.support.statistics.recount import Recount, Scope
from tests.support.statistics.views import day_detail, day_detail_received, header, trend

K, M = f"{ORGANIZATION}-kiosk", f"{ORGANIZATION}-mobile"
DAY = date(2031, 3, 8)
SLOT = timedelta(minutes=3)


def at(day: date, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)


def epoch(instant: datetime) -> int:
    return int(instant.timestamp())


def count(document: Organization, *events: tuple[dict[str, Any], datetime]) -> Recount:
    """Count events in the order of their arrival; the catalog came long before."""
    log = [catalog_record(document, received=datetime(2031, 1, 1, tzinfo=UTC))]
    for offset, (event, received) in enumerate(sorted(events, key=lambda entry: entry[1]), 1):
        log.append(record(event, offset, received=received))
    return Recount.of(log)


def use(
    client: str, slot: datetime, received: datetime | None = None, **fields: Any
) -> tuple[dict[str, Any], datetime]:
    received = slot + SLOT if received is None else received
    name = f"{client}-{epoch(slot)}-{epoch(received)}-{fields.get('project_id', '')}-{fields.get('instances', '')}"
    return report(name, client_uuid=client, slot=slot, **fields), received


def asks(client: str, instant: datetime, **fields: Any) -> tuple[dict[str, Any], datetime]:
    fields = {"project_id": K} | fields
    return authorization(auth_id=f"{client}-{instant}", client_uuid=client, at=instant, **fields), instant


# --- the worked example of section 10

A, B = item("A", quota=100, modules=["qr"]), item("B", quota=100)
TWO_PROJECTS = organization(
    A, B, projects=[{"project_id": K, "item_ids": ["A", "B"]}, {"project_id": M, "item_ids": ["B"]}]
)


def example(*, one_arrives_next_day: bool) -> Recount:
    """K→A 4 qr at 08:10, K→B 6 qr at 08:50, M→B 5 code128 at 11:20; A ends between the first two."""
    document = TWO_PROJECTS.model_dump(mode="json", exclude_defaults=True)
    document["license_files"][0]["items"][0] |= {"expires_at": "2031-03-08T08:30:00Z", "expiry_grace_days": 0}
    rest = 5 if one_arrives_next_day else 6
    events = [
        use("a", at(DAY, 8, 9), counts={"qr": 4}),
        use("b", at(DAY, 8, 48), counts={"qr": rest}),
        use("c", at(DAY, 11, 18), counts={"code128": 5}, project_id=M),
    ]
    if one_arrives_next_day:
        events.append(use("b", at(DAY, 8, 48), at(DAY + timedelta(days=1), 7), counts={"qr": 1}))
    return count(Organization.model_validate(document), *events)


@pytest.mark.parametrize("one_arrives_next_day", [False, True])
@pytest.mark.parametrize(
    ("scope", "total", "by_bucket", "by_feature"),
    [
        (("project", K), 10, {8: 10}, {"qr": 10}),
        (("project", M), 5, {10: 5}, {"code128": 5}),
        (("item", "A"), 4, {8: 4}, {"qr": 4}),
        (("item", "B"), 11, {8: 6, 10: 5}, {"qr": 6, "code128": 5}),
    ],
    ids=["project K", "project M", "item A", "item B"],
)
def test_example_10_q1_q5_by_usage(
    scope: Scope, total: int, by_bucket: dict[int, int], by_feature: dict[str, int], one_arrives_next_day: bool
) -> None:
    recount = example(one_arrives_next_day=one_arrives_next_day)
    asked: dict[str, Any] = {"organization_id": ORGANIZATION, "scope": scope, "first_day": DAY, "last_day": DAY}
    assert recount.measure("count", bucket="day", **asked) == {(epoch(at(DAY)), None): total}
    hours = {(epoch(at(DAY, hour)), None): units for hour, units in by_bucket.items()}
    assert recount.measure("count", bucket="2h", **asked) == hours
    features = {(None, feature): units for feature, units in by_feature.items()}
    assert recount.measure("count", bucket="all", split="feature", **asked) == features
    rows = day_detail(recount, ORGANIZATION, scope, DAY)
    assert {row["period"]: row["count"] for row in rows} == {start: units for (start, _), units in hours.items()}


def test_example_10_q8_by_arrival() -> None:
    recount = example(one_arrives_next_day=True)
    by_arrival = recount.measure("count", organization_id=ORGANIZATION, scope=("project", K), basis="received")
    next_day = DAY + timedelta(days=1)
    assert by_arrival == {(epoch(at(DAY)), None): 9, (epoch(at(next_day)), None): 1}
    (row,) = day_detail_received(recount, ORGANIZATION, ("project", K), next_day)
    assert row == {"period": DAY, "count": 1, "auth": 0, "submit": 1}
    (own,) = day_detail_received(recount, ORGANIZATION, ("project", K), DAY)
    assert own == {"period": epoch(at(DAY, 8)), "count": 9, "auth": 0, "submit": 2}


def test_q8_auth_of_a_row_of_an_earlier_day_is_0() -> None:
    next_day = DAY + timedelta(days=1)
    events = [
        asks("a", at(DAY, 9)),
        asks("a", at(next_day, 9)),
        use("a", at(DAY, 9), at(next_day, 9)),
        use("a", at(next_day, 9)),
    ]
    rows = day_detail_received(count(TWO_PROJECTS, *events), ORGANIZATION, ("organization", None), next_day, "1h")
    assert rows == [
        {"period": epoch(at(next_day, 9)), "count": 1, "auth": 1, "submit": 1},
        {"period": DAY, "count": 1, "auth": 0, "submit": 1},
    ]


# --- devices, seats, concurrency, by hand


def test_devices_are_users_and_those_with_leave_and_new_only_once() -> None:
    second = DAY + timedelta(days=1)
    recount = count(
        TWO_PROJECTS,
        use("user", at(DAY, 9)),
        use("user", at(second, 9), project_id=M),
        use("late", at(DAY, 10), at(second, 10)),
        use("idle", at(DAY, 9), counts={"qr": 0}),
        asks("allowed", at(DAY, 9)),
        asks("denied", at(DAY, 9), result="refused"),
        asks("unknown", at(DAY, 9), project_id=f"{ORGANIZATION}-gone"),
    )
    asked: dict[str, Any] = {"organization_id": ORGANIZATION}
    days = [(epoch(at(day)), None) for day in (DAY, second)]
    assert recount.measure("devices", **asked) == {days[0]: 3, days[1]: 1}
    assert recount.measure("devices", bucket="all", **asked) == {(None, None): 3}  # not 4
    assert recount.measure("new_devices", **asked) == {days[0]: 3}
    assert recount.measure("devices", basis="received", **asked) == {days[0]: 2, days[1]: 2}
    assert recount.measure("new_devices", basis="received", **asked) == {days[0]: 2, days[1]: 1}
    assert recount.measure("new_devices", scope=("project", M), **asked) == {days[1]: 1}
    assert recount.measure("devices", bucket="all", split="project", **asked) == {(None, K): 3, (None, M): 1}
    assert recount.measure("devices", bucket="all", split="feature", **asked) == {(None, "qr"): 2}
    assert recount.measure("submit", **asked) == {days[0]: 3, days[1]: 1}
    assert recount.measure("auth", **asked) == {days[0]: 3}
    assert recount.measure("auth_failed", **asked) == {days[0]: 2}
    assert recount.measure("auth_failed", split="project", bucket="all", **asked) == {
        (None, K): 1,
        (None, f"{ORGANIZATION}-gone"): 1,
    }


def test_active_devices_of_the_example_of_section_6_2() -> None:
    """A contact at the end of a bucket counts in its state, and a seat that ends there no more (V3)."""
    seats = item("D", charge_way="per_device", activity_period="monthly", quota=5)
    first = at(DAY)
    day = timedelta(days=1)
    contacts = [asks(name, first) for name in "ABCDE"]
    contacts += [asks("F", first + day), asks("G", first + 2 * day), use("A", first + 20 * day, first + 20 * day)]
    contacts += [asks("G", first + 30 * day + timedelta(seconds=1))]
    recount = count(organization(seats), *contacts)

    def live(after: timedelta) -> int:
        return recount.active_devices(ORGANIZATION, ("item", "D"), [epoch(first + after)])[0]

    assert [live(n * day) for n in (0, 1, 2, 29, 30, 31, 50, 61)] == [5, 6, 6, 6, 2, 2, 1, 0]
    assert live(timedelta(seconds=-1)) == 0
    by_day = recount.measure(
        "active_devices", organization_id=ORGANIZATION, scope=("item", "D"), first_day=DAY, last_day=DAY + 30 * day
    )
    assert [by_day[epoch(first + n * day), None] for n in (0, 1, 28, 29, 30)] == [6, 6, 6, 2, 2]


def test_a_seat_is_a_projects_from_the_first_contact_through_it_in_this_life() -> None:
    seats = item("D", charge_way="per_device", activity_period="daily", quota=5)
    projects = [{"project_id": name, "item_ids": ["D"]} for name in (K, M)]
    hour = timedelta(hours=1)
    first = at(DAY)
    recount = count(
        organization(seats, projects=projects),
        use("a", first, first),
        use("a", first + 2 * hour, first + 2 * hour, project_id=M),
        use("a", first + 20 * hour, first + 20 * hour, counts={}, project_id=M),  # prolongs, and is no use
        use("a", first + 50 * hour, first + 50 * hour),  # a new life, in which M has no part
    )
    instants = [epoch(first + n * hour) for n in (0, 1, 2, 43, 44, 50)]
    assert recount.active_devices(ORGANIZATION, ("project", K), instants) == [1, 1, 1, 1, 0, 1]
    assert recount.active_devices(ORGANIZATION, ("project", M), instants) == [0, 0, 1, 1, 0, 0]
    assert recount.active_devices(ORGANIZATION, ("organization", None), instants) == [1, 1, 1, 1, 0, 1]


def test_e22_e26_e27_one_client_in_a_slot_counts_once_with_the_most_it_declared() -> None:
    kinds = {"ci": "per_concurrent_instance", "cd": "per_concurrent_device", "s": "per_scan"}
    entries = [item(name, charge_way=way, quota=2, modules=[name]) for name, way in kinds.items()]
    projects = [{"project_id": name, "item_ids": list(kinds)} for name in (K, M)]
    slot = at(DAY, 9)
    recount = count(
        organization(*entries, projects=projects),
        *(use("a", slot, counts={"ci": 1, "cd": 1}, instances=n, project_id=p) for n, p in ((3, K), (5, K), (2, M))),
        use("b", slot, counts={"ci": 1, "s": 1}),
        use("c", slot, counts={"cd": 1}),
        use("d", slot, counts={"ci": 0}, instances=9),
        use("e", slot + SLOT, counts={"ci": 1}, instances=6),
        use("f", slot + SLOT, counts={"odd": 1}, instances=4),
    )
    asked: dict[str, Any] = {"organization_id": ORGANIZATION, "bucket": "all"}

    def peak(*scope: Any) -> dict[Any, int]:
        return recount.measure("peak_concurrent", scope=scope, **asked)

    assert peak("item", "ci") == {(None, None): 6}
    assert peak("item", "cd") == {(None, None): 2}
    assert peak("item", "s") == {(None, None): 1}
    assert peak("project", M) == {(None, None): 2}
    assert peak("project", K) == {(None, None): 10}  # the next slot: 6 + 4
    by_item = recount.measure("peak_concurrent", split="item", **asked)
    assert by_item == {(None, "ci"): 6, (None, "cd"): 2, (None, "s"): 1, (None, NONE): 1}
    by_slot = recount.measure("peak_concurrent", **asked | {"bucket": "slot"})
    assert by_slot == {(epoch(slot), None): 7, (epoch(slot + SLOT), None): 10}
    # N2: 5 + 1 - 2 in the first slot, 6 - 2 in the second.
    assert recount.measure("exceptions", split="item", **asked) == {(None, "ci"): 8}


@pytest.mark.parametrize(("used", "percent"), [(1_150, "57.50"), (1_210, "60.50"), (2_135, "106.75"), (1, "0.05")])
def test_q2_header_of_a_cumulative_item(used: int, percent: str) -> None:
    recount = count(organization(item(quota=2_000)), use("a", at(DAY, 9), counts={"qr": used}))
    shown = header(recount, ORGANIZATION, "41", at(DAY, 10))
    assert (shown["used"], shown["quota"], shown["percent"]) == (used, 2_000, percent)


def test_q2_header_of_concurrency_shows_the_peak_and_the_years_budget() -> None:
    """N5: on the 8th of March a budget year turns."""
    desk = item("c", charge_way="per_concurrent_device", quota=1, overuse_budget=3, starts_at="2030-03-08T00:00:00Z")
    yesterday = DAY - timedelta(days=1)
    slots = [at(yesterday, 9), at(DAY, 9)]
    recount = count(organization(desk), *(use(client, slot) for slot in slots for client in "ab"), use("c", slots[0]))
    before, after = (header(recount, ORGANIZATION, "c", slot) for slot in slots)
    assert (before["peak"], before["consumed"], before["budget"], before["percent"]) == (3, 2, 3, "66.67")
    assert (after["peak"], after["consumed"], after["budget"], after["percent"]) == (3, 1, 3, "33.33")


def test_q4_q9_trends_are_zero_filled_and_may_run_up() -> None:
    recount = count(TWO_PROJECTS, use("a", at(DAY, 9), counts={"qr": 2}), use("a", at(DAY + timedelta(days=2), 9)))
    days = [DAY + timedelta(days=n) for n in range(-1, 3)]
    asked: dict[str, Any] = {"measure": "count", "first_day": days[0], "last_day": days[-1]}
    assert trend(recount, ORGANIZATION, **asked) == list(zip(days, [0, 2, 0, 1], strict=True))
    running = trend(recount, ORGANIZATION, accumulative=True, **asked)
    assert running == list(zip(days, [0, 2, 2, 3], strict=True))
