"""`docs/sdk.md` is true: its programs run, its commands work on what they leave, and its table names every option."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from licmeter.producers.client.export import spool_status
from licmeter.producers.client.options import ClientOptions

TEXT = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("#")[0]
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
#: What each program records, and where.
RECORDED = ((".reader/usage", 13), (".reader/usage", 4), (".batch/usage", 40))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which no server answers."""
    nowhere = {"GATEWAY_URL": "http://127.0.0.1:1", "KAFKA": "127.0.0.1:1", "LICENSE_KEY": f"lmk_{'k' * 16}_{'s' * 43}"}
    return os.environ | nowhere | {"HOME": str(tmp_path)}


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_is_known_here() -> None:
    assert len(PROGRAMS) == len(RECORDED)
    for program in PROGRAMS:
        compile(program, "docs/sdk.md", "exec")


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_programs_run_without_a_server_and_lose_nothing(
    number: int, environment: dict[str, str], tmp_path: Path
) -> None:
    run(["-W", "error", "-c", PROGRAMS[number]], environment, tmp_path)
    spool, units = RECORDED[number]
    found = spool_status(tmp_path / spool)
    assert (found.units, found.open_units, found.tallies) == (units, 0, 0)


def test_commands_bring_out_what_a_program_left(environment: dict[str, str], tmp_path: Path) -> None:
    run(["-c", PROGRAMS[0]], environment, tmp_path)
    for command in COMMANDS:
        words = [word.replace("~", str(tmp_path)) for word in shlex.split(command)]
        assert words[0] == "licmeter"
        dry = ["--dry-run"] if words[1] == "send" else []
        run(["-m", "licmeter.runtime.cli", *words[1:], *dry], environment, tmp_path)
    assert (tmp_path / "usage.jsonl").read_text().count('"300417-kiosk"') == 1
    assert spool_status(tmp_path / ".reader/usage").reports == 0


def test_the_table_has_every_option_with_its_default() -> None:
    told: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`.+?`) \| (\S+) \| ", TEXT, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), default)
    assert told == {field.name: str(field.default) for field in dataclasses.fields(ClientOptions)}
