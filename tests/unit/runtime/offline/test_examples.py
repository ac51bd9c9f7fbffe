"""Every worked example of the domain, through the real command."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.build import item
from tests.unit.runtime.offline.command import (
    DAY,
    MINUTE,
    SLOT_LENGTH,
    START,
    Command,
    Log,
    catalog,
    charges,
    instant,
    text,
)

# Section 3.


def test_example_3_the_slots_of_five_instants(command: Command) -> None:
    """A device that is turned away is said with the slot of its request, whose instant may be anything."""
    instants = {
        "2031-03-08T01:01:30+05:30": "2031-03-07T19:30:00Z",
        "2031-03-08T06:00:00.000Z": "2031-03-08T06:00:00Z",
        "2031-03-08T14:14:59.999Z": "2031-03-08T14:12:00Z",
        "2031-03-08T14:17:42.500Z": "2031-03-08T14:15:00Z",
        "2031-03-08T23:59:59.999Z": "2031-03-08T23:57:00Z",
    }
    log = Log()
    log.authorize("2031-03-07T19:00:00Z", "seated")
    for at in instants:
        log.authorize(at, f"refused at {at}")
    answer = command(catalog(item(charge_way="per_device", activity_period="monthly", quota=1)), log)
    assert [breach["slot"] for breach in answer.breaches if breach["kind"] == "device_refused"] == list(
        instants.values()
    )


def test_example_3_an_offset_is_converted(command: Command) -> None:
    log = Log()
    log.report("2031-03-08T01:00:00+05:30", {"qr": 1}, received="2031-03-08T01:04:00+05:30")
    assert command(catalog(item()), log).project()["by_slot"] == {"2031-03-07T19:30:00Z": {"qr": 1}}


# Section 5.


def test_example_5_thirty_days_and_a_millisecond(command: Command) -> None:
    log = Log()
    log.report("2031-05-01T09:00:00Z", {"qr": 1}, received="2031-05-31T09:03:00Z")
    log.report("2031-05-01T09:00:00Z", {"qr": 1}, received="2031-05-31T09:03:00.001Z")
    first, second = command(catalog(item()), log).outcomes
    assert (first["outcome"], first["late"]) == ("charged", True)
    assert (second["outcome"], second["reason"], second["code"]) == ("rejected", "too_old", None)


# Section 6.


def test_example_6_rounding_of_five_percent(command: Command) -> None:
    expected = {9: 0, 10: 1, 30: 2, 50: 3}
    items = [item(str(quota), quota=quota) for quota in expected]
    log = Log()
    for quota in expected:
        log.report(START, {"qr": 100}, project=f"p{quota}")
    answer = command(catalog(*items, projects={f"p{quota}": [str(quota)] for quota in expected}), log)
    for quota, grace in expected.items():
        parts = answer.figures("in_quota", "in_grace", "over", item_id=str(quota))
        assert parts == (quota, grace, 100 - quota - grace)


def test_example_6_rounding_of_ten_percent(command: Command) -> None:
    expected = {4: 0, 5: 1, 15: 2, 25: 3}
    items = [item(str(q), charge_way="per_device", activity_period="yearly", quota=q) for q in expected]
    log = Log()
    for quota in expected:
        for number in range(30):
            log.report(START, {"qr": 1}, f"device-{number}", project=f"p{quota}", received=START + MINUTE)
    answer = command(catalog(*items, projects={f"p{quota}": [str(quota)] for quota in expected}), log)
    for quota, grace in expected.items():
        assert answer.figures("active", "attributed", item_id=str(quota)) == (quota + grace, quota + grace)


def test_example_6_1_pages_of_an_item(command: Command) -> None:
    document = catalog(item(charge_way="per_page", quota=2_000))
    log = Log()
    steps = [
        (1_150, 1_150, "57.50", "active"),
        (60, 1_210, "60.50", "active"),
        (790, 2_000, "100.00", "grace"),
        (99, 2_099, "104.95", "grace"),
        (1, 2_100, "105.00", "blocked"),
        (35, 2_135, "106.75", "blocked"),
    ]
    for number, (count, used, percent, state) in enumerate(steps):
        log.report(START, {"core": count}, received=START + (number + 4) * MINUTE)
        assert command(document, log).figures("used", "percent", "state") == (used, percent, state)
    assert command(document, log).figures("in_quota", "in_grace", "over") == (2_000, 100, 35)


def test_example_6_2_monthly_devices(command: Command) -> None:
    document = catalog(item(charge_way="per_device", activity_period="monthly", quota=5))
    log = Log()

    def after(day: int) -> tuple[Any, ...]:
        until = text(START + day * DAY)
        return command(document, log, "--checks-until", until).figures("active", "percent", "state")

    for client in "ABCDE":
        log.authorize(START, client)
    assert after(0) == (5, "100.00", "grace")
    log.authorize(START + DAY, "F")
    assert after(1) == (6, "120.00", "blocked")
    log.authorize(START + 2 * DAY, "G")
    log.report(START + 20 * DAY, {"qr": 3}, "A", received=START + 20 * DAY)
    assert after(30) == (2, "40.00", "active")
    log.authorize(START + 30 * DAY, "G")
    answer = command(document, log)
    refused, *_, seated = [entry for entry, line in zip(answer.outcomes, log.lines, strict=True) if '"G"' in line]
    assert (refused["outcome"], refused["code"]) == ("refused", {"number": 120, "slug": "limit_exceeded"})
    assert (seated["outcome"], seated["local_expires_at"]) == ("granted", text(START + 60 * DAY))
    assert after(30) == (3, "60.00", "active")
    assert after(31) == (2, "40.00", "active")  # F ended
    assert after(50) == (1, "20.00", "active")  # and A, who reported on day 20


def test_example_6_3_seven_devices_in_every_slot(command: Command) -> None:
    """The real numbers: 9,338 reports."""
    slots, log = 1_334, Log()
    for number in range(slots):
        slot = START + number * SLOT_LENGTH
        for device in range(7):
            log.report(slot, {"qr": 1}, f"device-{device}")
    answer = command(catalog(item(charge_way="per_concurrent_device", quota=4)), log, "--slots")
    added = [sum(charge["exceptions"] for charge in outcome["charges"]) for outcome in answer.outcomes]
    assert [sum(added[: 7 * number]) for number in (800, 1_066, 1_067, 1_333, slots)] == [
        2_400,  # 60 %
        3_198,
        3_201,  # 80 %
        3_999,
        4_002,  # used up
    ]
    assert answer.figures("consumed", "budget", "percent", "state") == (4_002, 4_000, "100.05", "capped")
    assert set(map(tuple, (use.values() for use in answer.item()["slots"].values()))) == {(7, 3)}
    (exhausted,) = [breach for breach in answer.breaches if breach["kind"] == "overuse_exhausted"]
    assert instant(exhausted["slot"]) - START == timedelta(hours=66, minutes=39)  # the slot that ends after 66 h 42 min
    levels = [condition["level"] for alert in answer.alerts for condition in alert["conditions"]]
    assert levels == [60, 80]  # the check after the last arrival is still to come


def test_example_6_3_a_stored_report_raises_a_past_slot(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 1}, "A")
    log.report(START, {"qr": 1}, "B")
    document = catalog(item(charge_way="per_concurrent_device", quota=2))
    before = command(document, log, "--slots")
    assert before.item()["slots"] == {text(START): {"allotted": 2, "exceptions": 0}}
    assert before.figures("consumed") == (0,)
    log.report(START, {"qr": 1}, "C", received=START + 9 * DAY)
    after = command(document, log, "--slots")
    assert after.item()["slots"] == {text(START): {"allotted": 3, "exceptions": 1}}
    assert after.figures("consumed", "state") == (1, "overusing")
    assert after.outcomes[-1]["late"] is True


def test_example_6_4_instances_of_three_servers(command: Command) -> None:
    slots, log = 1_000, Log()
    for number in range(slots):
        slot = START + number * SLOT_LENGTH
        for server, instances in (("server-1", 6), ("server-2", 4), ("server-3", 2)):
            log.report(slot, {"core": 1}, server, instances=instances)
    document = catalog(item(charge_way="per_concurrent_instance", quota=6))
    at = START + slots * SLOT_LENGTH + 30 * MINUTE
    for server, instances in (("server-1", 4), ("server-2", 2), ("server-3", 1)):
        log.authorize(at, server, requested_instances=instances)
    answer = command(document, log, "--slots")
    assert set(map(tuple, (use.values() for use in answer.item()["slots"].values()))) == {(12, 6)}
    assert answer.figures("consumed", "budget", "state") == (6_000, 6_000, "capped")
    assert answer.of_lines("outcome")[-3:] == ["granted", "granted", "refused"]
    assert answer.outcomes[-1]["code"] == {"number": 120, "slug": "limit_exceeded"}
    (exhausted,) = [breach for breach in answer.breaches if breach["kind"] == "overuse_exhausted"]
    assert instant(exhausted["slot"]) - START == timedelta(hours=50) - SLOT_LENGTH
    one_less = command(document, log.lines[: 3 * (slots - 1)])
    assert one_less.figures("consumed", "state") == (5_994, "overusing")


# Section 7.


def test_example_7_3_two_page_items(command: Command) -> None:
    j1 = item("J1", charge_way="per_page", quota=100, expires_at="2031-07-01T00:00:00Z")
    j2 = item("J2", charge_way="per_page", quota=500)
    log = Log()
    for count in (80, 50, 480):
        log.report(START, {"core": count})
    answer = command(catalog(j1, j2), log)
    assert [charges(outcome) for outcome in answer.outcomes] == [
        [("J1", 80, 80, 0, 0)],
        [("J1", 20, 20, 0, 0), ("J2", 30, 30, 0, 0)],
        [("J1", 5, 0, 5, 0), ("J2", 475, 470, 5, 0)],
    ]
    assert answer.figures("used", "state", item_id="J1") == (105, "blocked")
    assert answer.figures("used", "state", item_id="J2") == (505, "grace")


def test_example_7_3_a_device_item_before_a_scan_item(command: Command) -> None:
    d1 = item("D1", charge_way="per_device", activity_period="monthly", quota=1)
    log = Log()
    log.report(START, {"qr": 10}, "A")
    log.report(START, {"qr": 7}, "B")
    answer = command(catalog(d1, item("S1")), log)
    assert [charges(outcome) for outcome in answer.outcomes] == [[("D1", 10, 0, 0, 0)], [("S1", 7, 7, 0, 0)]]
    assert answer.figures("active", "attributed", item_id="D1") == (1, 10)
    assert answer.figures("used", item_id="S1") == (7,)
    assert "device_refused" not in answer.kinds()  # another item took it


# Section 8.


def test_example_8_without_grace_from_active_to_blocked(command: Command) -> None:
    document, log = catalog(item(quota=9)), Log()
    log.report(START, {"qr": 8})
    assert command(document, log).figures("state", "percent") == ("active", "88.89")
    log.report(START, {"qr": 1})
    assert command(document, log).figures("state", "percent") == ("blocked", "100.00")


def test_example_8_one_report_over_both_limits(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 250})
    first, second = command(catalog(item(quota=200)), log).breaches
    facts = ("kind", "quota", "limit", "value", "percent", "late")
    assert [first[name] for name in facts] == ["quota_reached", 200, 200, 250, "125.00", False]
    assert [second[name] for name in facts] == ["grace_exhausted", 200, 210, 250, "125.00", False]


@pytest.mark.parametrize(
    ("project", "slot"),
    [
        pytest.param("gone", START, id="8.2 unknown_project"),
        pytest.param("kiosk", START + timedelta(hours=2), id="8.2 clock_skew"),
    ],
)
def test_g27_an_id_has_one_message_though_the_first_document_comes_in_between(
    command: Command, project: str, slot: datetime
) -> None:
    log = Log()
    log.report(slot, {"qr": 1}, project=project, received=START + MINUTE)
    log.change(START + 2 * MINUTE, catalog(item()))
    log.report(slot, {"qr": 1}, project=project, received=START + 3 * MINUTE)
    other = {"organization_id": "9", "projects": [{"project_id": "9-p"}]}
    ids = [breach["breach_id"] for breach in command(other, log).breaches]
    assert len(ids) == len(set(ids)) == 2


# Section 10.


def test_example_10_day_totals_by_project_and_item(command: Command) -> None:
    a, b = item("A", quota=4, expires_at="2031-12-01T00:00:00Z"), item("B")  # A is used first, and then used up
    document = catalog(a, b, projects={"K": ["A", "B"], "M": ["B"]})
    log = Log()
    log.report("2031-03-08T08:09:00Z", {"qr": 4}, project="K", received="2031-03-08T08:13:00Z")
    log.report("2031-03-08T08:48:00Z", {"qr": 6}, project="K", received="2031-03-08T08:52:00Z")
    log.report("2031-03-08T11:18:00Z", {"code128": 5}, project="M", received="2031-03-08T11:22:00Z")
    answer = command(document, log)
    assert answer.project("K")["by_feature"] == {"qr": 10}
    assert answer.project("M")["by_feature"] == {"code128": 5}
    assert [answer.project(name)["total"] for name in "KM"] == [10, 5]
    assert answer.project("K")["by_slot"] == {"2031-03-08T08:09:00Z": {"qr": 4}, "2031-03-08T08:48:00Z": {"qr": 6}}
    assert answer.project("M")["by_slot"] == {"2031-03-08T11:18:00Z": {"code128": 5}}
    assert answer.figures("used", "attributed", item_id="A") == (4, 4)
    assert answer.figures("used", "attributed", item_id="B") == (11, 11)
    by_feature = {(c["item_id"], c["feature"]): c["quantity"] for o in answer.outcomes for c in o.get("charges", ())}
    assert by_feature == {("A", "qr"): 4, ("B", "qr"): 6, ("B", "code128"): 5}


def test_example_10_usage_time_does_not_change_when_a_scan_comes_a_day_later(command: Command) -> None:
    log = Log()
    log.report("2031-03-08T08:48:00Z", {"qr": 5}, received="2031-03-08T08:52:00Z")
    log.report("2031-03-08T08:48:00Z", {"qr": 1}, received="2031-03-09T07:00:00Z")
    assert command(catalog(item()), log).project()["by_slot"] == {"2031-03-08T08:48:00Z": {"qr": 6}}


# Section 11.


def test_example_11_a_device_item_at_six_checks(command: Command) -> None:
    """Seats end 30 days after their one contact: so the gauge falls by one and by one."""
    log, check = Log(), START + 30 * DAY
    contacts = {  # minutes from the first check to the contact
        -5 - 30 * 24 * 60 + 10: 1,  # ends before the second check,
        -5 - 30 * 24 * 60 + 20: 1,  # and before the third
        -5: 10,
        25: 3,
        35: 4,
    }
    clients = 0
    for minutes, count in contacts.items():
        for _ in range(count):
            clients += 1
            log.authorize(check + minutes * MINUTE, f"device-{clients}")
    document = catalog(item(charge_way="per_device", activity_period="monthly", quota=20))
    answer = command(document, log, "--checks-until", text(check + 50 * MINUTE))
    sent = [
        (instant(alert["checked_at"]) - check, c["value"], c["percent"], c["level"], c["crossed"])
        for alert in answer.alerts
        for c in alert["conditions"]
    ]
    assert sent == [
        (timedelta(0), 12, "60.00", 60, [60]),
        (30 * MINUTE, 13, "65.00", 60, [60]),
        (40 * MINUTE, 17, "85.00", 80, [80]),
    ]


def test_example_11_a_jump_between_two_checks(command: Command) -> None:
    log = Log()
    log.report(START, {"core": 58}, received=START + 5 * MINUTE)
    log.report(START, {"core": 43}, received=START + 15 * MINUTE)
    document = catalog(item(charge_way="per_page", quota=100))
    (alert,) = command(document, log, "--checks-until", text(START + 40 * MINUTE)).alerts
    (condition,) = alert["conditions"]
    assert alert["checked_at"] == text(START + 20 * MINUTE)
    assert (condition["value"], condition["percent"]) == (101, "101.00")
    assert (condition["level"], condition["crossed"]) == (100, [60, 80, 100])


def test_example_11_the_payload(command: Command) -> None:
    log = Log()
    log.report(START, {"core": 1_610}, received=START + 12 * MINUTE)
    answers = [("refused", "limit_exceeded")] * 7 + [("refused", "expired")] * 2 + [("ok", None)] * 31
    for number, (result, code) in enumerate(answers):
        log.authorize(START + 15 * MINUTE, f"device-{number}", result=result, code=code)
    document = catalog(
        item(charge_way="per_page", quota=2_000), alerts={"recipients": {"to": "ops@example.org; OPS@example.org;"}}
    )
    (alert,) = command(document, log, "--checks-until", text(START + 20 * MINUTE)).alerts
    assert len(alert.pop("alert_id")) == 32
    assert alert == {
        "organization_id": "300417",
        "checked_at": "2031-03-08T10:20:00Z",
        "conditions": [
            {
                "scope": "item",
                "item_id": "41",
                "project_ids": ["300417-kiosk"],
                "charge_way": "per_page",
                "metric": "used",
                "value": 1610,
                "quota": 2000,
                "percent": "80.50",
                "level": 80,
                "crossed": [60, 80],
                "state": "active",
            },
            {
                "scope": "project",
                "project_id": "300417-kiosk",
                "metric": "auth_failed_ratio",
                "value": 9,
                "quota": 40,
                "percent": "22.50",
                "level": 20,
                "crossed": [10, 20],
                "window_minutes": 60,
                "top_codes": {"120": 7, "111": 2},
            },
        ],
        "recipients": {"to": ["ops@example.org"], "cc": [], "bcc": []},
    }
