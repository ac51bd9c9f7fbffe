"""`licmeter notify` as far as it goes without Kafka."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from licmeter.runtime.cli.main import app
from licmeter.runtime.errors import LicmeterError, SettingsError, UsageError

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LXJlY2VpdmVyLTEyMzQ="
HOOK = {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/hush-hush", "secret": SECRET}


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "notify.yaml"
    monkeypatch.setenv("LICMETER_NOTIFY__CONFIG", str(path))
    return path


def licmeter(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["notify", *arguments])


def targets(path: Path, *entries: dict[str, Any]) -> None:
    path.write_text(json.dumps({"targets": list(entries)}))


def test_check_shows_targets_and_no_secret(document: Path) -> None:
    targets(document, HOOK, HOOK | {"name": "other", "enabled": False, "level_min": 80, "breaches": "none"})
    shown = licmeter("--check")
    assert shown.exit_code == 0
    assert "http://127.0.0.1:9/***" in shown.output
    assert "other (off)" in shown.output
    assert "from 80 %" in shown.output
    as_json = licmeter("--check", "--json", "--target", "hook")
    assert [each["target"] for each in json.loads(as_json.output)["targets"]] == ["hook"]
    for output in (shown.output, as_json.output):
        assert "hush" not in output
        assert SECRET not in output


def test_without_a_document_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LICMETER_NOTIFY__CONFIG", raising=False)
    error = licmeter("--check").exception
    assert isinstance(error, SettingsError)
    assert "LICMETER_NOTIFY__CONFIG" in error.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("targets: [{url: 'hush-hush", "line 1, column 27"),
        ("targets: !!python/object:hush-hush {}", "line 1, column 10"),
        ("targets: *hush-hush", "found undefined alias"),
        ("targets: {a: hush-hush}", "targets"),
        ("targets: []", "targets"),
    ],
)
def test_what_is_wrong_is_said_without_what_stood_there(document: Path, text: str, words: str) -> None:
    document.write_text(text)
    error = licmeter("--check").exception
    assert isinstance(error, SettingsError)
    assert words in error.message
    assert "hush-hush" not in error.message


def test_a_document_that_is_not_there(document: Path) -> None:
    error = licmeter("--check").exception
    assert isinstance(error, SettingsError)
    assert "No such file" in error.message


def test_a_target_that_there_is_not_names_those_that_there_are(document: Path) -> None:
    targets(document, HOOK)
    error = licmeter("test", "nobody").exception
    assert isinstance(error, UsageError)
    assert "hook" in error.hint


def test_a_sample_that_is_not_taken_is_a_failure(document: Path) -> None:
    targets(document, HOOK)
    done = licmeter("test", "hook", "--json")
    assert isinstance(done.exception, LicmeterError)
    answer = json.loads(done.output)
    assert answer["delivered"] is False
    assert "ConnectError" in answer["reason"]
    assert "hush" not in done.output + done.exception.message
