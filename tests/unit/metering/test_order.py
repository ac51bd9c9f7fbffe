"""Which of several items is used first, and how much of it (domain, section 7)."""

from datetime import timedelta
from typing import Any

import pytest

from licmeter.schemas.outcomes import Outcome
from tests.support.build import ORGANIZATION, RECEIVED, SLOT, item, organization
from tests.unit.metering.bench import DAY, SLOT_LENGTH, Bench, charged

DOMAIN = [{"kind": "domain", "value": "example.org"}]
SOON, LATER, LAST = ("2031-06-01T00:00:00Z", "2031-09-01T00:00:00Z", "2031-12-01T00:00:00Z")


def monthly(item_id: str, quota: int | None = 1, **changes: Any) -> dict[str, Any]:
    return item(item_id, charge_way="per_device", activity_period="monthly", quota=quota, **changes)


def concurrent(item_id: str, quota: int | None = 1, **changes: Any) -> dict[str, Any]:
    return item(item_id, charge_way="per_concurrent_device", quota=quota, **changes)


def in_order(*items: dict[str, Any]) -> Bench:
    """Make a project that uses its items in the given order."""
    ids = [entry["item_id"] for entry in items]
    return Bench(organization(*items, project={"usage_order": ids} if ids else {}))


def test_example_7_3_two_page_items() -> None:
    j1 = item("J1", charge_way="per_page", quota=100, expires_at="2031-07-01T00:00:00Z")
    j2 = item("J2", charge_way="per_page", quota=500)
    bench = Bench(organization(j2, j1))
    taken = [charged(bench.send(counts={"core": count})) for count in (80, 50, 480)]
    assert taken == [
        [("core", "J1", 80)],
        [("core", "J1", 20), ("core", "J2", 30)],
        [("core", "J1", 5), ("core", "J2", 475)],
    ]
    assert bench.parts("J1") == (100, 5, 0)
    assert bench.parts("J2") == (500, 5, 0)


def test_example_7_3_a_device_item_before_a_scan_item() -> None:
    bench = Bench(organization(item("S1"), monthly("D1")))
    assert charged(bench.use("A", counts={"qr": 50})) == [("qr", "D1", 50)]
    assert charged(bench.use("B", counts={"qr": 7})) == [("qr", "S1", 7)]
    assert charged(bench.use("A", counts={"qr": 50})) == [("qr", "D1", 50)]
    assert (bench.active(RECEIVED, "D1"), bench.parts("S1")) == (1, (7, 0, 0))


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        pytest.param("soon", {"soon": {"expires_at": SOON}}, id="a nearest expiry"),
        pytest.param("soon", {"soon": {"modules": ["qr"]}, "z": {"modules": ["qr", "ean"]}}, id="b fewer modules"),
        pytest.param("soon", {"soon": {"modules": ["qr", "x"]}}, id="b all modules last"),
        pytest.param("soon", {"soon": {"charge_way": "per_page"}}, id="c kind rank"),
        pytest.param("soon", {"soon": {"quota": 5_000}}, id="c larger quota first"),
        pytest.param("soon", {"soon": {"quota": None}}, id="c unlimited before any"),
        pytest.param("a", {}, id="d item id"),
        pytest.param("soon", {"soon": {"expires_at": SOON}, "z": {"modules": ["qr"]}}, id="a before b"),
        pytest.param("soon", {"soon": {"modules": ["qr"]}, "z": {"charge_way": "per_page"}}, id="b before c"),
        pytest.param("soon", {"soon": {"charge_way": "per_page"}, "z": {"quota": None}}, id="c kind before size"),
    ],
)
def test_7_2_default_order(first: str, changes: dict[str, Any]) -> None:
    names = ["z", "soon"] if first == "soon" else ["z", "a"]
    bench = Bench(organization(*(item(name, **changes.get(name, {})) for name in names)))
    assert bench.send().lines[0].item_id == first


def test_7_2_kinds_from_domain_to_scan() -> None:
    items = [
        item("a", charge_way="per_scan"),
        item("b", charge_way="per_page"),
        item("c", charge_way="per_concurrent_instance"),
        concurrent("d", 2_000),
        monthly("e", 2_000),
        item("f", charge_way="per_server"),
        item("g", charge_way="per_domain", validation_fields=DOMAIN),
    ]
    order = Bench(organization(*items)).state.catalog
    assert order is not None
    assert "".join(entry.item_id for entry in order.projects[f"{ORGANIZATION}-kiosk"].items) == "gfedcba"


def test_7_2_explicit_order_comes_first_and_the_rest_follow() -> None:
    items = [item("a"), item("b"), item("c", quota=1)]
    bench = Bench(organization(*items, project={"usage_order": ["c", "b"]}))
    assert bench.send().lines[0].item_id == "c"
    assert bench.send().lines[0].item_id == "b"


