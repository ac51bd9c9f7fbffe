"""Sections 3 and 5 of the domain text, against the reference: slots, and what is accepted."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.reference import meter
from tests.support.reference.instants import instant, slot_index, slot_start, text
from tests.unit.reference.building import DAY, ORG, START, K, Log, at, document, item, row


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
