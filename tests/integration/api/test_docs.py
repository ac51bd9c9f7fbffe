"""`docs/statistics-api.md` is true: its commands give what stands below them, and its tables are the settings'."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.analytics.http.parameters import LIMIT_DEFAULT, LIMIT_MAX
from licmeter.analytics.statistics.words import Basis, Bucket, Measure, Split
from licmeter.runtime.settings import ApiSettings
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

TEXT = (Path(__file__).parents[3] / "docs" / "statistics-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```sh\n(.*?)^```\n```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("docs")) as running:
        yield running


def test_every_command_has_its_answer() -> None:
    assert len(EXAMPLES) == TEXT.count("```sh\n") >= 8


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_commands_give_what_stands_below_them(stage: ApiStage, number: int, tmp_path: Path) -> None:
    command, kind, expected = EXAMPLES[number]
    environment = os.environ | {"API": stage.url, "TOKEN": stage.tokens["all"], "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-euc", command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if kind == "json":
        assert json.loads(done.stdout) == json.loads(expected)
    else:
        assert done.stdout.splitlines() == expected.splitlines()


def test_the_table_of_bounds_is_that_of_the_settings() -> None:
    told = dict(re.findall(r"^\| `LICMETER_API__(\w+)` \| (\S+) \|", TEXT, re.MULTILINE))
    settings = ApiSettings().model_dump(exclude={"host", "port", "tokens"})
    assert told == {name.upper(): str(value) for name, value in settings.items()}


def test_every_word_that_can_be_asked_for_is_named() -> None:
    named = set(re.findall(r"`([\w.]+)`", TEXT))
    for words in (Measure, Bucket, Split, Basis):
        assert {str(word) for word in words} <= named
    assert f"({LIMIT_DEFAULT:,} unless asked otherwise, at most {LIMIT_MAX:,})" in TEXT


def test_every_address_is_in_the_table(stage: ApiStage) -> None:
    prefix = "/v1/organizations/{organization_id}/statistics/"
    paths = [path.removeprefix(prefix) for path in stage.http.get("/v1/openapi.json").json()["paths"]]
    listed = set(re.findall(r"^\| `(?:GET )?([^`]+)` \|", TEXT, re.MULTILINE))
    assert set(paths) <= listed