def test_7_2_each_project_has_an_order_of_its_own() -> None:
    names = [f"{ORGANIZATION}-{name}" for name in "KM"]
    projects = [
        {"project_id": name, "item_ids": ["1", "2"], "usage_order": list(order)}
        for name, order in zip(names, ("12", "21"), strict=True)
    ]
    bench = Bench(organization(item("1"), item("2"), projects=projects, default_project_id=None))
    assert [bench.send(project_id=name).lines[0].item_id for name in names] == ["1", "2"]


@pytest.mark.parametrize(
    ("changes", "is_charged", "flagged"),
    [
        pytest.param({"starts_at": "2031-03-08T10:02:59Z"}, True, False, id="E14 starts inside the slot"),
        pytest.param({"starts_at": "2031-03-08T10:03:00Z"}, False, False, id="starts at the slot's end"),
        pytest.param(
            {"expires_at": "2031-03-08T10:01:00Z", "expiry_grace_days": 0}, True, False, id="E14 ends inside the slot"
        ),
        pytest.param({"expires_at": "2031-03-08T10:00:00Z", "expiry_grace_days": 0}, False, False, id="ended before"),
        pytest.param({"expires_at": "2031-03-08T10:00:00Z"}, True, True, id="E13 in expiry grace"),
        pytest.param(
            {"expires_at": "2031-03-01T10:01:00Z"}, True, True, id="E13 E14 expiry grace ends inside the slot"
        ),
        pytest.param({"expires_at": "2031-03-01T10:00:00Z"}, False, False, id="E13 after expiry grace"),
        pytest.param({"expires_at": "2031-03-06T10:00:00Z", "expiry_grace_days": 2}, False, False, id="E13 two days"),
        pytest.param({"expires_at": "2031-03-08T09:59:59Z", "expiry_grace_days": 0}, False, False, id="ended a minute"),
        pytest.param(
            {"expires_at": "2031-03-07T23:59:59Z", "expiry_grace_days": 0}, False, False, id="ended at midnight"
        ),
        pytest.param({"revoked_at": "2031-03-08T10:00:01Z"}, True, False, id="E15 revoked later"),
        pytest.param({"revoked_at": "2031-03-08T10:00:00Z"}, False, False, id="E15 revoked before"),
        pytest.param({"modules": ["ean"]}, False, False, id="another feature"),
        pytest.param({"modules": ["ean", "qr"]}, True, False, id="covers the feature"),
        pytest.param({"product": "dbr"}, True, False, id="report names no product"),
        pytest.param({"validation_fields": [{"kind": "process", "value": "p"}]}, True, False, id="names no process"),
    ],
)
def test_7_1_eligibility(changes: dict[str, Any], is_charged: bool, flagged: bool) -> None:
    decision = Bench(organization(item(**changes))).send()
    assert (decision.outcome is Outcome.CHARGED) is is_charged
    assert decision.lines[0].in_expiry_grace is flagged


@pytest.mark.parametrize("name", ["product", "version", "edition", "deployment_type"])
def test_7_1_restrictions_match_or_are_missing(name: str) -> None:
    bench = Bench(organization(item(**{name: "server"})))
    assert bench.send(**{name: "server"}).outcome is Outcome.CHARGED
    assert bench.send(**{name: "browser"}).outcome is Outcome.UNCHARGED
    assert bench.send().outcome is Outcome.CHARGED


@pytest.mark.parametrize(("value", "outcome"), [("p", Outcome.CHARGED), ("q", Outcome.UNCHARGED)])
def test_7_1_g13_another_validation_field_does_not_fit(value: str, outcome: Outcome) -> None:
    bench = Bench(organization(item(validation_fields=[{"kind": "process", "value": "p"}])))
    assert bench.send(validation={"kind": "process", "value": value}).outcome is outcome


def test_7_1_only_items_of_the_project() -> None:
    document = organization(item("1"), item("2"), project={"item_ids": ["2"]})
    assert Bench(document).send().lines[0].item_id == "2"


def test_7_1_an_end_at_the_last_second_is_the_next_midnight() -> None:
    bench = Bench(organization(item(expires_at="2031-03-08T23:59:59Z", expiry_grace_days=0)))
    midnight = SLOT + timedelta(hours=14)
    assert bench.use("A", midnight - SLOT_LENGTH).outcome is Outcome.CHARGED
    assert bench.use("A", midnight).outcome is Outcome.UNCHARGED


def test_7_3_grace_is_used_when_no_item_has_quota_left() -> None:
    bench = in_order(item("1", quota=100), item("2", quota=100))
    bench.send(counts={"qr": 200})
    assert [bench.parts(name) for name in "12"] == [(100, 0, 0), (100, 0, 0)]
    bench.send(counts={"qr": 7})
    assert [bench.parts(name) for name in "12"] == [(100, 5, 0), (100, 2, 0)]
    bench.send(counts={"qr": 7})
    assert [bench.parts(name) for name in "12"] == [(100, 5, 0), (100, 5, 4)]


def test_7_3_one_report_goes_through_all_passes() -> None:
    bench = in_order(item("1", quota=10), item("2", quota=30))
    decision = bench.send(counts={"qr": 50})
    parts = [(line.item_id, line.in_quota, line.in_grace, line.over) for line in decision.lines]
    assert parts == [("1", 10, 1, 0), ("2", 30, 2, 7)]


