"""`licmeter meter`: every worked example of the domain through the real command, and the command's edges."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from licmeter.runtime.cli.main import app, main
from tests.support.build import item

ORGANIZATION = "300417"
KIOSK = f"{ORGANIZATION}-kiosk"
MINUTE = timedelta(minutes=1)
SLOT_LENGTH = timedelta(minutes=3)
DAY = timedelta(days=1)
START = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def text(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else moment.isoformat().replace("+00:00", "Z")


def catalog(*items: dict[str, Any], projects: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    """One license file; one project with all items unless `projects` (short name to items) says otherwise."""
    named = {"kiosk": [entry["item_id"] for entry in items]} if projects is None else projects
    document: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "license_files": [{"license_id": "L1", "items": list(items)}],
        "projects": [{"project_id": f"{ORGANIZATION}-{name}", "item_ids": ids} for name, ids in named.items()],
        "default_project_id": f"{ORGANIZATION}-{next(iter(named))}",
    }
    return document | changes


class Log:
    """The lines of an events file, in arrival order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(
        self,
        slot: datetime | str,
        counts: dict[str, int],
        client: str = "device-1",
        *,
        project: str = "kiosk",
        received: datetime | str | None = None,
        report_id: str | None = None,
        **data: Any,
    ) -> None:
        if received is None:
            assert isinstance(slot, datetime)
            received = slot + SLOT_LENGTH + timedelta(seconds=5)
        self.add("license.usage.report.v1", slot, client, received, {"counts": counts} | data, project, report_id)

    def authorize(
        self, at: datetime | str, client: str = "device-1", *, received: datetime | str | None = None, **data: Any
    ) -> None:
        self.add("license.authorization.v1", at, client, at if received is None else received, data)

    def change(self, at: datetime, document: dict[str, Any]) -> None:
        event = {"type": "license.catalog.v1", "source": "x", "subject": ORGANIZATION, "data": document}
        self.event(event | {"time": text(at), "receivedat": text(at)})

    def add(
        self,
        kind: str,
        at: datetime | str,
        client: str,
        received: datetime | str,
        data: dict[str, Any],
        project: str = "kiosk",
        event_id: str | None = None,
    ) -> None:
        event = {"type": kind, "source": client, "subject": f"{ORGANIZATION}-{project}", "time": text(at), "data": data}
        self.event(event | {"receivedat": text(received)} | ({} if event_id is None else {"id": event_id}))

    def event(self, event: dict[str, Any]) -> None:
        self.lines.append(json.dumps({"specversion": "1.0", "id": f"e{len(self.lines)}"} | event))


