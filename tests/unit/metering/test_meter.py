"""Cumulative items: per scan and per page (domain, 6.1), and what projects keep of their use (sections 2 and 10)."""

from collections import Counter
from datetime import timedelta

import pytest

from licmeter.metering.items import grace_of, percent_of
from licmeter.metering.organization import OrganizationState
from licmeter.schemas.outcomes import ItemState, Outcome
from tests.support.build import ORGANIZATION, PROJECT, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, MINUTE, Bench, charged, instant


@pytest.mark.parametrize(
    ("quota", "five", "ten"), [(9, 0, 1), (10, 1, 1), (30, 2, 3), (50, 3, 5), (4, 0, 0), (15, 1, 2), (25, 1, 3)]
)
def test_example_6_rounding_half_up(quota: int, five: int, ten: int) -> None:
    assert (grace_of(5, quota), grace_of(10, quota)) == (five, ten)


@pytest.mark.parametrize("way", ["per_scan", "per_page"])
@pytest.mark.parametrize(("quota", "grace"), [(9, 0), (10, 1), (30, 2), (50, 3)])
def test_example_6_rounding_on_an_item(way: str, quota: int, grace: int) -> None:
    bench = Bench(organization(item(charge_way=way, quota=quota)))
    bench.send(counts={"core": 100})
    assert bench.parts() == (quota, grace, 100 - quota - grace)


@pytest.mark.parametrize(
    ("way", "grace"),
    [
        ("per_scan", 5),
        ("per_page", 5),
        ("per_device", 10),
        ("per_server", 10),
        ("per_concurrent_device", 0),
        ("per_concurrent_instance", 0),
    ],
)
def test_example_6_grace_of_each_charge_way(way: str, grace: int) -> None:
    period = {"activity_period": "yearly"} if way == "per_device" else {}
    bench = Bench(organization(item(charge_way=way, quota=100, **period)))
    assert bench.recount.items[ORGANIZATION, "41"].grace == grace


def test_example_6_1_c1_c2_c3_pages() -> None:
    bench = Bench(organization(item(charge_way="per_page")))
    steps = [
        (1_150, ItemState.ACTIVE, "57.50"),
        (60, ItemState.ACTIVE, "60.50"),
        (790, ItemState.GRACE, "100.00"),
        (99, ItemState.GRACE, "104.95"),
        (1, ItemState.BLOCKED, "105.00"),
        (35, ItemState.BLOCKED, "106.75"),
    ]
    for count, state, percent in steps:
        bench.send(counts={"core": count})
        assert bench.item_state() is state
        assert bench.counters().percent == percent
    assert bench.parts() == (2_000, 100, 35)


def test_c1_nothing_is_reset_before_the_end() -> None:
    bench = Bench(organization(item(quota=100)))
    for month in range(1, 12):
        bench.use("A", instant(f"2031-{month:02}-01T00:00:00Z"), counts={"qr": 9})
    assert bench.parts() == (99, 0, 0)


def test_c2_the_stop_is_by_count_and_not_by_percent() -> None:
    """5 % of 9 is no grace: at 100 % the item is blocked; 5 % of 10 is one: at 105 % of it, it is not."""
    nine, ten = Bench(organization(item(quota=9))), Bench(organization(item(quota=10)))
    for bench, granted in ((nine, 9), (ten, 11)):
        for _ in range(granted):
            assert bench.authorize().outcome == "granted"
            bench.send()
        refused = bench.authorize()
        assert refused.code is not None
        assert (refused.outcome, refused.code.number) == ("refused", 120)


def test_c3_e29_a_report_that_crosses_both_limits_counts_in_full() -> None:
    bench = Bench(organization(item(quota=10)))
    decision = bench.send(counts={"qr": 25})
    assert bench.parts() == (10, 1, 14)
    assert [(line.quantity, line.in_quota, line.in_grace, line.over) for line in decision.lines] == [(25, 10, 1, 14)]


def test_c3_the_parts_of_each_report_add_up_to_those_of_the_item() -> None:
    bench = Bench(organization(item(quota=20)))
    lines = [bench.send(counts={"qr": count}).lines[0] for count in (15, 4, 2, 3)]
    assert [(line.in_quota, line.in_grace, line.over) for line in lines] == [
        (15, 0, 0),
        (4, 0, 0),
        (1, 1, 0),
        (0, 0, 3),
    ]
    assert bench.parts() == (20, 1, 3)


def test_c4_each_module_is_a_feature_on_its_own_item() -> None:
    modules = ("core", "webcam", "pdfr", "ocr")
    bench = Bench(organization(*(item(name, charge_way="per_page", modules=[name]) for name in modules)))
    bench.send(counts={"core": 4, "webcam": 3, "pdfr": 2, "ocr": 1})
    assert [bench.item_use(name).used for name in modules] == [4, 3, 2, 1]


def test_c4_a_page_that_passes_two_modules_counts_once_in_each() -> None:
    bench = Bench(organization(item(charge_way="per_page", modules=["core", "ocr"])))
    bench.send(counts={"core": 1, "ocr": 1})
    assert (bench.item_use().used, bench.project()) == (2, {"core": 1, "ocr": 1})


def test_c4_the_barcode_add_on_is_charged_by_scan() -> None:
    pages, scans = item("pages", charge_way="per_page", modules=["core"]), item("scans", modules=["qr"])
    decision = Bench(organization(pages, scans)).send(counts={"core": 2, "qr": 5})
    assert charged(decision) == [("core", "pages", 2), ("qr", "scans", 5)]


