"""`schemathesis` against the served OpenAPI: good and bad requests, and nothing that it does not promise."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gateway_stage import GatewayStage, gateway_stage

pytestmark = pytest.mark.integration

EXAMPLES = 100


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("contract")) as running:
        yield running


def test_schemathesis_finds_nothing(stage: GatewayStage, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{stage.url}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {stage.keys['A']}", "--max-examples", str(EXAMPLES), "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert "Tested: 7" in done.stdout
    assert "request_failed" not in stage.gateway.log.read_text()


def test_the_contract_names_every_answer_that_the_page_names(stage: GatewayStage) -> None:
    contract = stage.http.get("/openapi.json").json()
    promised = set(contract["paths"]["/v1/events"]["post"]["responses"])
    assert promised == {"202", "400", "401", "403", "413", "415", "422", "429", "503"}
    promised = set(contract["paths"]["/v1/authorizations"]["post"]["responses"])
    assert promised == {"200", "400", "401", "403", "409", "413", "415", "422", "429", "503"}
