"""What a report does to an organization (domain, sections 5 to 8), by worked example."""

from datetime import timedelta
from typing import Any

import pytest

from licmeter.metering.decoding import decode
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.items import grace_of, percent_of
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.meter import Decision, meter_report
from licmeter.metering.organization import OrganizationState
from licmeter.metering.report import Report
from licmeter.metering.slot_use import DictSlots
from licmeter.metering.states import item_state
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import ItemState, Outcome, RejectReason
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, RECEIVED, SLOT, item, ms, organization, report


class Bench:
    """An organization with its memory: reports in, decisions out."""

    def __init__(self, document: Organization) -> None:
        self.state = OrganizationState(ORGANIZATION)
        self.state.adopt(document, 0)
        self.memory = DictMemory(DEFAULT_LIMITS.duplicate_days)
        self.slots = DictSlots()
        self.number = 0

    def send(self, received: Any = RECEIVED, **changes: Any) -> Decision:
        self.number += 1
        event = encode_event(report(**({"report_id": f"r{self.number}"} | changes)))
        decoded = decode(ORGANIZATION.encode(), event, ms(received), DEFAULT_LIMITS)
        assert isinstance(decoded, Report), decoded
        return meter_report(decoded, self.state, self.memory, self.slots)

    def parts(self, item_id: str = "41") -> tuple[int, int, int]:
        use = self.state.use(item_id)
        return use.in_quota, use.in_grace, use.over

    def item_state(self, item_id: str = "41", at: Any = RECEIVED) -> ItemState:
        assert self.state.catalog is not None
        catalog_item = self.state.catalog.items[item_id]
        return item_state(catalog_item, self.state.use(item_id), self.state.seat_book(item_id), ms(at))


@pytest.mark.parametrize(
    ("quota", "five", "ten"), [(9, 0, 1), (10, 1, 1), (30, 2, 3), (50, 3, 5), (4, 0, 0), (15, 1, 2), (25, 1, 3)]
)
def test_grace_is_rounded_half_up(quota: int, five: int, ten: int) -> None:
    assert (grace_of(5, quota), grace_of(10, quota)) == (five, ten)


def test_c1_c2_c3_the_worked_example_of_6_1() -> None:
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
        assert percent_of(bench.state.use("41").used, 2_000) == percent
    assert bench.parts() == (2_000, 100, 35)


def test_e29_a_report_that_crosses_both_limits_counts_in_full() -> None:
    bench = Bench(organization(item(quota=10)))
    decision = bench.send(counts={"qr": 25})
    assert bench.parts() == (10, 1, 14)
    assert [(line.quantity, line.in_quota, line.in_grace, line.over) for line in decision.lines] == [(25, 10, 1, 14)]


def test_e28_without_quota_nothing_is_ever_used_up() -> None:
    bench = Bench(organization(item(quota=None)))
    bench.send(counts={"qr": 1_000_000})
    assert bench.parts() == (1_000_000, 0, 0)
    assert bench.item_state() is ItemState.ACTIVE
    assert percent_of(1_000_000, None) is None


def test_7_3_the_example_with_two_page_items() -> None:
    j1 = item("J1", charge_way="per_page", quota=100, expires_at="2031-07-01T00:00:00Z")
    j2 = item("J2", charge_way="per_page", quota=500)
    bench = Bench(organization(j2, j1))
    for count in (80, 50, 480):
        bench.send(counts={"core": count})
    assert bench.parts("J1") == (100, 5, 0)
    assert bench.parts("J2") == (500, 5, 0)
    bench.send(counts={"core": 40})  # grace of J2 is 25: 20 are left, then the last item goes over
    assert bench.parts("J2") == (500, 25, 20)


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        pytest.param("soon", {"soon": {"expires_at": "2031-06-01T00:00:00Z"}}, id="a nearest expiry"),
        pytest.param("soon", {"soon": {"modules": ["qr"]}, "z": {"modules": ["qr", "ean"]}}, id="b fewer modules"),
        pytest.param("soon", {"soon": {"modules": ["qr", "x"]}}, id="b all modules last"),
        pytest.param("soon", {"soon": {"charge_way": "per_page"}}, id="c kind rank"),
        pytest.param("soon", {"soon": {"quota": 5_000}}, id="c larger quota first"),
        pytest.param("soon", {"soon": {"quota": None}}, id="c unlimited before any"),
        pytest.param("a", {}, id="d item id"),
    ],
)
def test_7_2_default_order(first: str, changes: dict[str, Any]) -> None:
    names = ["z", "soon"] if first == "soon" else ["z", "a"]
    bench = Bench(organization(*(item(name, **changes.get(name, {})) for name in names)))
    assert bench.send().lines[0].item_id == first


