"""The worked examples of the domain text, against the reference."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.reference import Limits, meter
from tests.support.reference.catalog import read_document
from tests.support.reference.domains import domain_key
from tests.support.reference.history import History, grace, measure, state
from tests.support.reference.instants import instant, percent, slot_index, slot_start, text

DAY = timedelta(days=1)
SLOT = timedelta(minutes=3)
START = datetime(2031, 1, 1, tzinfo=UTC)
END = datetime(2032, 1, 1, tzinfo=UTC)
ORG = "300417"
K, M = f"{ORG}-kiosk", f"{ORG}-mobile"


def at(written: str) -> datetime:
    return datetime.fromisoformat(written)


def item(item_id: str = "41", **changes: Any) -> dict[str, Any]:
    usual = {"item_id": item_id, "charge_way": "per_scan", "quota": 2000, "starts_at": START, "expires_at": END}
    return usual | changes


def document(*items: dict[str, Any], projects: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    names = {K: [i["item_id"] for i in items]} if projects is None else projects
    return {
        "organization_id": ORG,
        "default_project_id": K,
        "license_files": [{"license_id": "L", "items": list(items)}] if items else [],
        "projects": [{"project_id": name, "item_ids": ids} for name, ids in names.items()],
        **changes,
    }


class Log:
    """Events in arrival order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, received: datetime, **fields: Any) -> "Log":
        number = len(self.events) + 1
        event = {"specversion": "1.0", "type": kind, "id": f"e-{number}", "source": "device-1", "receivedat": received}
        self.events.append({name: value for name, value in (event | fields).items() if value is not None})
        return self

    def report(
        self,
        slot: datetime,
        counts: int | dict[str, int] = 1,
        client: str = "device-1",
        received: datetime | None = None,
        project: str | None = K,
        envelope: dict[str, Any] | None = None,
        **data: Any,
    ) -> "Log":
        return self.add(
            "license.usage.report.v1",
            slot + timedelta(minutes=1) if received is None else received,
            time=slot,
            source=client,
            subject=project,
            data={"counts": {"qr": counts} if isinstance(counts, int) else counts, **data},
            **(envelope or {}),
        )

    def auth(self, t: datetime, client: str = "device-1", project: str | None = K, **data: Any) -> "Log":
        received = data.pop("received", t)
        return self.add("license.authorization.v1", received, time=t, source=client, subject=project, data=data)

    def catalog(self, received: datetime, doc: dict[str, Any]) -> "Log":
        plain = _json(doc)
        return self.add("license.catalog.v1", received, time=received, subject=doc["organization_id"], data=plain)


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return text(value)
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list) else value


def row(result: dict[str, Any], item_id: str = "41") -> dict[str, Any]:
    return next(i for i in result["items"] if i["item_id"] == item_id)


def kinds(result: dict[str, Any]) -> list[str]:
    return [breach["kind"] for breach in result["breaches"]]


def answers(result: dict[str, Any]) -> list[Any]:
    return [o["outcome"] if o["code"] is None else o["code"]["number"] for o in result["outcomes"]]


# --- section 3


@pytest.mark.parametrize(
    ("written", "start", "index"),
    [
        ("2031-03-08T14:14:59.999Z", "2031-03-08T14:12:00Z", 284),
        ("2031-03-08T14:17:42.500Z", "2031-03-08T14:15:00Z", 285),
        ("2031-03-08T06:00:00.000Z", "2031-03-08T06:00:00Z", 120),
        ("2031-03-08T23:59:59.999Z", "2031-03-08T23:57:00Z", 479),
        ("2031-03-08T01:01:30+05:30", "2031-03-07T19:30:00Z", 390),
    ],
)
def test_slots(written: str, start: str, index: int) -> None:
    slot = slot_start(instant(written))
    assert (text(slot), slot_index(slot)) == (start, index)
    assert slot_start(slot) == slot


def test_instants_without_a_zone_are_refused() -> None:
    for written in ("2031-03-08T10:00:00", "2031-03-08", "1732442400", 1732442400, None, True):
        with pytest.raises(ValueError):
            instant(written)


# --- section 5


def test_the_last_instant_of_acceptance() -> None:
    slot = at("2031-05-01T09:00:00+00:00")
    last = at("2031-05-31T09:03:00+00:00")
    log = Log().report(slot, received=last).report(slot, received=last + timedelta(milliseconds=1))
    first, second = meter([document(item())], log.events)["outcomes"]
    assert (first["outcome"], first["late"]) == ("charged", True)
    assert (second["outcome"], second["reason"]) == ("rejected", "too_old")


