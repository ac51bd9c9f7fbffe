"""Section 7 of the domain text, against the reference: several items of a project."""

from tests.support.reference import meter
from tests.unit.reference.building import DAY, END, SLOT, START, Log, answers, at, document, item, kinds, row


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
