"""The ten-minute check, at the edges of levels and windows (domain, section 11)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from licmeter.metering.alerting import HeldLevels
from licmeter.metering.recipients import parse_recipients
from licmeter.metering.requests import RequestWindows
from licmeter.schemas.catalog import Recipients
from tests.support.build import ORGANIZATION, PROJECT, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, Bench

CHECK = SLOT + 10 * MINUTE


def test_w8_requests_are_forgotten_after_two_hours() -> None:
    windows = RequestWindows()
    windows.add("p", ms(SLOT), "", ms(SLOT))
    windows.add("p", ms(SLOT - 2 * HOUR), "", ms(SLOT))
    windows.add("p", ms(SLOT - 2 * HOUR) - 1, "", ms(SLOT))
    assert sorted(windows.projects["p"]) == [ms(SLOT - 2 * HOUR) // 600_000, ms(SLOT) // 600_000]
    windows.add("q", ms(SLOT + 2 * HOUR), "", ms(SLOT + 2 * HOUR))
    windows.add("p", ms(SLOT), "", ms(SLOT + 2 * HOUR + 10 * MINUTE))
    assert windows.projects["p"] == {}
    assert windows.to_json() == {"q": windows.projects["q"]}


def test_w8_g17_the_window_is_the_hour_before_the_check() -> None:
    windows = RequestWindows()
    for at, code in ((SLOT - 60 * MINUTE, "1"), (SLOT - MINUTE, "2"), (SLOT - 61 * MINUTE, "3"), (SLOT, "4")):
        windows.add("p", ms(at), code, ms(SLOT))
    assert windows.window("p", ms(SLOT)) == {"1": 1, "2": 1}


def test_w8_the_five_commonest_codes_are_named_and_never_none() -> None:
    bench = Bench(organization(item()))
    codes = ["limit_exceeded"] * 3 + ["expired"] * 2 + ["product_mismatch"] * 2
    codes += ["version_mismatch", "edition_mismatch", "item_invalid", "not_started"]
    for number, code in enumerate([*codes, None, None, None]):
        data: dict[str, Any] = {} if code is None else {"code": code}
        bench.authorize(f"device-{number}", at=SLOT, result="refused", **data)
    alert = bench.check(CHECK)
    assert alert is not None
    (condition,) = alert.conditions
    assert list((condition.top_codes or {}).items()) == [("120", 3), ("106", 2), ("111", 2), ("107", 1), ("109", 1)]
    assert (condition.value, condition.quota, condition.window_minutes) == (14, 14, 60)


def test_w2_conditions_come_by_item_and_by_project() -> None:
    names = [f"{ORGANIZATION}-{name}" for name in "ba"]
    projects = [{"project_id": name, "item_ids": ["2", "1"]} for name in names]
    document = organization(
        item("2", quota=1),
        item("1", quota=1),
        projects=projects,
        default_project_id=names[0],
        alerts={"preset": "legacy"},
    )
    bench = Bench(document)
    for item_id in "21":
        bench.item_use(item_id).in_quota = 1
    for name in names:
        for number in range(10):
            bench.authorize(f"device-{number}", at=SLOT, project_id=name, result="refused")
    alert = bench.check(CHECK)
    assert alert is not None
    assert [each.item_id or each.project_id for each in alert.conditions] == ["1", "2", *sorted(names)]
    assert [each.project_ids for each in alert.conditions] == [tuple(sorted(names))] * 2 + [None] * 2


def test_w7_a_level_arms_again_one_unit_below_five_points() -> None:
    bench = Bench(organization(item(quota=2_000)))
    crossed = []
    for number, used in enumerate((1_200, 1_100, 1_200, 1_099, 1_200)):
        bench.item_use().in_quota = used
        alert = bench.check(CHECK + number * 10 * MINUTE)
        crossed.append(alert is not None)
    assert crossed == [True, False, False, False, True]


def test_w6_levels_are_held_in_their_order() -> None:
    held = HeldLevels()
    assert held.update("x", {8, 1}, set()) == (1, 8)
    assert held.held == {"x": (1, 8)}
    assert held.update("x", {8}, {1}) == ()
    assert held.held == {"x": (8,)}
    assert held.update("x", set(), {8}) == ()
    assert held.held == {}


def test_w9_a_reminder_says_all() -> None:
    ends = CHECK + timedelta(milliseconds=1)
    bench = Bench(organization(item(expires_at=ends), alerts={"expiry_reminder_days": [30, 7, 1]}))
    alert = bench.check(CHECK)
    assert alert is not None
    assert [condition.model_dump(mode="json", exclude_none=True) for condition in alert.conditions] == [
        {
            "scope": "item",
            "item_id": "41",
            "project_ids": [PROJECT],
            "charge_way": "per_scan",
            "metric": "expires_in_days",
            "value": 1,
            "level": 1,
            "crossed": [1, 7, 30],
            "state": "active",
        }
    ]


@pytest.mark.parametrize("ends", [SLOT - DAY, CHECK], ids=["yesterday", "now"])
def test_w9_nobody_is_reminded_of_an_expiry_after_it(ends: datetime) -> None:
    bench = Bench(organization(item(expires_at=ends), alerts={"expiry_reminder_days": [30, 7, 1]}))
    assert bench.check(CHECK) is None


def test_w9_a_reminder_says_the_days_that_are_left_rounded_up() -> None:
    bench = Bench(organization(item(expires_at=CHECK + 7 * DAY), alerts={"expiry_reminder_days": [30, 7, 1]}))
    alert = bench.check(CHECK - MINUTE)
    assert alert is not None
    assert [(each.value, each.level, each.crossed) for each in alert.conditions] == [(8, 30, (30,))]
    alert = bench.check(CHECK)
    assert alert is not None
    assert [(each.value, each.level, each.crossed) for each in alert.conditions] == [(7, 7, (7,))]


def test_w10_mistakes_are_named_and_stop_nobody() -> None:
    lists, mistakes = parse_recipients(Recipients(to="x; ;y", cc="A@b.org; a@B.org;z", bcc="c@d.org;"))
    assert (lists.to, lists.cc, lists.bcc) == ((), ("A@b.org",), ("c@d.org",))
    assert mistakes == [
        "recipients.to: x is no address, it has no @",
        "recipients.to: y is no address, it has no @",
        "recipients.cc: z is no address, it has no @",
        "recipients.to: names no address",
    ]