def test_the_order_of_checks() -> None:
    slot = at("2031-03-08T10:00:00+00:00")
    late = slot + 40 * DAY
    bad: dict[str, Any] = {"counts": {"qr": -1, "pdf": 2_000_000}, "total": 1}
    log = Log().report(slot + timedelta(seconds=1), bad["counts"], received=late, project="300417-x", total=1)
    log.report(slot + timedelta(seconds=1), bad["counts"], received=late, project="300417-x")
    log.report(slot + timedelta(seconds=1), {"pdf": 2_000_000}, received=late, project="300417-x")
    log.report(slot + timedelta(seconds=1), received=late, project="300417-x", sent_at=text(slot))
    log.report(slot, received=late, project="300417-x", sent_at=text(late - DAY - timedelta(seconds=1)))
    log.report(slot + 41 * DAY, received=late, project="300417-x")
    log.report(slot, received=late, project="300417-x")
    log.report(slot + 39 * DAY, received=late, project="300417-x")
    log.report(slot + 39 * DAY, received=late, project=None)
    log.report(slot + 39 * DAY, received=late, project=None, envelope={"organizationid": "999"})
    log.report(slot + 39 * DAY, received=late, project=None, envelope={"organizationid": ORG})
    log.report(slot + 39 * DAY, received=late, envelope={"id": "e-11"}, project=K)
    doc = document(item())
    doc["projects"][0]["disabled_at"] = slot + 40 * DAY
    log.report(slot + 40 * DAY, received=late)
    outcomes = meter([doc], log.events)["outcomes"]
    assert [(o["reason"] or o["outcome"], (o["code"] or {}).get("number")) for o in outcomes] == [
        ("invalid_schema", None),
        ("negative_count", None),
        ("count_out_of_range", None),
        ("slot_misaligned", None),
        ("clock_skew", 151),
        ("future_slot", 151),
        ("too_old", None),
        ("unknown_project", 101),
        ("unknown_project", 123),
        ("unknown_project", 121),
        ("charged", None),
        ("conflict", None),
        ("project_disabled", 104),
    ]


def test_breaches_of_rejections() -> None:
    slot = at("2031-03-08T10:00:00+00:00")
    log = Log().report(slot + timedelta(minutes=9), received=slot).report(slot + timedelta(minutes=12), received=slot)
    log.report(slot, received=slot + 2 * DAY, sent_at=text(slot))
    log.report(slot, received=slot + 2 * DAY, project="300417-x").report(slot, received=slot + 2 * DAY, project="9-x")
    breaches = meter([document(item())], log.events)["breaches"]
    assert [(b["kind"], b["at"][8:10], b.get("detail")) for b in breaches] == [
        ("clock_skew", "08", "future_slot"),
        ("clock_skew", "10", "clock_skew"),
        ("unknown_project", "10", None),
    ]


def test_duplicates_are_told_from_conflicts() -> None:
    slot = at("2031-03-08T10:00:00+00:00")
    log = Log().report(slot, envelope={"id": "r"}).report(slot, envelope={"id": "r"}, attempt=2, sent_at=text(slot))
    log.report(slot, 2, envelope={"id": "r"}).report(slot, client="other", envelope={"id": "r"})
    log.report(slot + 33 * DAY, 5, envelope={"id": "r"})
    result = meter([document(item())], log.events)
    assert [o["reason"] or o["outcome"] for o in result["outcomes"]] == [
        "charged",
        "duplicate",
        "conflict",
        "charged",
        "charged",
    ]
    assert row(result)["used"] == 7


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"counts": {"qr": 1.5}},
        {"counts": {"qr": True}},
        {"counts": {"qr": "1"}},
        {"counts": {"qr": 1}, "total": 2},
        {"counts": {"qr": 1}, "sent_at": "2031-03-08T10:00:00"},
        {"counts": {"qr": 1}, "instances": 0},
        {"counts": {f"f{n}": 1 for n in range(65)}},
    ],
)
def test_invalid_reports(data: dict[str, Any]) -> None:
    log = Log().report(START)
    log.events[0]["data"] = data
    assert meter([document(item())], log.events)["outcomes"][0]["reason"] == "invalid_schema"


