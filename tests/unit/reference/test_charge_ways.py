"""Section 6 of the domain text, against the reference: what each charge way counts."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.reference import Limits, meter
from tests.support.reference.catalog import read_document
from tests.support.reference.domains import domain_key
from tests.support.reference.history import History, grace, measure, state
from tests.support.reference.instants import percent, text
from tests.unit.reference.building import DAY, END, ORG, SLOT, START, Log, answers, at, document, item, kinds, row


def test_rounding() -> None:
    document_5 = [(9, 0), (10, 1), (30, 2), (50, 3)]
    document_10 = [(4, 0), (5, 1), (15, 2), (25, 3)]
    assert [grace({"charge_way": "per_scan", "quota": q}) for q, _ in document_5] == [g for _, g in document_5]
    assert [grace({"charge_way": "per_device", "quota": q}) for q, _ in document_10] == [g for _, g in document_10]
    assert (percent(1, 3), percent(2, 3), percent(1, 800), percent(5, None)) == ("33.33", "66.67", "0.13", None)


def test_per_scan_example() -> None:
    log, seen = Log(), []
    for n, amount in enumerate([1150, 60, 790, 99, 1, 35]):
        log.report(START + n * SLOT, amount)
        result = meter([document(item())], log.events)
        seen.append((row(result)["used"], row(result)["percent"], row(result)["state"]))
    assert seen == [
        (1150, "57.50", "active"),
        (1210, "60.50", "active"),
        (2000, "100.00", "grace"),
        (2099, "104.95", "grace"),
        (2100, "105.00", "blocked"),
        (2135, "106.75", "blocked"),
    ]
    assert [row(result)[part] for part in ("in_quota", "in_grace", "over")] == [2000, 100, 35]
    assert kinds(result) == ["quota_reached", "grace_exhausted"]
    assert [b["limit"] for b in result["breaches"]] == [2000, 2100]


def test_one_report_over_both_limits() -> None:
    result = meter([document(item())], Log().report(START, 2135).events)
    assert kinds(result) == ["quota_reached", "grace_exhausted"]
    assert result["outcomes"][0]["charges"] == [
        {
            "feature": "qr",
            "item_id": "41",
            "quantity": 2135,
            "tier": "over",
            "in_quota": 2000,
            "in_grace": 100,
            "over": 35,
            "exceptions": 0,
            "in_expiry_grace": False,
        }
    ]


def test_per_device_example() -> None:
    doc = document(item(charge_way="per_device", activity_period="monthly", quota=5))
    log = Log()

    def now(t: datetime) -> tuple[int, str | None, str]:
        found = row(meter([doc], log.events, t))
        return found["active"], found["percent"], found["state"]

    for client in "ABCDE":
        log.auth(START, client)
    assert now(START) == (5, "100.00", "grace")
    log.auth(START + DAY, "F")
    assert now(START + DAY)[:2] == (6, "120.00")
    log.auth(START + 2 * DAY, "G").report(START + 20 * DAY, client="A", received=START + 20 * DAY)
    result = meter([doc], log.events)
    assert answers(result) == ["granted"] * 6 + [120, "charged"]
    assert kinds(result) == ["quota_reached", "grace_exhausted", "device_refused"]
    assert result["outcomes"][0]["local_expires_at"] == text(START + 30 * DAY)
    assert now(START + 30 * DAY) == (2, "40.00", "active")
    log.auth(START + 30 * DAY, "G")
    assert answers(meter([doc], log.events))[-1] == "granted"
    assert now(START + 30 * DAY)[0] == 3
    assert now(START + 31 * DAY)[0] == 2
    assert now(START + 50 * DAY)[0] == 1


def _device_slots(quota: int, devices: int, slots: int, **changes: Any) -> dict[str, Any]:
    """The same devices in every slot."""
    log = Log()
    for n in range(slots):
        for device in range(devices):
            log.report(START + n * SLOT, client=f"d{device}")
    return meter([document(item(charge_way="per_concurrent_device", quota=quota, **changes))], log.events)


def test_concurrent_device_example_with_a_hundredth_of_the_budget() -> None:
    # The example has B = 4,000 and is used up at slot 1,334; here B = 40, used up at slot 14 = ceil(40 / 3).
    result = _device_slots(4, 7, 13, overuse_budget=40)
    assert (row(result)["consumed"], row(result)["state"], row(result)["percent"]) == (39, "overusing", "97.50")
    assert kinds(result) == ["concurrency_exceeded"] * 13
    result = _device_slots(4, 7, 14, overuse_budget=40)
    assert (row(result)["consumed"], row(result)["state"]) == (42, "capped")
    # the first of the three exceptions of slot 14 takes the last of the budget: 39 + 1
    exhausted = [b for b in result["breaches"] if b["kind"] == "overuse_exhausted"]
    assert [(b["limit"], b["value"], b["slot"]) for b in exhausted] == [(40, 40, text(START + 13 * SLOT))]
    tiers = [o["charges"][0]["tier"] for o in result["outcomes"][-7:]]
    assert tiers == ["quota"] * 4 + ["grace"] + ["over"] * 2
    assert row(_device_slots(4, 7, 1))["budget"] == 4000


@pytest.mark.parametrize(
    ("way", "quota", "each", "slots", "share", "stands"),
    [
        ("per_concurrent_device", 4, 3, 799, "59.93", "overusing"),
        ("per_concurrent_device", 4, 3, 800, "60.00", "overusing"),
        ("per_concurrent_device", 4, 3, 1066, "79.95", "overusing"),
        ("per_concurrent_device", 4, 3, 1067, "80.03", "overusing"),
        ("per_concurrent_device", 4, 3, 1333, "99.98", "overusing"),
        ("per_concurrent_device", 4, 3, 1334, "100.05", "capped"),
        ("per_concurrent_instance", 6, 6, 999, "99.90", "overusing"),
        ("per_concurrent_instance", 6, 6, 1000, "100.00", "capped"),
    ],
)
def test_the_budgets_of_the_examples(way: str, quota: int, each: int, slots: int, share: str, stands: str) -> None:
    history = History(Limits())
    where = {"organization_id": ORG, "item_id": "41", "year": 0, "exceptions": each}
    history.parts = [where | {"slot": START + n * SLOT} for n in range(slots)]
    definition = read_document(document(item(charge_way=way, quota=quota)))["items"]["41"]
    now = START + 30 * DAY
    _metric, value, budget = measure(history, ORG, definition, now)
    assert (percent(value, budget), state(history, ORG, definition, now)) == (share, stands)


def test_concurrent_device_reported_later() -> None:
    slot = at("2031-03-08T10:00:00+00:00")
    doc = document(item(charge_way="per_concurrent_device", quota=2))
    log = Log().report(slot, client="A").report(slot, client="B").report(slot, client="A")
    before = row(meter([doc], log.events))
    assert (before["consumed"], before["slots"]) == (0, {text(slot): {"allotted": 2, "exceptions": 0}})
    result = meter([doc], log.report(slot, client="C", received=slot + 9 * DAY).events)
    assert (row(result)["consumed"], row(result)["slots"]) == (1, {text(slot): {"allotted": 3, "exceptions": 1}})
    assert [(b["kind"], b["value"], b["percent"], b["late"]) for b in result["breaches"]] == [
        ("concurrency_exceeded", 3, "150.00", True)
    ]


def test_concurrent_instance_example() -> None:
    doc = document(item(charge_way="per_concurrent_instance", quota=6, overuse_budget=60))
    log = Log()
    for n in range(10):
        for server, instances in (("1", 6), ("2", 4), ("3", 2)):
            log.report(START + n * SLOT, client=server, instances=instances)
    found = row(meter([doc], log.events))
    assert found["slots"][text(START)] == {"allotted": 12, "exceptions": 6}
    assert (found["consumed"], found["state"]) == (60, "capped")
    log.report(START + 9 * SLOT, client="1", instances=2)
    assert row(meter([doc], log.events))["slots"][text(START + 9 * SLOT)]["allotted"] == 12
    t = START + timedelta(hours=1)
    log.auth(t, "1", requested_instances=4).auth(t, "2", requested_instances=2).auth(t, "3")
    log.auth(t + timedelta(minutes=6), "3").auth(t + timedelta(minutes=6), "3", requested_instances=7)
    result = meter([doc], log.events)
    assert answers(result)[-5:] == ["granted", "granted", 120, "granted", 130]
    assert result["outcomes"][-5]["local_expires_at"] == text(t + 2 * SLOT)


def test_highest_declared_instances_count() -> None:
    doc = document(item(charge_way="per_concurrent_instance", quota=6))
    log = Log().report(START, instances=3).report(START, instances=5).report(START)
    assert row(meter([doc], log.events))["slots"] == {text(START): {"allotted": 5, "exceptions": 0}}


def test_the_budget_year_turns() -> None:
    doc = document(item(charge_way="per_concurrent_device", quota=1, expires_at=START + 800 * DAY))
    log = Log().report(START, client="A").report(START, client="B")
    later = START + 365 * DAY
    assert row(meter([doc], log.events))["consumed"] == 1
    found = row(meter([doc], log.events, later))
    assert (found["consumed"], found["budget_year"], found["state"]) == (0, 1, "active")


def test_a_one_server_item_has_no_grace() -> None:
    doc = document(item(charge_way="per_server", quota=1))
    log = Log().auth(START, "A").auth(START + DAY, "B").auth(START + 364 * DAY, "A")
    result = meter([doc], log.events)
    assert answers(result) == ["granted", 120, "granted"]
    assert kinds(result) == ["quota_reached", "grace_exhausted", "device_refused"]
    assert row(meter([doc], log.events[:1]))["state"] == "blocked"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("a.shop.example.org:8443", "example.org"),
        ("EXAMPLE.org.", "example.org"),
        ("me.github.io", "me.github.io"),
        ("a.me.github.io", "me.github.io"),
        ("bücher.example.de", "example.de"),
        ("www.Bücher.de", "xn--bcher-kva.de"),
        ("x.shop.co.uk", "shop.co.uk"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("localhost:3000", "localhost"),
        ("a.b.apps.example.net", "b.apps.example.net"),
    ],
)
def test_domain_keys(host: str, key: str) -> None:
    assert domain_key(host, ["apps.example.net"]) == key


def test_per_domain() -> None:
    fields = [{"kind": "domain", "value": "example.org"}]
    doc = document(item(charge_way="per_domain", quota=1, validation_fields=fields))
    inside, outside = {"kind": "domain", "value": "a.example.org:8443"}, {"kind": "domain", "value": "x.example.com"}
    log = Log().report(START, 7, validation=inside).report(START, validation=outside).report(START)
    log.auth(START, validation=inside).auth(START + DAY, validation=outside)
    result = meter([doc], log.events)
    assert answers(result) == ["charged", "uncharged", "uncharged", "granted", 114]
    assert [(b["kind"], b.get("detail")) for b in result["breaches"]] == [
        ("domain_refused", "example.com"),
        ("unlicensed_use", None),
        ("domain_refused", "example.com"),
    ]
    assert (row(result)["attributed"], row(result)["used"], row(result)["percent"]) == (7, 0, None)
    assert result["outcomes"][3]["local_expires_at"] == text(END + 7 * DAY)
