"""Sections 9 and 10 of the domain text, against the reference: verdicts, and the totals of a day."""

from datetime import timedelta

from tests.support.reference import meter
from tests.support.reference.instants import text
from tests.unit.reference.building import DAY, END, ORG, SLOT, START, K, Log, M, answers, at, document, item, kinds, row


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