# --- section 6


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


# --- section 7


def test_two_page_items() -> None:
    june, december = at("2031-07-01T00:00:00+00:00"), END
    doc = document(
        item("J1", charge_way="per_page", quota=100, expires_at=june),
        item("J2", charge_way="per_page", quota=500, expires_at=december),
    )
    log = Log()
    for n, pages in enumerate([80, 50, 480]):
        log.report(START + n * SLOT, {"core": pages})
    result = meter([doc], log.events)
    charges = [
        [(c["item_id"], c["in_quota"], c["in_grace"], c["over"]) for c in o["charges"]] for o in result["outcomes"]
    ]
    assert charges == [
        [("J1", 80, 0, 0)],
        [("J1", 20, 0, 0), ("J2", 30, 0, 0)],
        [("J1", 0, 5, 0), ("J2", 470, 5, 0)],
    ]
    assert [(row(result, name)["used"], row(result, name)["state"]) for name in ("J1", "J2")] == [
        (105, "blocked"),
        (505, "grace"),
    ]
    assert [(b["kind"], b["item_id"]) for b in result["breaches"]] == [
        ("quota_reached", "J1"),
        ("grace_exhausted", "J1"),
        ("quota_reached", "J2"),
    ]


def test_a_device_item_before_a_scan_item() -> None:
    device = item("D1", charge_way="per_device", activity_period="monthly", quota=1)
    doc = document(device, item("S1"))
    doc["projects"][0]["usage_order"] = ["D1", "S1"]
    result = meter([doc], Log().report(START, 9, client="A").report(START, 4, client="B").events)
    assert [o["charges"][0]["item_id"] for o in result["outcomes"]] == ["D1", "S1"]
    assert (row(result, "D1")["active"], row(result, "D1")["attributed"], row(result, "S1")["used"]) == (1, 9, 4)
    assert kinds(result) == ["quota_reached", "grace_exhausted"]


def test_a_seated_device_stays_with_its_item() -> None:
    first = item("D1", charge_way="per_device", activity_period="daily", quota=1, expires_at=END - DAY)
    second = item("D2", charge_way="per_device", activity_period="monthly", quota=1)
    log = Log().report(START, client="A").report(START, client="B").report(START + 2 * DAY, client="B")
    result = meter([document(first, second)], log.events)
    assert [o["charges"][0]["item_id"] for o in result["outcomes"]] == ["D1", "D2", "D2"]


def test_expiry_grace_and_revocation() -> None:
    slots = [END - SLOT, END, END + 7 * DAY - SLOT, END + 7 * DAY]
    log = Log()
    for slot in slots:
        log.report(slot)
    result = meter([document(item())], log.events)
    assert answers(result) == ["charged", "charged", "charged", "uncharged"]
    assert [o["charges"][0]["in_expiry_grace"] for o in result["outcomes"]] == [False, True, True, False]
    assert row(result)["state"] == "expired"
    revoked = meter([document(item(revoked_at=START + SLOT))], Log().report(START).report(START + SLOT).events)
    assert answers(revoked) == ["charged", "uncharged"]


# --- section 9


def test_verdict_codes() -> None:
    doc = document(
        item("1", product="p", version="9", quota=1),
        item("2", product="q", version="8", edition="e", charge_way="per_page"),
        projects={K: ["1", "2"], M: []},
    )
    log = Log().auth(START, project=None).auth(START, project="999-x").auth(START, project=f"{ORG}-x")
    log.auth(START, password_ok=False).auth(START, project=M)
    log.auth(START, product="x").auth(START, product="p", version="8", charge_way="per_page")
    log.auth(START, charge_way="per_scan").auth(START, charge_way="per_device").auth(START, clone_suspected=True)
    log.auth(START, product="p", requested_instances=2).auth(START - SLOT, product="p")
    log.report(START, 1, product="p").auth(START, product="p").auth(START)
    log.auth(END + 7 * DAY)
    result = meter([doc], log.events)
    assert answers(result) == [
        123,
        121,
        101,
        102,
        104,
        106,
        104,
        "granted",
        115,
        151,
        130,
        112,
        "charged",
        120,
        "granted",
        111,
    ]
    assert result["outcomes"][14]["item_id"] == "2"


