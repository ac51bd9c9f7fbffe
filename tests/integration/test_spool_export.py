"""A site without a network: an application records, its spool goes out as a file, and the file counts once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.producers import SyncUsageClient
from licmeter.runtime.stack import Stack
from tests.integration.stage import Stage, make_settings
from tests.integration.test_cli import LICENSE, Cli

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

#: Nobody answers there.
NOWHERE = "http://127.0.0.1:1"
KEY = f"lmk_{'k' * 16}_{'s' * 43}"

KILLED = """
import os, signal, sys
from licmeter.producers import SyncUsageClient
client = SyncUsageClient(sys.argv[1], license_key=sys.argv[2], spool=sys.argv[3])
client.record("qr", 20)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path_factory.mktemp("spool-export"))) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


def test_a_file_from_an_air_gapped_site_counts_once(stage: Stage, tmp_path: Path) -> None:
    cli, spool, file = Cli(stage), tmp_path / "spool", tmp_path / "usage.jsonl"
    (tmp_path / "license.yaml").write_text(LICENSE)
    cli("license", "apply", tmp_path / "license.yaml")
    with SyncUsageClient(NOWHERE, license_key=KEY, spool=spool, exit_timeout_s=0.5) as client:
        client.record("qr", 2)
        client.record("ean")
    killed = subprocess.run([sys.executable, "-c", KILLED, NOWHERE, KEY, spool], check=False, timeout=60)
    assert killed.returncode == -9

    status = cli.json("spool", "status", spool)
    assert (status["units"], status["units_of_open_slots"]) == (3, 20)
    assert status["tallies"] in (1, 2)  # the one that was written to, and a spare if there was time to make it
    assert "--project" in cli("spool", "export", spool, file, code=2)
    kept = cli.json("spool", "export", spool, file, "--project", "300417-kiosk")
    assert (kept["units"], kept["removed"]) == (23, False)
    reports = kept["reports"]

    first = cli.json("send", file)
    assert (first["sent"], first["outcomes"], first["problems"]) == (reports, {"charged": reports}, [])
    assert cli.json("send", file)["outcomes"] == {"duplicate": reports}

    # What is still in the spool goes out again, with what came since; only that is new.
    with SyncUsageClient(NOWHERE, license_key=KEY, spool=spool, exit_timeout_s=0.5) as client:
        client.record("qr", 5)
    again = tmp_path / "again.jsonl"
    moved = cli.json("spool", "export", spool, again, "--project", "300417-kiosk", "--remove")
    assert moved["units"] == 28
    assert cli.json("send", again)["outcomes"] == {"charged": moved["reports"] - reports, "duplicate": reports}
    assert cli.json("spool", "status", spool)["reports"] == 0
    (stats,) = cli.json("stats", "--organization", "300417")
    assert stats["items"][0]["used"] == 28


def test_mistakes_are_said(stage: Stage, tmp_path: Path) -> None:
    cli = Cli(stage)
    assert "no such folder" in cli("spool", "status", tmp_path / "nowhere", code=2)
    assert "no spool" in cli("spool", "export", tmp_path, tmp_path / "x", code=2)
    with SyncUsageClient(NOWHERE, license_key=KEY, spool=tmp_path / "spool", exit_timeout_s=0.5) as client:
        client.record("qr")
    words = cli("spool", "export", tmp_path / "spool", tmp_path / "x", "--project", "no project", code=2)
    assert "no project id" in words
    (tmp_path / "x").write_bytes(b"the only copy\n")
    words = cli("spool", "export", tmp_path / "spool", tmp_path / "x", "--project", "1-x", "--remove", code=2)
    assert "already" in words
    assert (tmp_path / "x").read_bytes() == b"the only copy\n"
    assert cli.json("spool", "status", tmp_path / "spool")["units"] == 1
