"""The key commands on a real Kafka and a real worker; a gateway says what opens and what does not."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from licmeter.runtime import licenses
from licmeter.runtime.cli.main import app
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.errors import LicmeterError
from licmeter.runtime.stack import Stack
from licmeter.schemas.catalog import Organization
from licmeter.schemas.license_keys import parse_license_key
from licmeter.schemas.topics import LICENSE_CATALOG
from tests.integration.gateway_stage import GatewayStage
from tests.integration.stage import make_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ORGANIZATION, KIOSK, OFFICE = "300417", "300417-kiosk", "300417-office"
PASSWORD = "open sesame"
LICENSE = f"""
organization_id: "{ORGANIZATION}"
name: NAME
default_project_id: {KIOSK}
license_files:
  - license_id: L1
    items:
      - {{item_id: "41", charge_way: per_scan, quota: 100, starts_at: 2026-01-01, expires_at: 2036-01-01}}
projects:
  - {{project_id: {KIOSK}, item_ids: ["41"]}}
  - {{project_id: {OFFICE}, item_ids: ["41"]}}
"""


class Said(NamedTuple):
    """What a command printed."""

    out: str
    err: str


class KeyStage(GatewayStage):
    """A stage with a gateway, and the command line beside it."""

    @property
    def environment(self) -> dict[str, str]:
        return {"LICMETER_KAFKA__BOOTSTRAP_SERVERS": self.stack.settings.bootstrap_servers}

    def cli(self, *arguments: object, stdin: str = "", code: int = 0) -> Said:
        """Run a command in this process: a new one takes seconds, and `test_cli.py` has what `main` adds."""
        done = CliRunner().invoke(app, list(map(str, arguments)), input=stdin, env=self.environment)
        error = done.exception
        if isinstance(error, LicmeterError):
            assert error.exit_code == code, error.message
            return Said(done.stdout, f"{done.stderr}{error.message}\n{error.hint}")
        assert done.exit_code == code, f"{error!r}\n{done.stdout}\n{done.stderr}"
        return Said(done.stdout, done.stderr)

    def json(self, *arguments: object) -> Any:
        return json.loads(self.cli(*arguments, "--json").out)

    def document(self) -> Organization:
        servers = self.stack.settings.bootstrap_servers
        return Organization.model_validate_json(
            asyncio.run(read_compacted(servers, LICENSE_CATALOG.name))[ORGANIZATION.encode()]
        )

    def hashes(self) -> list[str]:
        """What no command may print."""
        projects = self.document().projects
        passwords = [each.session_password_hash for each in projects if each.session_password_hash]
        return [key.secret_sha256 for each in projects for key in each.license_keys] + passwords

    def answers(self, key: str, status: int, **headers: str) -> None:
        """Wait until the gateway answers so: it follows the catalog a moment behind."""
        self.until(lambda: self.post("/v1/events", [], key, **headers).status_code == status, f"{status}", seconds=30)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyStage]:
    folder = tmp_path_factory.mktemp("keys")
    with Stack(make_settings(folder), ("stream", "gateway")) as stack:
        stack.start(lambda _: None)
        found = KeyStage(stack)
        license_file(folder).write_text(LICENSE)
        found.cli("license", "apply", license_file(folder))
        yield found
        found.http.close()


def license_file(folder: Path) -> Path:
    return folder / "license.yaml"


def secret_of(text: str) -> str:
    parsed = parse_license_key(text)
    assert parsed is not None
    return parsed[1]


def key_ids(stage: KeyStage, project: str = KIOSK) -> dict[str, str]:
    return {each["key_id"]: each["state"] for each in stage.json("keys", "list", project)}


def test_a_new_key_opens_its_project_and_is_shown_once(stage: KeyStage) -> None:
    said = stage.cli("keys", "create", KIOSK, "--label", "shop [7]", "--expires-in", "90")
    text = said.out.strip()
    stage.answers(text, 202)
    assert "shown this once" in said.err
    assert secret_of(text) not in said.err
    shown = stage.cli("keys", "list")
    assert "shop [7]" in shown.out
    assert "ends on" in shown.out
    assert text.split("_")[1] in shown.out
    everything = "".join(part for args in (("keys", "list", "--json"), ("license", "list", "--json"), ("keys", "list"))
                         for part in stage.cli(*args))  # fmt: skip
    assert not any(secret in everything for secret in (secret_of(text), *stage.hashes()))


def test_as_a_user_runs_it(stage: KeyStage) -> None:
    """stdout is the key and nothing else, so that a script can take it from there."""
    command = [sys.executable, "-m", "licmeter.runtime.cli", "keys"]
    options: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "env": os.environ | stage.environment,
        "timeout": 60,
        "check": False,
    }
    done = subprocess.run([*command, "create", KIOSK], **options)
    text = done.stdout.removesuffix("\n")
    assert (done.returncode, parse_license_key(text) is not None) == (0, True)
    refused = subprocess.run([*command, "password", KIOSK], input=b"\xff\xfe\n".decode("latin1"), **options)
    assert (refused.returncode, "ASCII" in refused.stderr, "Traceback" in refused.stderr) == (2, True, False)


def test_a_rotated_key_works_beside_the_new_one(stage: KeyStage) -> None:
    first = stage.json("keys", "create", KIOSK, "--label", "rotating")
    old_id = first["key"]["key_id"]
    before = stage.document()
    dry = stage.json("keys", "rotate", KIOSK, old_id, "--dry-run")
    assert (dry["dry_run"], dry["old"]["key_id"], "license_key" in dry) == (True, old_id, False)
    assert stage.document() == before
    second = stage.json("keys", "rotate", KIOSK, old_id, "--overlap", "7")
    assert (second["key"]["label"], second["old"]["state"], second["current"]) == ("rotating", "ends", True)
    for each in (first, second):
        stage.answers(each["license_key"], 202)
    third = stage.json("keys", "rotate", KIOSK, second["license_key"], "--overlap", "0")
    stage.answers(second["license_key"], 403)
    stage.answers(third["license_key"], 202)
    states = key_ids(stage)
    assert [states[each["key"]["key_id"]] for each in (first, second, third)] == ["ends", "ended", "active"]
    assert "has ended" in stage.cli("keys", "rotate", KIOSK, second["key"]["key_id"], code=2).err


def test_a_revoked_key_opens_nothing(stage: KeyStage) -> None:
    made = stage.json("keys", "create", OFFICE)
    key_id = made["key"]["key_id"]
    stage.answers(made["license_key"], 202)
    assert "would be revoked" in stage.cli("keys", "revoke", OFFICE, key_id, "--dry-run").err
    assert key_ids(stage, OFFICE)[key_id] == "active"
    assert "is revoked" in stage.cli("keys", "revoke", OFFICE, key_id).err
    stage.answers(made["license_key"], 403)
    before = stage.document()
    assert "was revoked on" in stage.cli("keys", "revoke", OFFICE, key_id, code=2).err
    assert stage.document() == before
    assert key_ids(stage, OFFICE)[key_id] == "revoked"


def test_a_session_password_is_asked_for_until_it_is_removed(stage: KeyStage) -> None:
    text = stage.json("keys", "create", OFFICE)["license_key"]
    stage.answers(text, 202)
    said = stage.cli("keys", "password", OFFICE, stdin=f"{PASSWORD}\n")
    stage.answers(text, 403)
    stage.answers(text, 202, **{"Licmeter-Session-Password": PASSWORD})
    (kept,) = (each.session_password_hash for each in stage.document().projects if each.project_id == OFFICE)
    assert kept is not None
    assert not any(secret in said.out + said.err for secret in (PASSWORD, kept))
    for wrong in ("schlüssel", "", "x" * 300):
        refused = stage.cli("keys", "password", OFFICE, stdin=f"{wrong}\n", code=2).err
        assert not wrong or wrong not in refused
    stage.cli("keys", "password", OFFICE, "--remove")
    stage.answers(text, 202)


def test_applying_a_license_keeps_keys_and_passwords(stage: KeyStage, tmp_path: Path) -> None:
    text = stage.json("keys", "create", KIOSK)["license_key"]
    stage.cli("keys", "password", KIOSK, stdin=PASSWORD)
    kept = {each.project_id: (each.license_keys, each.session_password_hash) for each in stage.document().projects}
    file = license_file(tmp_path)
    file.write_text(LICENSE.replace("NAME", "Another"))
    (change,) = stage.json("license", "apply", file)
    assert change["changes"] == [f"~ organization {ORGANIZATION} Another (default project: {KIOSK})"]
    after = stage.document()
    assert after.name == "Another"
    assert {each.project_id: (each.license_keys, each.session_password_hash) for each in after.projects} == kept
    stage.answers(text, 202, **{"Licmeter-Session-Password": PASSWORD})

    # An explicit list, also an empty one, replaces; what is shown of it has ids and no hashes.
    hashes, key_id = stage.hashes(), text.split("_")[1]
    emptied = 'item_ids: ["41"], license_keys: [], session_password_hash: null'
    file.write_text(LICENSE.replace('item_ids: ["41"]', emptied))
    said = stage.cli("license", "apply", file, "--dry-run")
    assert f"- license key {key_id} of project {KIOSK}" in said.out
    assert f"- session password of project {KIOSK}" in said.out
    assert not any(secret in said.out + said.err for secret in hashes)
    stage.cli("license", "apply", file)
    assert all(not each.license_keys for each in stage.document().projects)
    stage.answers(text, 401)


def test_a_key_in_the_wrong_place_is_not_repeated(stage: KeyStage) -> None:
    text = stage.json("keys", "create", KIOSK)["license_key"]
    for arguments in (("create", text), ("revoke", KIOSK, f"{text}x"), ("create", KIOSK, "--label", text)):
        assert secret_of(text) not in stage.cli("keys", *arguments, code=2).err
    assert "has no key" in stage.cli("keys", "revoke", KIOSK, "A" * 16, code=2).err
    assert "not in the catalog" in stage.cli("keys", "list", "1-x", code=2).err


def test_without_a_worker_the_key_is_printed_and_the_command_fails(
    stage: KeyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licenses, "ACCEPT_TIMEOUT_S", 1.0)
    stage.worker.stop()
    try:
        said = stage.cli("keys", "create", KIOSK, "--json", code=3)
    finally:
        stage.worker.start()
    made = json.loads(said.out)
    assert made["current"] is False
    assert "no worker has made it current" in said.err
    assert secret_of(made["license_key"]) not in said.err
    # It was in the log, and a worker came.
    stage.answers(made["license_key"], 202)