def test_recorded_results_count_but_do_not_seat_alone() -> None:
    doc = document(item(charge_way="per_device", activity_period="yearly", quota=1))
    log = Log().auth(START, "A", result="refused", code="bad_session_password").auth(START, "B", result="ok")
    log.auth(START, "C", result="ok", local_expires_at=text(START + DAY))
    result = meter([doc], log.events)
    assert answers(result) == [102, "granted", "granted"]
    assert [o["local_expires_at"] for o in result["outcomes"]] == [None, text(END), text(START + DAY)]
    assert row(result)["active"] == 1
    assert kinds(result) == ["quota_reached", "grace_exhausted"]


# --- section 10


def test_the_totals_of_the_day() -> None:
    day = at("2031-03-08T00:00:00+00:00")
    doc = document(item("A", modules=["a", "qr"], quota=4), item("B"), projects={K: ["A", "B"], M: ["B"]})
    doc["projects"][0]["usage_order"] = ["A", "B"]
    log = Log().report(day + timedelta(hours=8, minutes=9), 4).report(day + timedelta(hours=8, minutes=51), 6)
    log.report(day + timedelta(hours=11, minutes=21), {"code128": 5}, project=M)
    result = meter([doc], log.events)
    assert [(p["project_id"], p["total"], p["by_feature"]) for p in result["projects"]] == [
        (K, 10, {"qr": 10}),
        (M, 5, {"code128": 5}),
    ]
    assert (row(result, "A")["used"], row(result, "B")["used"]) == (4, 11)
    assert result["projects"][1]["by_slot"] == {"2031-03-08T11:21:00Z": {"code128": 5}}


# --- section 11


def test_the_six_checks_of_the_example() -> None:
    levels = {"daily_device_levels": [60, 80, 100]}
    doc = document(item(charge_way="per_device", activity_period="daily", quota=20), alerts=levels)
    minute, next_day = timedelta(minutes=1), START + DAY
    # 12 seats; on the next day one ends before the second check and one before the third.
    log = Log().auth(START + minute, "d0").auth(START + 11 * minute, "d1")
    for device in range(2, 12):
        log.auth(START + 60 * minute, f"d{device}")
    for device in range(12, 15):  # before the fourth check
        log.auth(next_day + 21 * minute, f"d{device}")
    for device in range(15, 19):  # before the fifth check
        log.auth(next_day + 31 * minute, f"d{device}")
    values = [
        row(meter([doc], [e for e in log.events if e["receivedat"] < check], check))["active"]
        for check in (next_day + n * 10 * minute for n in range(6))
    ]
    assert values == [12, 11, 10, 13, 17, 17]
    alerts = meter([doc], log.events, next_day + 50 * minute)["alerts"]
    assert [(a["checked_at"][8:16], a["conditions"][0]["value"], a["conditions"][0]["crossed"]) for a in alerts] == [
        ("01T01:10", 12, [60]),
        ("02T00:30", 13, [60]),
        ("02T00:40", 17, [80]),
    ]


def test_a_jump_over_three_levels() -> None:
    log = Log().report(START, 58).report(START + 4 * SLOT, 43)
    result = meter([document(item(quota=100))], log.events, START + timedelta(minutes=40))
    (alert,) = result["alerts"]
    assert alert == {
        "organization_id": ORG,
        "checked_at": "2031-01-01T00:20:00Z",
        "conditions": [
            {
                "scope": "item",
                "item_id": "41",
                "project_ids": [K],
                "charge_way": "per_scan",
                "state": "grace",
                "metric": "used",
                "value": 101,
                "quota": 100,
                "percent": "101.00",
                "level": 100,
                "crossed": [60, 80, 100],
            }
        ],
        "recipients": {"to": [], "cc": [], "bcc": []},
    }


def test_the_message_of_the_text() -> None:
    check = at("2031-03-08T10:20:00+00:00")
    doc = document(
        item(charge_way="per_page"), alerts={"recipients": {"to": " ops@example.org; nobody ;OPS@example.org;"}}
    )
    log = Log().report(slot_start(check - timedelta(minutes=60)), {"core": 1610}, received=check - DAY / 1440)
    for n in range(40):
        code = "limit_exceeded" if n < 7 else "expired"
        answer = {"result": "refused", "code": code} if n < 9 else {"result": "ok"}
        log.auth(check - timedelta(seconds=50 - n), f"d{n}", **answer)
    (alert,) = meter([doc], log.events, check)["alerts"]
    item_condition, project_condition = alert["conditions"]
    assert (item_condition["percent"], item_condition["level"], item_condition["crossed"]) == ("80.50", 80, [60, 80])
    assert project_condition == {
        "scope": "project",
        "project_id": K,
        "metric": "auth_failed_ratio",
        "value": 9,
        "quota": 40,
        "percent": "22.50",
        "level": 20,
        "crossed": [10, 20],
        "window_minutes": 60,
        "top_codes": {"111": 2, "120": 7},
    }
    assert alert["recipients"]["to"] == ["ops@example.org"]


