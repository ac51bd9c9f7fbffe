"""Section 11 of the domain text, against the reference: usage alerts."""

from datetime import timedelta

from tests.support.reference import meter
from tests.support.reference.instants import slot_start
from tests.unit.reference.building import DAY, ORG, SLOT, START, K, Log, at, document, item, row


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
