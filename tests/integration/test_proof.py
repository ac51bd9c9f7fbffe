"""`licmeter proof` on the real parts, and `licmeter verify` where nothing of the system is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from licmeter.runtime.proof.checks import verify
from licmeter.runtime.proof.keys import make_keys, read_private_key, read_public_key, sign
from licmeter.schemas.topics import USAGE_EVENTS
from tests.integration.audit_stage import AuditStage, counted_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EVENTS = 1_500
ITEM = ("--organization", "1000", "--item", "A")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditStage]:
    with counted_stage(tmp_path_factory.mktemp("proof"), EVENTS) as stage:
        yield stage


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "key.pem", folder / "key.pub.pem"
    make_keys(private, public)
    return private, public


def days(stage: AuditStage) -> tuple[str, ...]:
    ((first, last),) = stage.query(
        "SELECT toString(min(toDate(slot))), toString(max(toDate(slot))) FROM usage_attributed"
    )
    return "--range", f"{first}..{last}"


def check(statement: Path, public: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    """Verify in a process of its own that knows no services, and has loaded none of their clients."""
    script = """
import sys
from licmeter.runtime.cli.main import main
try:
    main()
finally:
    loaded = {name.split(".")[0] for name in sys.modules}
    heavy = loaded & {"aiokafka", "clickhouse_connect", "pyarrow", "faust", "chdb", "httpx", "numpy"}
    assert not heavy, heavy
"""
    command = [sys.executable, "-c", script, "verify", statement, "--public-key", public, "--json", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LICMETER_")}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_statement_holds_on_another_machine(stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file, lines = tmp_path / "statement.json", tmp_path / "records.jsonl"
    said = stage.cli("proof", *ITEM, *days(stage), "--key", keys[0], "-o", file, "--records", lines)
    assert "statistics" in said.stderr
    found = check(file, keys[1], "--records", lines)
    assert found["valid"]
    assert [each["check"] for each in found["checks"]][-1] == "records"
    statement = json.loads(file.read_text())
    ((used, reports),) = stage.query(
        "SELECT sum(quantity), uniqExact(source_offset) FROM usage_attributed "
        "WHERE organization_id = '1000' AND item_id = 'A'"
    )
    figures = statement["figures"]
    assert (figures["quantity"], figures["reports"]) == (used, reports)
    assert figures["in_quota"] == 300
    assert len(lines.read_text().splitlines()) == reports
    assert all(entry["record_sha256"] for entry in statement["entries"])


def test_a_project_with_its_records_inside(stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    project = ("--organization", "1000", "--project", "1000-one", "--feature", "qr")
    stage.cli("proof", *project, *days(stage), "--key", keys[0], "-o", file, "--include-records")
    document = json.loads(file.read_text())
    assert document["records"]
    assert check(file, keys[1])["valid"]
    changed = document["records"][3]
    changed["value"] = changed["value"].replace("device-", "devilish-")
    file.write_text(json.dumps(sign(document, read_private_key(keys[0]))))
    told = check(file, keys[1], code=1)
    failed = [each for each in told["checks"] if not each["ok"]]
    assert [each["check"] for each in failed] == ["records"]
    assert f"record {changed['partition']}:{changed['offset']}" in failed[0]["said"]


def test_all_projects_and_contacts_without_use(stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    for organization in ("1001", "2000"):
        stage.cli("proof", "--organization", organization, *days(stage), "--key", keys[0], "-o", file)
        assert check(file, keys[1])["valid"]
        assert (
            any(entry["quantity"] == 0 for entry in json.loads(file.read_text())["entries"]) or organization == "2000"
        )


def test_pseudonyms_name_no_client_and_the_same_one_alike(
    stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "statement.json"
    stage.cli("proof", *ITEM, *days(stage), "--key", keys[0], "--pseudonyms", "-o", file)
    text = file.read_text()
    assert "device-" not in text
    assert check(file, keys[1])["valid"]
    stage.cli("proof", *ITEM, *days(stage), "--pseudonyms", code=2)
    stage.cli("proof", *ITEM, *days(stage), "--key", keys[0], "--pseudonyms", "--include-records", code=2)


def test_a_listing_without_a_key_is_no_statement(stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path) -> None:
    said = stage.cli("proof", *ITEM, *days(stage), "--json")
    file = tmp_path / "listing.json"
    file.write_text(said.stdout)
    told = check(file, keys[1], code=1)
    assert told["checks"][-1]["said"] == "it is not signed: a listing, and no statement"
    assert "Organization 1000, item A" in stage.cli("proof", *ITEM, *days(stage)).stdout


def test_what_is_signed_with_another_key_does_not_hold(
    stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "statement.json"
    stage.cli("proof", "keygen", "--key", tmp_path / "a.pem", "--public-key", tmp_path / "a.pub.pem")
    stage.cli("proof", *ITEM, *days(stage), "--key", tmp_path / "a.pem", "-o", file)
    assert check(file, tmp_path / "a.pub.pem")["valid"]
    told = check(file, keys[1], code=1)
    assert [each["check"] for each in told["checks"] if not each["ok"]] == ["key", "signature"]


def test_nothing_is_signed_where_a_row_is_not_what_its_record_says(
    stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "statement.json"
    change = """ALTER TABLE usage_attributed UPDATE client_uuid = 'other' WHERE (source_partition, source_offset) IN
        (SELECT source_partition, source_offset FROM kept WHERE organization_id = '1000' AND item_id = 'A' LIMIT 1)"""
    with stage.tampered("usage_attributed", change):
        said = stage.cli("proof", *ITEM, *days(stage), "--key", keys[0], "-o", file, code=1)
    assert "≠ 'other' of the entry" in said.stderr
    assert not file.exists()


def test_what_cannot_be_proven_is_said(stage: AuditStage) -> None:
    for arguments in (
        ("--organization", "nosuch", "--range", "2031-01-01..2031-01-02"),
        ("--range", "2031-01-01..2031-01-02"),
        ("--organization", "1000", "--from", "2031-01-01"),
        ("--organization", "1000", "--range", "2031-01-02..2031-01-01"),
        ("--organization", "1000", "--range", "yesterday..today"),
        ("--organization", "1000", "--item", "A", "--project", "1000-one", "--range", "2031-01-01..2031-01-02"),
    ):
        stage.cli("proof", *arguments, code=2)


def test_records_that_the_log_no_longer_has_are_said(
    stage: AuditStage, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """Last: what the broker forgot does not come back."""
    ((partition,),) = stage.query("SELECT source_partition FROM organization_counters WHERE organization_id = '1000'")
    stage.forget(USAGE_EVENTS.name, partition, 300)
    file = tmp_path / "statement.json"
    stage.cli("proof", *ITEM, *days(stage), "--key", keys[0], "-o", file)
    document = json.loads(file.read_text())
    assert {entry["record_sha256"] is None for entry in document["entries"] if entry["offset"] < 300} == {True}
    assert {entry["record_sha256"] is None for entry in document["entries"] if entry["offset"] >= 300} == {False}
    assert check(file, keys[1])["valid"]
    assert verify(file.read_bytes(), read_public_key(keys[1])).valid
