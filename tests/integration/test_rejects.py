"""`licmeter rejects` as an operator uses it, with a real worker, sink and ClickHouse behind it."""

import asyncio
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from licmeter.runtime.stack import Stack
from licmeter.schemas.reports import encode_event, usage_report
from tests.integration.rejects_stage import RejectsStage, slot
from tests.integration.stage import Stage, make_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DOCS = Path(__file__).parents[2] / "docs" / "rejects.md"
LICENSE = """
organization_id: "{organization}"
license_files:
  - license_id: L1
    items:
      - {{item_id: "41", charge_way: per_scan, quota: 100000, starts_at: 2026-01-01, expires_at: 2036-01-01}}
projects:
  - {{project_id: {organization}-kiosk, item_ids: ["41"]}}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path_factory.mktemp("rejects"))) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


class Cli:
    """Commands against the stage, and an organization of its own for each test."""

    def __init__(self, stage: Stage, organization: str, folder: Path) -> None:
        settings = stage.stack.settings
        self.stage = stage
        self.organization = organization
        self._folder = folder
        self.environment = os.environ | {
            "LICMETER_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "LICMETER_CLICKHOUSE__URL": settings.clickhouse_url,
        }

    def run(self, *arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "licmeter.runtime.cli", *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self.run("rejects", *arguments, "--json", code=code).stdout)

    def ours(self, *arguments: object, code: int = 0) -> Any:
        return self.json(*arguments, "--organization", self.organization, code=code)

    def replay(self, *arguments: object, code: int = 0) -> Any:
        return self.ours("replay", "--wait", 60, *arguments, code=code)

    def apply(self) -> None:
        file = self._folder / "license.yaml"
        file.write_text(LICENSE.format(organization=self.organization))
        self.run("license", "apply", file)

    def report(self, number: int, **fields: Any) -> bytes:
        values = {"client_uuid": "d", "slot": slot(), "counts": {"qr": 2}, "project_id": f"{self.organization}-kiosk"}
        return encode_event(usage_report(report_id=f"r{number}", **(values | fields)))

    def send(self, *values: bytes | None) -> None:
        self.stage.send([(self.organization.encode(), value) for value in values])

    def until_rejected(self, count: int) -> None:
        query = f"SELECT count() FROM usage_rejected WHERE organization_id = '{self.organization}'"
        self.stage.until(lambda: self.stage.query(query) == [(count,)], f"{count} rejects")

    def outcomes(self) -> dict[str, int]:
        query = (
            f"SELECT outcome, count() FROM usage_attributed WHERE organization_id = '{self.organization}' AND line = 0"
        )
        return dict(self.stage.query(f"{query} GROUP BY 1"))

    def units(self) -> int:
        query = f"SELECT toInt64(sum(quantity)) FROM usage_attributed WHERE organization_id = '{self.organization}'"
        return int(self.stage.query(query)[0][0])


@pytest.fixture
def cli(stage: Stage, request: pytest.FixtureRequest, tmp_path: Path) -> Cli:
    return Cli(stage, re.sub(r"[^a-z0-9]", "", request.node.name)[:40], tmp_path)


def test_e17_reports_of_an_unknown_project_count_exactly_once_after_a_replay(cli: Cli) -> None:
    cli.send(*(cli.report(number) for number in range(40)))
    cli.until_rejected(40)
    listed = cli.ours("list", "--limit", 5)
    assert (listed["open"], listed["open_by_reason"], len(listed["rejects"])) == (40, {"unknown_project": 40}, 5)
    # As long as nobody knows the project, a replay would only be refused again.
    dry = cli.ours("replay", "--dry-run")
    assert (dry["would_replay"], dry["prospects"]) == (0, {"unknown_project": 40})
    assert cli.replay()["replayed"] == 0

    cli.apply()
    dry = cli.ours("replay", "--dry-run")
    assert (dry["would_replay"], dry["prospects"]) == (40, {"judged": 40})
    done = cli.replay()
    assert (done["replayed"], done["outcomes"], done["rejected"]) == (40, {"charged": 40}, {})
    again = cli.replay()
    assert (again["replayed"], again["replayed_before"]) == (0, 40)
    assert (cli.outcomes(), cli.units()) == ({"charged": 40}, 80)
    listed = cli.ours("list")
    assert (listed["open"], listed["replayed"], listed["rejects"]) == (0, 40, [])


def test_a1_what_was_reported_again_in_the_meantime_is_a_duplicate(cli: Cli) -> None:
    cli.send(cli.report(1))
    cli.until_rejected(1)
    cli.apply()
    (place,) = [each["place"] for each in cli.ours("list")["rejects"]]
    value = cli.run("rejects", "show", place, "--raw").stdout.encode()
    assert value == cli.stage.log[-1].value
    cli.send(value)
    cli.stage.until(lambda: cli.outcomes() == {"charged": 1}, "the report counted")
    assert cli.replay()["outcomes"] == {"duplicate": 1}
    assert cli.units() == 2


def test_what_is_rejected_again_points_to_where_it_was_and_is_open_once(cli: Cli) -> None:
    cli.send(cli.report(1))
    cli.until_rejected(1)
    (first,) = cli.ours("list")["rejects"]
    done = cli.replay("--force", code=1)
    assert (done["replayed"], done["rejected"]) == (1, {"unknown_project": 1})
    (second,) = cli.ours("list")["rejects"]
    assert (second["replay_of"], second["state"]) == (first["place"], "open")
    by_place = {each["place"]: each for each in cli.ours("list", "--all")["rejects"]}
    assert by_place[first["place"]]["replayed_as"] == second["place"]
    assert (
        f"again after {first['place'].replace('usage.events/', '').replace('/', ':')}"
        in cli.run("rejects", "show", second["place"]).stdout
    )
    cli.apply()
    assert cli.replay()["outcomes"] == {"charged": 1}
    (row,) = cli.ours("stats")
    assert (row["reason"], row["count"], row["again"]) == ("unknown_project", 2, 1)


def test_t5_a3_what_has_become_too_old_stays_out_and_the_dry_run_says_so(cli: Cli) -> None:
    cli.send(b"{nope", cli.report(2, counts={"qr": -1}))
    cli.until_rejected(2)
    # In time when it came, two days ago; its slot ended 31 days ago.
    aged = RejectsStage(cli.stage.stack.settings.bootstrap_servers, cli.organization)
    arrived = datetime.now(UTC) - timedelta(days=2)
    old = cli.report(1, slot=slot() - timedelta(days=31))
    asyncio.run(
        aged.reject(range(1), base=1 << 40, value=lambda *_: old, received_ms=round(arrived.timestamp() * 1000))
    )
    cli.apply()
    dry = cli.ours("replay", "--dry-run")
    assert (dry["would_replay"], dry["prospects"]) == (0, {"too_old": 1, "not_json": 1, "negative_count": 1})
    assert "would be too_old" in cli.run("rejects", "replay", "--dry-run", "--organization", cli.organization).stdout
    assert cli.replay()["replayed"] == 0
    assert cli.ours("list")["open"] == 3
    assert cli.ours("list", "--until", "1d")["open"] == cli.ours("list", "--reason", "unknown_project")["open"] == 1
    assert cli.ours("list", "--since", "1d")["open"] == 2


def test_killed_while_a_worker_counts_every_report_counts_once(cli: Cli) -> None:
    reports, kills = 10_000, 0
    cli.send(*(cli.report(number) for number in range(reports)))
    cli.until_rejected(reports)
    cli.apply()
    command = [sys.executable, "-m", "licmeter.runtime.cli", "rejects", "replay", "--yes", "--wait", "0"]
    for _ in range(2):
        before = sum(cli.outcomes().values())
        process = subprocess.Popen([*command, "--organization", cli.organization], env=cli.environment)
        cli.stage.until(lambda b=before, p=process: sum(cli.outcomes().values()) > b or p.poll() is not None, "some")
        process.kill()
        kills += process.wait() != 0
        print(f"{kills} kills, {sum(cli.outcomes().values())} counted")
    assert kills
    done = cli.replay("--yes")
    print({name: done[name] for name in ("replayed", "recovered", "replayed_before")})
    assert done["replayed"] + done["replayed_before"] == reports
    cli.stage.until(lambda: sum(cli.outcomes().values()) >= reports, "all counted")
    assert (cli.outcomes(), cli.units()) == ({"charged": reports}, 2 * reports)
    assert cli.ours("list")["open"] == 0


def test_more_than_a_hundred_are_asked_about(cli: Cli) -> None:
    cli.send(*(cli.report(number) for number in range(101)))
    cli.until_rejected(101)
    refused = cli.run("rejects", "replay", "--force", "--organization", cli.organization, code=2)
    assert "--yes" in refused.stderr
    assert "Put 101 records back?" in answer(cli, "n", code=1)
    assert cli.ours("list")["replayed"] == 0
    assert "would be unknown_project" in answer(cli, "y", code=0)
    listed = cli.ours("list")
    assert listed["replayed"] == 101


def answer(cli: Cli, word: str, code: int) -> str:
    """Ask for a replay at a terminal, and answer the question."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "licmeter.runtime.cli", "rejects", "replay", "--force", "--wait", "0"]
    with subprocess.Popen(
        [*command, "--organization", cli.organization],
        env=cli.environment,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(ours, f"{word}\n".encode())
        _, said = process.communicate(timeout=120)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == code, said
    return said


def test_a_record_is_shown_whole_with_what_to_do(cli: Cli) -> None:
    cli.send(cli.report(1, counts={"qr": -5}), bytes(range(256)), None)
    cli.until_rejected(3)
    shown = {}
    for each in cli.ours("list")["rejects"]:
        document = cli.json("show", each["place"])
        assert document["advice"]
        assert document["replay"]["prospect"] == "refused"
        cli.run("rejects", "show", each["place"])
        shown[each["reason"]] = document["payload"]
    assert json.loads(shown["negative_count"])["data"]["counts"] == {"qr": -5}
    assert "base64" in shown["not_json"]
    assert shown["tombstone"] is None


def test_places_and_words_that_there_are_not(cli: Cli) -> None:
    assert "no place" in cli.run("rejects", "show", "here", code=2).stderr
    assert "no reject" in cli.run("rejects", "show", "0:999999", code=1).stderr
    assert "no reject 0:999999" in cli.run("rejects", "replay", "0:999999", code=1).stderr
    assert "unknown_project" in cli.run("rejects", "list", "--reason", "unknwon", code=2).stderr
    assert "zone" in cli.run("rejects", "list", "--since", "2031-03-08T10:00:00", code=2).stderr


def test_without_kafka_there_is_a_message_and_exit_code_3(cli: Cli) -> None:
    cli.environment |= {
        "LICMETER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "LICMETER_CLICKHOUSE__URL": "http://127.0.0.1:1",
    }
    for command in (("list",), ("show", "0:1"), ("replay", "--yes"), ("stats",)):
        assert "running" in cli.run("rejects", *command, code=3).stderr


def test_the_commands_of_the_page_run(cli: Cli) -> None:
    cli.send(cli.report(1))
    cli.until_rejected(1)
    text = DOCS.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    commands = [
        shlex.split(line.partition("|")[0].partition(">")[0]) for line in lines if line.startswith("licmeter rejects")
    ]
    assert len(commands) >= 6
    place = cli.ours("list")["rejects"][0]["place"]
    for words in commands:
        given = [{"300417": cli.organization, "0:17": place}.get(word, word) for word in words[1:]]
        cli.run(*given)