def test_7_2_explicit_order_comes_first_and_the_rest_follow() -> None:
    items = [item("a"), item("b"), item("c", quota=1)]
    bench = Bench(organization(*items, project={"usage_order": ["c", "b"]}))
    assert bench.send().lines[0].item_id == "c"
    assert bench.send().lines[0].item_id == "b"


@pytest.mark.parametrize(
    ("changes", "slot_offset", "charged", "flagged"),
    [
        pytest.param({"starts_at": "2031-03-08T10:02:59Z"}, 0, True, False, id="E14 starts inside the slot"),
        pytest.param({"starts_at": "2031-03-08T10:03:00Z"}, 0, False, False, id="starts at the slot's end"),
        pytest.param(
            {"expires_at": "2031-03-08T10:01:00Z", "expiry_grace_days": 0}, 0, True, False, id="E14 ends inside"
        ),
        pytest.param(
            {"expires_at": "2031-03-08T10:00:00Z", "expiry_grace_days": 0}, 0, False, False, id="ended before"
        ),
        pytest.param({"expires_at": "2031-03-08T10:00:00Z"}, 0, True, True, id="E13 in expiry grace"),
        pytest.param({"expires_at": "2031-03-01T10:00:00Z"}, 0, False, False, id="E13 after expiry grace"),
        pytest.param({"revoked_at": "2031-03-08T10:00:01Z"}, 0, True, False, id="E15 revoked later"),
        pytest.param({"revoked_at": "2031-03-08T10:00:00Z"}, 0, False, False, id="E15 revoked before"),
        pytest.param({"modules": ["ean"]}, 0, False, False, id="another feature"),
        pytest.param({"product": "dbr"}, 0, True, False, id="report names no product"),
    ],
)
def test_7_1_eligibility(changes: dict[str, Any], slot_offset: int, charged: bool, flagged: bool) -> None:
    bench = Bench(organization(item(**changes)))
    decision = bench.send(slot=SLOT + timedelta(seconds=slot_offset))
    assert (decision.outcome is Outcome.CHARGED) is charged
    assert decision.lines[0].in_expiry_grace is flagged


@pytest.mark.parametrize("field", ["product", "version", "edition", "deployment_type"])
def test_7_1_restrictions_match_or_are_missing(field: str) -> None:
    bench = Bench(organization(item(**{field: "server"})))
    assert bench.send(**{field: "server"}).outcome is Outcome.CHARGED
    assert bench.send(**{field: "browser"}).outcome is Outcome.UNCHARGED
    assert bench.send().outcome is Outcome.CHARGED


def test_7_4_features_of_one_report_go_to_different_items() -> None:
    bench = Bench(organization(item("qr-only", modules=["qr"]), item("ean-only", modules=["ean"])))
    decision = bench.send(counts={"qr": 2, "ean": 3, "aztec": 4})
    assert [(line.feature, line.item_id, line.quantity) for line in decision.lines] == [
        ("aztec", "", 4),
        ("ean", "ean-only", 3),
        ("qr", "qr-only", 2),
    ]
    assert decision.outcome is Outcome.CHARGED


def test_e18_a_project_without_items_leaves_use_uncharged() -> None:
    decision = Bench(organization()).send(counts={"qr": 7})
    assert decision.outcome is Outcome.UNCHARGED
    assert [(line.item_id, line.quantity) for line in decision.lines] == [("", 7)]


def test_a6_a_zero_total_is_a_submission_and_no_consumption() -> None:
    bench = Bench(organization(item()))
    for counts, features in (({}, [""]), ({"qr": 0, "ean": 0}, ["ean", "qr"])):
        decision = bench.send(counts=counts)
        assert decision.outcome is Outcome.CHARGED
        assert [(line.feature, line.item_id, line.quantity) for line in decision.lines] == [
            (f, "", 0) for f in features
        ]
    assert bench.parts() == (0, 0, 0)


def test_a1_the_same_report_again_is_a_duplicate_whatever_was_sent_when() -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    later = RECEIVED + timedelta(days=20)
    again = bench.send(report_id="same", sent_at=later, attempt=2, received=later)
    assert again.outcome is Outcome.DUPLICATE
    assert bench.parts() == (1, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"counts": {"qr": 2}},
        {"counts": {"ean": 1}},
        {"slot": SLOT - timedelta(minutes=3)},
        {"instances": 2},
        {"product": "x"},
    ],
    ids=str,
)
def test_check_10_other_content_under_one_id_is_a_conflict(change: dict[str, Any]) -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    decision = bench.send(**({"report_id": "same"} | change))
    assert decision.reason is RejectReason.CONFLICT
    assert bench.parts() == (1, 0, 0)


