"""Tokens of the statistics' HTTP interface: made by the command line, kept in the settings, opened by the text."""

import json
import shlex
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from licmeter.analytics.http.tokens import Tokens
from licmeter.runtime.cli.main import app
from licmeter.runtime.errors import SettingsError, UsageError
from licmeter.runtime.settings import Settings, load_settings
from licmeter.runtime.wiring import api_config

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "TOKENS"):
        monkeypatch.delenv(f"LICMETER_API__{name}", raising=False)


def create(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["api", "token", "create", *arguments])


def set_entries(monkeypatch: pytest.MonkeyPatch, *entries: object) -> Settings:
    monkeypatch.setenv("LICMETER_API__TOKENS", json.dumps(entries))
    return load_settings()


def test_a_token_that_was_made_opens_what_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(create("300417", "--label", "a note", "--expires-in", "2", "--json").stdout)
    tokens = Tokens(api_config(set_entries(monkeypatch, made["entry"])).tokens)
    access = tokens.access(made["token"], NOW)
    assert access is not None
    assert (access.label, access.may_ask("300417"), access.may_ask("500100")) == ("a note", True, False)
    assert tokens.access(made["token"], datetime.now(UTC) + timedelta(days=2, minutes=1)) is None
    assert made["token"] not in json.dumps(made["entry"])


def test_the_setting_that_is_shown_keeps_the_tokens_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(create("300417", "--json").stdout)
    set_entries(monkeypatch, first["entry"])
    second = create("*", "--label", "it's")
    assert second.exit_code == 0
    (setting,) = [line for line in second.stderr.splitlines() if line.startswith("LICMETER_API__TOKENS=")]
    (value,) = shlex.split(setting.removeprefix("LICMETER_API__TOKENS="))
    entries = json.loads(value)
    tokens = Tokens(api_config(set_entries(monkeypatch, *entries)).tokens)
    assert tokens.access(first["token"], NOW) is not None
    every = tokens.access(second.stdout.strip(), NOW)
    assert every is not None
    assert every.may_ask("anybody")


@pytest.mark.parametrize("arguments", [["a b"], ["a-b"], [""], ["**"], ["x" * 65], ["300417", "--label", "x" * 129]])
def test_a_token_for_what_is_no_organization_is_not_made(arguments: list[str]) -> None:
    result = create(*arguments)
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_host_beyond_this_machine_needs_a_token(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("LICMETER_API__HOST", host)
    with pytest.raises(SettingsError, match="loopback"):
        api_config(load_settings())
    assert isinstance(CliRunner().invoke(app, ["api"]).exception, SettingsError)
    api_config(set_entries(monkeypatch, {"sha256": "0" * 64, "organization": "300417"}))


@pytest.mark.parametrize(
    "entry",
    [
        {"organization": "300417"},
        {"sha256": "0" * 63, "organization": "300417"},
        {"sha256": "A" * 64, "organization": "300417"},
        {"sha256": "0" * 64, "organization": ""},
        {"sha256": "0" * 64, "organization": "300417", "token": "x"},
        {"sha256": "0" * 64, "organization": "300417", "expires_at": "2031-01-01T00:00:00"},
    ],
)
def test_wrong_entries_are_named(monkeypatch: pytest.MonkeyPatch, entry: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="LICMETER_API__TOKENS__0"):
        set_entries(monkeypatch, entry)