def test_e28_without_quota_nothing_is_ever_used_up() -> None:
    bench = Bench(organization(item(quota=None)))
    bench.send(counts={"qr": 1_000_000})
    assert bench.parts() == (1_000_000, 0, 0)
    assert bench.item_state() is ItemState.ACTIVE
    assert bench.counters().percent is None
    assert bench.check(SLOT + 10 * MINUTE) is None
    assert bench.authorize(at=SLOT + 10 * MINUTE).outcome == "granted"


@pytest.mark.parametrize(
    ("used", "quota", "shown"), [(1, 3, "33.33"), (2, 3, "66.67"), (1, 800, "0.13"), (0, 5, "0.00"), (7, 2, "350.00")]
)
def test_q_percent_is_rounded_half_up(used: int, quota: int, shown: str) -> None:
    assert percent_of(used, quota) == shown


SHARED = [{"project_id": f"{ORGANIZATION}-K", "item_ids": ["A", "B"]}, {"project_id": f"{ORGANIZATION}-M"}]


def example_day() -> Bench:
    """Section 10: project K has the items A and B, project M shares B."""
    a, b = item("A", quota=4, expires_at="2031-12-01T00:00:00Z"), item("B")  # A is used first, and then used up
    projects = [SHARED[0], SHARED[1] | {"item_ids": ["B"]}]
    bench = Bench(organization(a, b, projects=projects, default_project_id=None))
    for at, project, counts in (
        ("08:09", "K", {"qr": 4}),
        ("08:48", "K", {"qr": 6}),
        ("11:18", "M", {"code128": 5}),
    ):
        slot = instant(f"2031-03-08T{at}:00Z")
        bench.use("device-1", slot, slot + 4 * MINUTE, project_id=f"{ORGANIZATION}-{project}", counts=counts)
    return bench


def test_example_10_p1_a_day_by_project_and_by_item() -> None:
    bench = example_day()
    assert bench.project(f"{ORGANIZATION}-K") == {"qr": 10}
    assert bench.project(f"{ORGANIZATION}-M") == {"code128": 5}
    assert [bench.counters(name).attributed for name in "AB"] == [4, 11]
    assert [bench.counters(name).used for name in "AB"] == [4, 11]


def test_example_10_two_hours_at_a_time() -> None:
    bench, midnight = example_day(), ms(instant("2031-03-08T00:00:00Z")) // 1000
    hours: Counter[tuple[str, int]] = Counter()
    for (_, project), by_slot in bench.recount.units.items():
        for slot_s, counts in by_slot.items():
            hours[project[-1], (slot_s - midnight) // 7_200 * 2] += sum(counts.values())
    assert hours == {("K", 8): 10, ("M", 10): 5}


def test_p1_quota_is_counted_by_item_over_all_its_projects() -> None:
    names = [f"{ORGANIZATION}-{name}" for name in "KM"]
    projects = [{"project_id": name, "item_ids": ["41"]} for name in names]
    bench = Bench(organization(item(quota=10), projects=projects, default_project_id=None))
    for name in names:
        bench.send(project_id=name, counts={"qr": 6})
    assert bench.parts() == (10, 1, 1)
    assert [bench.project(name) for name in names] == [{"qr": 6}, {"qr": 6}]


def test_p2_past_figures_stay_when_items_come_and_go() -> None:
    bench = Bench(organization(item("old")))
    bench.send(counts={"qr": 5})
    bench.adopt(organization(item("old"), item("new", expires_at="2031-06-01T00:00:00Z")))
    assert (bench.project(), bench.item_use("old").used, bench.item_use("new").used) == ({"qr": 5}, 5, 0)
    bench.adopt(organization(item("new")))
    assert (bench.project(), bench.item_use("old").used, bench.item_use("new").used) == ({"qr": 5}, 5, 0)


def test_p3_the_items_of_a_new_license_file_join_a_project() -> None:
    document = organization(item("1", quota=1))
    bench = Bench(document)
    bench.send(counts={"qr": 1})
    files = [*document.license_files, organization(item("2")).license_files[0].model_copy(update={"license_id": "L2"})]
    imported = organization(
        license_files=[file.model_dump() for file in files],
        project={"item_ids": ["1", "2"]},
    )
    bench.adopt(imported)
    assert charged(bench.send(counts={"qr": 3})) == [("qr", "2", 3)]


def test_state_survives_its_encoding() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 25})
    restored = OrganizationState.from_bytes(ORGANIZATION, bench.state.to_bytes())
    assert (restored.uses, restored.outcomes) == (bench.state.uses, bench.state.outcomes)


def test_l4_a_month_of_reports_of_one_client_arrives_at_once() -> None:
    """30 days × 480 slots, all at one instant."""
    bench, arrival = Bench(organization(item(quota=10_000))), SLOT + 30 * DAY
    for number in range(14_400):
        bench.use("A", SLOT + number * timedelta(minutes=3), arrival)
    assert bench.state.outcomes[Outcome.CHARGED] == 14_400
    assert bench.parts() == (10_000, 500, 3_900)
    assert len(bench.recount.units[ORGANIZATION, PROJECT]) == 14_400
    assert bench.kinds() == ["quota_reached", "grace_exhausted"]