@pytest.mark.parametrize(
    ("items", "over"),
    [
        pytest.param([item("1", quota=1), monthly("2")], "1", id="device last"),
        pytest.param([item("1", quota=1), item("2", quota=1)], "2", id="last cumulative"),
        pytest.param([item("1", quota=1), concurrent("2", overuse_budget=1)], "2", id="last is concurrent"),
        pytest.param([concurrent("1", overuse_budget=1), item("2", quota=1)], "2", id="cumulative after concurrent"),
        pytest.param([concurrent("1", overuse_budget=1), monthly("2")], "1", id="concurrent before device"),
        pytest.param([monthly("1"), monthly("2")], "", id="none"),
    ],
)
def test_7_3_over_goes_to_the_last_cumulative_or_concurrent_item(items: list[dict[str, Any]], over: str) -> None:
    bench = in_order(*items)
    for client in "XYZ":  # fills all of them, and uses up the budget of a concurrency item
        bench.use(client, counts={"qr": 1})
    line = bench.use("A", counts={"qr": 5}).lines[-1]
    assert (line.item_id, line.quantity, line.tier.value) == (over, 5, "over" if over else "")


def test_7_3_a_concurrency_item_takes_the_whole_rest_after_a_cumulative_one() -> None:
    bench = in_order(item("1", quota=3), concurrent("2"))
    assert charged(bench.use("A", counts={"qr": 10})) == [("qr", "1", 3), ("qr", "2", 7)]
    assert charged(bench.use("B", counts={"qr": 4})) == [("qr", "2", 4)]  # above N: not capped yet
    assert (bench.parts("1"), bench.consumed("2")) == ((3, 0, 0), 1)


def test_7_3_in_grace_a_device_item_before_the_cumulative_one() -> None:
    bench = in_order(monthly("1", 5), item("2", quota=20))
    taken = [charged(bench.use(client, counts={"qr": 5}))[0][1] for client in "ABCDEFGHIJ"]
    assert "".join(taken) == "1111122221"  # F to I are within the quota of 2; J takes the seat in grace of 1
    assert charged(bench.use("K", counts={"qr": 5})) == [("qr", "2", 5)]
    assert bench.parts("2") == (20, 1, 4)


def test_7_3_an_unlimited_item_is_never_left() -> None:
    bench = in_order(item("1", quota=None), item("2"))
    bench.send(counts={"qr": 1_000_000})
    assert (bench.parts("1"), bench.parts("2")) == ((1_000_000, 0, 0), (0, 0, 0))


def test_7_4_features_of_one_report_go_to_different_items() -> None:
    bench = Bench(organization(item("qr-only", modules=["qr"]), item("ean-only", modules=["ean"])))
    decision = bench.send(counts={"qr": 2, "ean": 3, "aztec": 4})
    assert charged(decision) == [("aztec", "", 4), ("ean", "ean-only", 3), ("qr", "qr-only", 2)]
    assert decision.outcome is Outcome.CHARGED


def test_7_4_devices_and_instance_seats_are_never_split() -> None:
    first = item("1", charge_way="per_concurrent_instance", quota=3)
    bench = in_order(first, first | {"item_id": "2", "quota": 5})
    decision = bench.use("A", counts={"core": 9}, instances=4)
    assert charged(decision) == [("core", "2", 9)]
    assert (bench.slot(item_id="1").total, bench.slot(item_id="2").total) == (0, 4)


@pytest.mark.parametrize("count", [1, 5, 10, 11, 100])
def test_7_5_quota_is_charged_to_the_item_in_use_only(count: int) -> None:
    bench = in_order(item("1", quota=5), item("2", quota=5), monthly("3", modules=["core"]))
    decision = bench.send(counts={"qr": count})
    assert sum(line.quantity for line in decision.lines) == count
    assert sum(bench.item_use(name).attributed for name in "123") == count


def test_7_5_use_that_a_seat_covers_costs_nothing_elsewhere() -> None:
    bench = in_order(monthly("1"), concurrent("2"), item("3"))
    bench.use("A", counts={"qr": 30})
    assert [bench.item_use(name).attributed for name in "123"] == [30, 0, 0]
    assert (bench.slot(item_id="2").total, bench.parts("3")) == (0, (0, 0, 0))


def test_e5_e6_the_older_item_is_drained_first_and_nothing_carried_over() -> None:
    old = item("old", quota=10, expires_at="2031-06-01T00:00:00Z", expiry_grace_days=0)
    new = item("new", quota=10, starts_at="2031-03-01T00:00:00Z", expires_at="2032-06-01T00:00:00Z")
    bench = Bench(organization(new, old))
    bench.send(counts={"qr": 4})
    after = SLOT + 100 * DAY
    bench.use("A", after, counts={"qr": 3})
    assert (bench.parts("old"), bench.parts("new")) == ((4, 0, 0), (3, 0, 0))