def test_expiry_reminders() -> None:
    doc = document(item(expires_at=START + 20 * DAY), alerts={"expiry_reminder_days": [30, 7, 1]})
    alerts = meter([doc], Log().report(START).events, START + 30 * DAY)["alerts"]
    found = [(a["conditions"][0]["value"], a["conditions"][0]["level"]) for a in alerts]
    assert found == [(19, 30), (7, 7), (1, 1)]


# --- section 15, and the one shortcut


def random_log(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], datetime]:
    chance = random.Random(seed)
    ways = ["per_scan", "per_page", "per_device", "per_server", "per_concurrent_device", "per_concurrent_instance"]

    def some_document() -> dict[str, Any]:
        items = []
        for n in range(chance.randint(1, 4)):
            way = chance.choice(ways)
            changes: dict[str, Any] = {"charge_way": way, "quota": chance.choice([1, 2, 5, 10, 20])}
            if way == "per_device":
                changes["activity_period"] = chance.choice(["daily", "monthly"])
            if way.startswith("per_concurrent"):
                changes["overuse_budget"] = chance.choice([3, 10])
            if chance.random() < 0.3:
                changes["expires_at"] = START + chance.randint(1, 6) * DAY
            if chance.random() < 0.1:
                changes["revoked_at"] = START + chance.randint(1, 6) * DAY
            if chance.random() < 0.3:
                changes["modules"] = ["qr"]
            items.append(item(str(n), **changes))
        doc = document(*items, alerts={"preset": chance.choice(["default", "legacy"]), "expiry_reminder_days": [2]})
        doc["projects"].append({"project_id": M, "item_ids": ["0"]})
        return doc

    first, log, t = some_document(), Log(), START
    for _ in range(60):
        t += timedelta(seconds=chance.choice([0, 5, 60, 600, 20_000]))
        client, project = f"d{chance.randint(1, 5)}", chance.choice([K, K, M])
        draw = chance.random()
        if draw < 0.03:
            log.catalog(t, some_document())
        elif draw < 0.4:
            log.auth(t - timedelta(seconds=chance.choice([0, 400, -200])), client, project, received=t)
        else:
            slot = slot_start(t) - SLOT * chance.choice([0, 0, 1, 900])
            counts = {"qr": chance.randint(0, 4), "ean": chance.randint(0, 2)}
            log.report(slot, counts, client, t, project, instances=chance.choice([None, 1, 3]))
            if chance.random() < 0.1:
                log.events.append(dict(log.events[-1]))
    return [first], log.events, t + 2 * DAY


@pytest.mark.parametrize("seed", range(40))
def test_invariants_of_random_logs(seed: int) -> None:
    documents, events, until = random_log(seed)
    result = meter(documents, events, until)
    assert result == meter(documents, events, until, skip_idle_checks=False)
    totals = result["totals"]
    assert totals["received"] == len(events) == sum(totals.values()) - totals["received"]
    twice = meter(documents, [e for e in events for _ in (1, 2)], until)
    for part in ("projects", "breaches", "alerts"):
        assert twice[part] == result[part]
    for found in result["items"]:
        assert found["used"] == found["in_quota"] + found["in_grace"] + found["over"]
        if "slots" in found and not any(o["kind"] == "catalog" for o in result["outcomes"]):
            for slot in found["slots"].values():
                assert slot["exceptions"] == max(0, slot["allotted"] - found["quota"])


def test_documents_are_checked() -> None:
    for changes in ({"quota": 0}, {"charge_way": "per_device"}, {"expires_at": START}, {"activity_period": "daily"}):
        with pytest.raises(ValueError):
            read_document(document(item(**changes)))
    log = Log().catalog(START, document(item(quota=0))).catalog(START, document(item(quota=7)))
    result = meter([document(item())], log.events)
    assert [o["outcome"] for o in result["outcomes"]] == ["rejected", "applied"]
    assert row(result)["quota"] == 7
