"""The edges of `licmeter meter`: its files, options, tables and errors."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from licmeter.runtime.cli.main import app, main
from tests.support.build import item
from tests.unit.runtime.offline.command import (
    DAY,
    KIOSK,
    MINUTE,
    SLOT_LENGTH,
    START,
    Answer,
    Command,
    Log,
    catalog,
    text,
)


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