def test_a1_the_id_belongs_to_the_client() -> None:
    bench = Bench(organization(item()))
    assert bench.send(report_id="same", client_uuid="a").outcome is Outcome.CHARGED
    assert bench.send(report_id="same", client_uuid="b").outcome is Outcome.CHARGED


def test_a2_two_reports_of_one_client_and_slot_both_count() -> None:
    bench = Bench(organization(item()))
    bench.send()
    bench.send()
    assert bench.parts() == (2, 0, 0)


def test_a3_an_id_is_free_again_after_32_days() -> None:
    bench = Bench(organization(item()))
    bench.send(report_id="same")
    for days, expected in ((32, Outcome.REJECTED), (33, Outcome.CHARGED)):
        later = timedelta(days=days)
        assert bench.send(report_id="same", slot=SLOT + later, received=RECEIVED + later).outcome is expected


def test_check_8_unknown_project_and_missing_default() -> None:
    bench = Bench(organization(item(), default_project_id=None))
    assert bench.send(project_id=f"{ORGANIZATION}-other").reason is RejectReason.UNKNOWN_PROJECT
    assert bench.send(project_id=None, organization_id=ORGANIZATION).reason is RejectReason.UNKNOWN_PROJECT


def test_the_organization_alone_means_its_default_project() -> None:
    decision = Bench(organization(item())).send(project_id=None, organization_id=ORGANIZATION)
    assert (decision.outcome, decision.project_id) == (Outcome.CHARGED, f"{ORGANIZATION}-kiosk")


def test_check_9_e10_reports_for_slots_before_the_project_was_disabled_still_count() -> None:
    bench = Bench(organization(item(), project={"disabled_at": "2031-03-08T10:00:00Z"}))
    assert bench.send().reason is RejectReason.PROJECT_DISABLED
    assert bench.send(slot=SLOT - timedelta(minutes=3)).outcome is Outcome.CHARGED


def test_e12_use_before_the_expiry_is_charged_when_it_arrives_after() -> None:
    bench = Bench(organization(item(expires_at="2031-03-08T12:00:00Z", expiry_grace_days=0)))
    assert bench.send(received=RECEIVED + timedelta(days=10)).outcome is Outcome.CHARGED


def test_e16_p2_a_removed_item_keeps_what_was_charged_to_it() -> None:
    bench = Bench(organization(item("old"), item("new", expires_at="2033-01-01T00:00:00Z")))
    bench.send(counts={"qr": 5})
    bench.state.adopt(organization(item("new")), 1)
    bench.send(counts={"qr": 3})
    assert (bench.parts("old"), bench.parts("new")) == ((5, 0, 0), (3, 0, 0))


def test_e9_an_edited_quota_changes_the_state_at_once() -> None:
    bench = Bench(organization(item(quota=100)))
    bench.send(counts={"qr": 90})
    for quota, state in ((80, ItemState.BLOCKED), (90, ItemState.GRACE), (1_000, ItemState.ACTIVE)):
        bench.state.adopt(organization(item(quota=quota)), 1)
        assert bench.item_state() is state


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revoked_at": "2031-03-08T10:01:00Z"}, ItemState.REVOKED),
        ({"starts_at": "2031-03-08T10:01:01Z"}, ItemState.PENDING),
        ({"expires_at": "2031-03-08T10:01:00Z", "expiry_grace_days": 0}, ItemState.EXPIRED),
        ({"expires_at": "2031-03-08T10:01:00Z"}, ItemState.ACTIVE),
    ],
    ids=str,
)
def test_8_1_states_by_time(changes: dict[str, Any], expected: ItemState) -> None:
    assert Bench(organization(item(**changes))).item_state() is expected


def test_8_1_without_grace_an_item_goes_straight_to_blocked() -> None:
    bench = Bench(organization(item(quota=9)))
    bench.send(counts={"qr": 9})
    assert bench.item_state() is ItemState.BLOCKED


@pytest.mark.parametrize(
    ("used", "quota", "shown"), [(1, 3, "33.33"), (2, 3, "66.67"), (1, 800, "0.13"), (0, 5, "0.00")]
)
def test_q_percent_is_rounded_half_up(used: int, quota: int, shown: str) -> None:
    assert percent_of(used, quota) == shown


def test_state_survives_its_encoding() -> None:
    bench = Bench(organization(item(quota=10)))
    bench.send(counts={"qr": 25})
    restored = OrganizationState.from_bytes(ORGANIZATION, bench.state.to_bytes())
    assert (restored.uses, restored.outcomes) == (bench.state.uses, bench.state.outcomes)
