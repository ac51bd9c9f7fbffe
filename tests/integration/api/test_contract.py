"""`schemathesis` against the served OpenAPI: good and bad requests, and nothing that it does not promise."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

EXAMPLES = 15
#: OpenAPI cannot say that two parameters exclude each other, which days exist, which measure can be divided by what, or
#: which texts are cursors: such questions follow the schema and are refused.
CONFIG = """
[parameters]
"path.organization_id" = "{organization}"
"path.item_id" = "41"
"path.day" = "2031-03-08"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 400, 422]
"""


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("contract")) as running:
        yield running


def test_schemathesis_finds_nothing(stage: ApiStage, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(organization="300417"))
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)]
    command += ["run", f"{stage.url}/v1/openapi.json", "-H", f"Authorization: Bearer {stage.tokens['all']}"]
    command += ["--max-examples", str(EXAMPLES), "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "Tested: 14" in done.stdout
    assert "request_failed" not in stage.log()
    assert "query_failed" not in stage.log()


def test_the_contract_names_every_answer(stage: ApiStage) -> None:
    contract = stage.http.get("/v1/openapi.json").json()
    prefix = "/v1/organizations/{organization_id}/statistics/"
    lists = {"items", "trend", "series", "days/{day}", "seats", "denials", "completeness"}
    found = {path.removeprefix(prefix): each["get"] for path, each in contract["paths"].items() if prefix in path}
    assert set(found) == lists | {"items/{item_id}", "items/{item_id}/forecast", "shares", "concurrency"}
    for path, operation in found.items():
        assert set(operation["responses"]) == {"200", "304", "401", "403", "404", "422", "429", "503"} | (
            {"400"} if path in lists else set()
        )
        assert operation["security"] == [{"HTTPBearer": []}]
        assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
        assert {"ETag", "Last-Modified", "Cache-Control"} <= set(operation["responses"]["200"]["headers"])
        media_types = {"application/json", "text/csv"} if path in lists else {"application/json"}
        assert set(operation["responses"]["200"]["content"]) == media_types
    assert "HTTPValidationError" not in contract["components"]["schemas"]