class Command:
    """Runs `licmeter meter` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def arguments(self, document: dict[str, Any], lines: list[str], *options: str) -> list[str]:
        document_file, events_file = self.directory / "catalog.yaml", self.directory / "events.jsonl"
        document_file.write_text(yaml.safe_dump(document))
        events_file.write_text("".join(f"{line}\n" for line in lines))
        return ["meter", "--catalog", str(document_file), "--events", str(events_file), *options]

    def tables(self, document: dict[str, Any], log: Log, *options: str) -> str:
        result = CliRunner().invoke(app, self.arguments(document, log.lines, *options), catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    def __call__(self, document: dict[str, Any], log: Log | list[str], *options: str) -> "Answer":
        lines = log.lines if isinstance(log, Log) else log
        arguments = self.arguments(document, lines, "--json", *options)
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return Answer(json.loads(result.stdout), result.stderr)


class Answer:
    """The JSON document that the command printed."""

    def __init__(self, document: dict[str, Any], notes: str = "") -> None:
        self.document = document
        self.notes = notes
        self.outcomes: list[dict[str, Any]] = document["outcomes"]
        self.breaches: list[dict[str, Any]] = document["breaches"]
        self.alerts: list[dict[str, Any]] = document["alerts"]
        self.totals: dict[str, int] = document["totals"]

    def item(self, item_id: str = "41") -> dict[str, Any]:
        (found,) = [entry for entry in self.document["items"] if entry["item_id"] == item_id]
        return found

    def figures(self, *names: str, item_id: str = "41") -> tuple[Any, ...]:
        entry = self.item(item_id)
        return tuple(entry[name] for name in names)

    def project(self, name: str = "kiosk") -> dict[str, Any]:
        (found,) = [entry for entry in self.document["projects"] if entry["project_id"] == f"{ORGANIZATION}-{name}"]
        return found

    def of_lines(self, name: str) -> list[Any]:
        return [entry[name] for entry in self.outcomes]

    def kinds(self) -> list[str]:
        return [breach["kind"] for breach in self.breaches]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def charges(outcome: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(c["item_id"], c["quantity"], c["in_quota"], c["in_grace"], c["over"]) for c in outcome["charges"]]


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


# The command.


def test_the_real_process(tmp_path: Path) -> None:
    log = Log()
    log.report(START, {"qr": 6})
    arguments = Command(tmp_path).arguments(catalog(item()), log.lines, "--json")
    done = subprocess.run(
        [sys.executable, "-m", "licmeter.runtime.cli", *arguments], capture_output=True, text=True, check=True
    )
    answer = Answer(json.loads(done.stdout))
    assert answer.figures("used", "percent", "state") == (6, "0.30", "active")
    assert set(answer.document) == {"outcomes", "items", "projects", "breaches", "alerts", "totals"}


def test_the_example_of_the_manual(command: Command) -> None:
    """docs/meter.md shows these lines and this answer; the formats are stable."""
    line = (
        '{"specversion": "1.0", "type": "license.usage.report.v1", "id": "r-1", "source": "device-1",'
        ' "subject": "300417-kiosk", "time": "2031-03-08T10:00:00Z", "receivedat": "2031-03-08T10:03:05Z",'
        ' "data": {"counts": {"qr": 6}}}'
    )
    log = Log()
    log.authorize("2031-03-08T10:05:00Z", charge_way="per_device")
    document = catalog(item(modules=["qr"]), MONTHLY)
    log.change(START + 6 * MINUTE, document)
    answer = command(document, [line, *log.lines])
    head = {"organization_id": "300417", "reason": None, "code": None, "detail": ""}
    charge = {"feature": "qr", "item_id": "41", "quantity": 6, "tier": "quota", "in_quota": 6, "in_grace": 0, "over": 0}
    assert answer.outcomes == [
        {"line": 1, "kind": "report", "project_id": KIOSK, "outcome": "charged", "late": False}
        | {"charges": [charge | {"exceptions": 0, "in_expiry_grace": False}]}
        | head,
        {"line": 2, "kind": "authorization", "project_id": KIOSK, "outcome": "granted"}
        | {"item_id": "42", "local_expires_at": "2031-04-07T10:05:00Z"}
        | head,
        {"line": 3, "kind": "catalog", "project_id": None, "outcome": "applied"} | head,
    ]
    assert answer.item() == {
        "organization_id": "300417",
        "item_id": "41",
        "charge_way": "per_scan",
        "quota": 2_000,
        "used": 6,
        "in_quota": 6,
        "in_grace": 0,
        "over": 0,
        "attributed": 6,
        "active": 0,
        "consumed": 0,
        "budget": None,
        "budget_year": None,
        "percent": "0.30",
        "state": "active",
        "in_expiry_grace": False,
    }
    assert answer.project() == {
        "organization_id": "300417",
        "project_id": KIOSK,
        "total": 6,
        "by_feature": {"qr": 6},
        "by_slot": {"2031-03-08T10:00:00Z": {"qr": 6}},
    }
    assert answer.totals == {
        "received": 3,
        "charged": 1,
        "uncharged": 0,
        "duplicate": 0,
        "rejected": 0,
        "granted": 1,
        "refused": 0,
        "catalogs": 1,
    }


MONTHLY = item("42", charge_way="per_device", activity_period="monthly", quota=3)


def test_checks_until_goes_on_after_the_last_arrival(command: Command) -> None:
    log, document = Log(), catalog(item(quota=10))
    log.report(START, {"qr": 8}, received=START + 5 * MINUTE)
    assert command(document, log).alerts == []
    before = command(document, log, "--checks-until", text(START + 10 * MINUTE - timedelta(seconds=1)))
    assert before.alerts == []
    (alert,) = command(document, log, "--checks-until", text(START + 10 * MINUTE)).alerts  # and including it
    assert alert["checked_at"] == "2031-03-08T10:10:00Z"
    (alert,) = command(document, log, "--checks-until", "2031-12-24T00:00:00+01:00").alerts
    assert alert["checked_at"] == "2031-03-08T10:10:00Z"


REMINDED = catalog(item(expires_at="2031-03-20T00:00:00Z"), alerts={"expiry_reminder_days": [30]})


def test_checks_until_runs_checks_without_any_event(command: Command) -> None:
    answer = command(REMINDED, Log(), "--checks-until", text(START))
    assert answer.figures("state") == ("active",)


def test_no_check_runs_before_the_first_arrival(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 1}, received=START + MINUTE)
    first = text(START + 10 * MINUTE)
    answer = command(REMINDED, ["{nope", *log.lines], "--checks-until", first)
    assert [alert["checked_at"] for alert in answer.alerts] == [first]


def test_items_stand_as_at_the_last_check(command: Command) -> None:
    log, document = Log(), catalog(item(), MONTHLY)
    log.authorize(START, charge_way="per_device")
    for until, active, state in (
        ("2031-04-07T09:50:00Z", 1, "active"),
        ("2031-04-07T10:00:00Z", 0, "active"),
        ("2032-01-08T00:00:00Z", 0, "expired"),
    ):
        assert command(document, log, "--checks-until", until).figures("active", "state", item_id="42") == (
            active,
            state,
        )


def test_a_catalog_among_the_events_is_in_force_from_there_on(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 9})
    log.change(START + 5 * MINUTE, catalog(item(quota=10), MONTHLY | {"item_id": "43"}, projects={"other": []}))
    log.report(START + 6 * MINUTE, {"qr": 1})
    answer = command(catalog(item(quota=8)), log)
    assert answer.of_lines("outcome") == ["charged", "applied", "rejected"]
    assert answer.outcomes[2]["reason"] == "unknown_project"
    assert answer.outcomes[2]["code"] == {"number": 101, "slug": "unknown_project"}
    assert answer.figures("quota", "used", "over", "percent", "state") == (10, 9, 1, "90.00", "active")
    assert [entry["item_id"] for entry in answer.document["items"]] == ["41", "43"]
    assert answer.project()["total"] == 9  # the project is gone, its use is not
    assert answer.totals["catalogs"] == 1


def test_a_bad_catalog_among_the_events_is_rejected_and_changes_nothing(command: Command) -> None:
    log = Log()
    log.change(START, catalog(item(quota=0)))
    log.report(START, {"qr": 1})
    answer = command(catalog(item()), log)
    assert answer.of_lines("outcome") == ["rejected", "charged"]
    assert answer.outcomes[0]["kind"] == "catalog"
    assert "quota" in answer.outcomes[0]["detail"]
    assert (answer.totals["catalogs"], answer.totals["rejected"]) == (0, 1)


def test_what_if_another_catalog_over_the_same_events(command: Command) -> None:
    log = Log()
    for number in range(8):
        log.report(START, {"qr": 100}, f"device-{number}")
    scans = command(catalog(item(quota=500)), log)
    devices = command(catalog(item(charge_way="per_device", activity_period="yearly", quota=8)), log)
    assert scans.figures("used", "in_quota", "in_grace", "over") == (800, 500, 25, 275)
    assert devices.figures("active", "used", "attributed", "state") == (8, 0, 800, "grace")
    assert scans.document["projects"] == devices.document["projects"]


def test_several_catalog_files_and_a_default_project(command: Command, tmp_path: Path) -> None:
    other = {
        "organization_id": "9",
        "license_files": [{"license_id": "L", "items": [item("1")]}],
        "projects": [{"project_id": "9-p", "item_ids": ["1"]}],
        "default_project_id": "9-p",
    }
    second = tmp_path / "other.yaml"
    second.write_text(yaml.safe_dump(other))
    log = Log()
    log.report(START, {"qr": 2})
    event = json.loads(log.lines[0]) | {"id": "x", "organizationid": "9"}
    log.event({name: value for name, value in event.items() if name != "subject"})
    answer = command(catalog(item()), log, "--catalog", str(second))
    assert answer.of_lines("project_id") == [KIOSK, "9-p"]
    assert answer.figures("used", item_id="1") == (2,)


def test_standard_input(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 6})
    arguments = command.arguments(catalog(item()), [], "--json")
    arguments[arguments.index("--events") + 1] = "-"
    result = CliRunner().invoke(app, arguments, input=f"\n{log.lines[0]}\n\n", catch_exceptions=False)
    answer = Answer(json.loads(result.stdout))
    assert answer.of_lines("line") == [2]  # blank lines are passed over, and counted
    assert answer.figures("used") == (6,)


def test_an_empty_file(command: Command) -> None:
    answer = command(catalog(item()), Log())
    assert answer.outcomes == []
    assert set(answer.totals.values()) == {0}
    assert answer.figures("used", "percent") == (0, "0.00")


@pytest.mark.parametrize("line", ["{nope", "[1, 2]", '"text"', "7"])
def test_a_line_that_is_no_event_is_rejected_and_the_rest_counted(command: Command, line: str) -> None:
    log = Log()
    log.report(START, {"qr": 1})
    log.report(START, {"qr": 2})
    answer = command(catalog(item()), [log.lines[0], line, log.lines[1]])
    rejected = answer.outcomes[1]
    assert (rejected["line"], rejected["kind"], rejected["outcome"]) == (2, "unknown", "rejected")
    assert rejected["organization_id"] is None
    assert answer.figures("used") == (3,)
    assert (answer.totals["received"], answer.totals["rejected"]) == (3, 1)


def test_an_event_of_another_type_is_rejected(command: Command) -> None:
    log = Log()
    log.add("license.usage.report.v9", START, "device-1", START, {})
    (outcome,) = command(catalog(item()), log).outcomes
    assert (outcome["kind"], outcome["reason"]) == ("unknown", "unknown_event_type")


@pytest.mark.parametrize("arrival", [None, "yesterday", "2031-03-08T10:03:05", 1930730400, ""], ids=str)
def test_without_an_arrival_a_line_is_rejected(command: Command, arrival: Any) -> None:
    log = Log()
    log.report(START, {"qr": 1})
    event = json.loads(log.lines[0]) | {"receivedat": arrival}
    if arrival is None:
        del event["receivedat"]
    answer = command(catalog(item()), [json.dumps(event), *log.lines])
    rejected, charged = answer.outcomes
    assert (rejected["outcome"], rejected["reason"]) == ("rejected", "invalid_schema")
    assert "receivedat" in rejected["detail"]
    assert (rejected["kind"], rejected["organization_id"], rejected["project_id"]) == ("report", "300417", KIOSK)
    assert charged["outcome"] == "charged"


def test_a_line_that_goes_back_counts_as_if_with_the_one_before_and_is_said(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 1}, received=START + 10 * MINUTE)
    log.report(START, {"qr": 1}, "device-2", received=START + 5 * MINUTE)
    answer = command(catalog(item()), log)
    assert answer.of_lines("late") == [True, True]  # on its own the second would not be
    assert "line 2: receivedat is before that of the line before; counted as if with it" in answer.notes


def test_only_so_many_lines_that_go_back_are_said(command: Command) -> None:
    log = Log()
    log.report(START, {"qr": 1}, received=START + 10 * MINUTE)
    for _ in range(23):
        log.report(START, {"qr": 1})
    notes = command(catalog(item()), log).notes
    assert "line 21: receivedat" in notes
    assert "line 22: receivedat" not in notes
    assert "and 3 more such lines" in notes


def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run the whole command line; return what it says when it fails with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["licmeter", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("option", ["--events", "--catalog"])
def test_a_missing_file_is_named(
    option: str, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command.arguments(catalog(item()), [])
    missing = str(command.directory / "missing")
    arguments[arguments.index(option) + 1] = missing
    said = fails(capsys, monkeypatch, *arguments)
    assert missing in said
    assert "No such file" in said


def test_all_mistakes_of_a_catalog_are_named_with_their_paths(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [{"kind": "domain", "value": value} for value in ("a.example.org", "b.example.net")]
    document = catalog(
        item(quota=0),
        item("42", charge_way="per_device"),
        item("43", charge_way="per_moon"),
        item("44", expires_at="2030-01-01T00:00:00Z"),
    )
    document["projects"][0]["item_ids"] = ["41", "47"]
    document["typo"] = 1
    arguments = command.arguments(document, [])
    second = catalog(item(charge_way="per_domain", quota=1, validation_fields=hosts))
    (command.directory / "second.yaml").write_text(yaml.safe_dump(second))
    (command.directory / "third.yaml").write_text("organization_id: [")
    more = [part for name in ("second", "third") for part in ("--catalog", str(command.directory / f"{name}.yaml"))]
    said = fails(capsys, monkeypatch, *arguments, *more)
    for mistake in (
        "catalog.yaml: license_files[0].items[0].quota: ",
        "license_files[0].items[1]: a per_device item needs activity_period",
        "license_files[0].items[2].charge_way: ",
        "license_files[0].items[3]: expires_at must be later than starts_at",
        "projects[0].item_ids: no item 47",
        "typo: ",
        "second.yaml: license_files[0].items[0].validation_fields: 2 different domains (example.net, example.org)",
        "third.yaml: ",
    ):
        assert mistake in said


@pytest.mark.parametrize("until", ["soon", "2031-03-08T10:00:00", "2031-03-08"])
def test_an_instant_without_a_zone_is_refused(
    until: str, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command.arguments(catalog(item()), [], "--checks-until", until)
    assert f"--checks-until: {until} is no instant with a zone" in fails(capsys, monkeypatch, *arguments)


def cells(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_tables_for_people(command: Command) -> None:
    log = Log()
    log.report(START, {"core": 2_135, "ean": 7}, received=START + 5 * MINUTE)
    log.report(START, {"core": -1}, received=START + 5 * MINUTE)
    for number in range(10):
        log.authorize(START + 6 * MINUTE, f"device-{number}", charge_way="per_server")
    log.authorize(START + 15 * MINUTE)
    shown = cells(command.tables(catalog(item(charge_way="per_page", modules=["core"])), log))
    assert ["13", "1", "0", "0", "1", "0", "11", "0"] in shown  # the totals
    assert ["2", "300417", "negative_count", "core:", "-1"] in shown
    figures = ["300417", "41", "per_page", "blocked", "106.75", "2,000", "2,135", "100", "35", "0", "0", "2,135"]
    assert figures in shown
    assert [KIOSK, "core", "2,135"] in shown
    assert [KIOSK, "ean", "7"] in shown
    breach = ["2031-03-08T10:05:00Z", "quota_reached", KIOSK, "41", "2,135", "2,000", "106.75"]
    assert breach in shown
    assert ["2031-03-08T10:10:00Z", "300417", "41", "used", "2,135", "2,000", "106.75", "100", "%"] in shown
    assert [
        "2031-03-08T10:10:00Z",
        "300417",
        KIOSK,
        "auth_failed_ratio",
        "10",
        "10",
        "100.00",
        "100",
        "%",
    ] in shown


def test_tables_show_slots_when_asked(command: Command) -> None:
    log = Log()
    for client in "ABC":
        log.report(START, {"qr": 1}, client)
    document = catalog(item(charge_way="per_concurrent_device", quota=1))
    row = ["2031-03-08T10:00:00Z", "3", "2"]
    assert row in cells(command.tables(document, log, "--slots"))
    assert row not in cells(command.tables(document, log))


def test_rejected_lines_in_tables_have_a_bound(command: Command) -> None:
    shown = command.tables(catalog(item()), _rejected(25))
    assert "Rejected, first 20 of 25" in shown


def _rejected(count: int) -> Log:
    log = Log()
    for _ in range(count):
        log.report(START, {"qr": -1})
    return log


def test_l4_a_month_of_stored_reports_arrives_at_once(command: Command) -> None:
    """14,400 reports of one client, one a slot."""
    log, arrival = Log(), START + 30 * DAY
    for number in range(14_400):
        log.report(START + number * SLOT_LENGTH, {"qr": 1}, received=arrival)
    answer = command(catalog(item(quota=20_000)), log)
    assert answer.totals["charged"] == answer.figures("used")[0] == len(answer.project()["by_slot"]) == 14_400
