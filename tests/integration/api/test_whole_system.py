"""`licmeter up` serves the statistics beside all else: what an application reports is asked for over HTTP."""

from collections.abc import Iterator

import httpx
import pytest

from licmeter.runtime.stack import ALL_SERVICES
from tests.integration.gateway_stage import GatewayStage, gateway_stage, slot

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("whole"), ALL_SERVICES) as running:
        yield running


def test_what_is_reported_is_answered(stage: GatewayStage) -> None:
    reports = [
        {"report_id": f"r{number}", "client_uuid": f"c{number % 3}", "slot": slot(number % 2), "counts": {"qr": number}}
        for number in range(1, 11)
    ]
    assert stage.post("/v1/events", [*reports, *reports]).status_code == 202
    url = f"{stage.stack.settings.api_url}/v1/organizations/a1/statistics"
    with httpx.Client(trust_env=False) as client:

        def total() -> int:
            answer = client.get(f"{url}/shares")
            return int(answer.json()["data"]["all_history"]["total"]) if answer.status_code == 200 else 0

        stage.until(lambda: total() == 55, "all reports are answered")
        assert client.get(f"{url}/series?measure=devices").json()["data"][0]["value"] == 3
        item = client.get(f"{url}/items/scans").json()["data"]
        assert (item["used"], item["text"]) == (55, "55 of 1,000 scans used (5.50 %)")
        assert client.get(f"{stage.stack.settings.api_url}/v1/organizations/b1/statistics/shares").json()["data"][
            "all_history"
        ] == {"total": 0, "by_feature": {}}
