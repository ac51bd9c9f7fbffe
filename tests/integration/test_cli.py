"""The commands as a user runs them, against a running stack: what they print and how they exit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from licmeter.runtime.stack import Stack
from tests.integration.stage import Stage, make_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LICENSE = """
organization_id: "300417"
default_project_id: 300417-kiosk
license_files:
  - license_id: L1
    items:
      - {item_id: "41", charge_way: per_scan, quota: 100, starts_at: 2026-01-01, expires_at: 2036-01-01}
projects:
  - {project_id: 300417-kiosk, item_ids: ["41"]}
"""

LMSTAT = """\
Flexible License Manager status on Tue 3/10/2026 12:00
License server status: 1713@licenses
  licenses: license server UP (MASTER) v11.19
Vendor daemon status (on licenses):
       vend: UP v11.19
Feature usage info:
Users of cad:  (Total of 9 licenses issued;  Total of 7 licenses in use)
  "cad" v1, vendor: vend
    anna pc1 pc1:0 (v1.0) (licenses/1713 101), start Tue 3/10 9:00, 4 licenses
    anna pc1 pc1:0 (v1.0) (licenses/1713 102), start Tue 3/10 9:30
        2 RESERVATIONs for GROUP lab (licenses/1713)
Users of cam:  (Total of 2 licenses issued;  Total of 0 licenses in use)
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path_factory.mktemp("cli"))) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


class Cli:
    def __init__(self, stage: Stage) -> None:
        settings = stage.stack.settings
        self._environment = os.environ | {
            "LICMETER_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "LICMETER_CLICKHOUSE__URL": settings.clickhouse_url,
        }

    def __call__(self, *arguments: object, stdin: str = "", code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "licmeter.runtime.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment | environment,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + (done.stderr if code > 1 else "")

    def json(self, *arguments: object, **options: Any) -> Any:
        return json.loads(self(*arguments, "--json", **options))


@pytest.fixture
def cli(stage: Stage) -> Cli:
    return Cli(stage)


def plain_reports(count: int) -> str:
    slot = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) // 180 * 180, UTC).isoformat()
    lines = [
        {"report_id": f"r{n}", "slot": slot, "project_id": "300417-kiosk", "client_uuid": "d", "counts": {"qr": 2}}
        for n in range(count)
    ]
    return "\n".join(json.dumps(line) for line in lines)


def test_topics_and_migrations_are_idempotent(cli: Cli) -> None:
    assert {entry["action"] for entry in cli.json("topics", "apply")} == {"as specified"}
    assert cli.json("migrate")["applied"] == []


def test_topics_say_what_differs_and_change_nothing(cli: Cli) -> None:
    different = {"LICMETER_KAFKA__PARTITIONS": "7"}
    for _ in range(2):
        reports = cli.json("topics", "apply", code=1, **different)
        assert all("has 4 partitions, should have 7" in entry["differences"][0] for entry in reports)


def test_a_license_is_applied_sent_against_and_shown(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "license.yaml"
    file.write_text(LICENSE)
    assert cli.json("license", "apply", file, "--dry-run")[0]["changes"]
    assert cli.json("license", "list") == []
    assert cli.json("license", "apply", file)[0]["changes"]
    assert cli.json("license", "apply", file)[0]["changes"] == []
    assert [document["organization_id"] for document in cli.json("license", "list")] == ["300417"]

    reports = plain_reports(40)
    first = cli.json("send", "-", stdin=reports + "\nnope\n", code=1)
    assert (first["outcomes"], [problem["line"] for problem in first["problems"]]) == ({"charged": 40}, [41])
    assert cli.json("send", "-", stdin=reports)["outcomes"] == {"duplicate": 40}

    (stats,) = cli.json("stats", "--organization", "300417")
    (item,) = stats["items"]
    assert (item["used"], item["state"], stats["outcomes"]["charged"]) == (80, "active", 40)
    assert "300417-kiosk" in cli("stats")


def test_all_mistakes_of_a_document_are_shown_at_once(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(LICENSE.replace("quota: 100", "quota: -3").replace("per_scan", "per_moon").replace("L1", "''"))
    words = cli("license", "apply", file, code=2)
    for word in ("quota", "charge_way", "license_id", "nothing was applied"):
        assert word in words


def test_lmstat_totals_are_those_of_the_headers(cli: Cli) -> None:
    imported = cli.json("import", "lmstat", "-", stdin=LMSTAT)
    assert imported["outcomes"] == {"uncharged": 4}
    (stats,) = cli.json("stats", "--organization", "local")
    in_use = {row["feature"]: (row["in_use"], row["reserved"], row["count"]) for row in stats["projects"]}
    assert in_use == {"cad": (5, 2, 7), "cam": (0, 0, 0)}


def test_an_old_snapshot_is_refused_with_its_own_time(cli: Cli) -> None:
    assert "30 days" in cli("import", "lmstat", "-", "--at", "file", stdin=LMSTAT.replace("2026", "2019"), code=2)


def test_an_unknown_project_is_refused(cli: Cli) -> None:
    assert "not in the catalog" in cli("import", "lmstat", "-", "--project", "1-x", stdin=LMSTAT, code=2)


@pytest.mark.parametrize(
    "command", [("stats",), ("license", "list"), ("topics", "apply"), ("migrate",), ("stream",), ("sink",)], ids=str
)
def test_without_services_there_is_a_message_and_exit_code_3(cli: Cli, command: tuple[str, ...]) -> None:
    nowhere = {"LICMETER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "LICMETER_CLICKHOUSE__URL": "http://127.0.0.1:1"}
    assert "running" in cli(*command, code=3, **nowhere)


@pytest.mark.parametrize("command", ["stream", "sink"])
def test_topics_that_are_cut_otherwise_are_refused(cli: Cli, command: str) -> None:
    assert "has 4 partitions, the settings say 7" in cli(command, code=3, LICMETER_KAFKA__PARTITIONS="7")


def test_wrong_settings_are_named_all_at_once(cli: Cli) -> None:
    words = cli("stream", "--check", code=2, LICMETER_KAFKA__PORT="x", LICMETER_STREAM__INSTANCE_ID="a b")
    assert "LICMETER_KAFKA__PORT" in words
    assert "LICMETER_STREAM__INSTANCE_ID" in words
