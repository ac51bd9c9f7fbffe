"""Q11: a token of one organization, every address of another: nothing comes out, not even whether it exists."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.addresses import EACH
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

ENTRIES = [
    {"label": "all", "organization": "*"},
    {"label": "A", "organization": "300417"},
    {"label": "B", "organization": "500100"},
    {"label": "unknown", "organization": "nobody"},
    {"label": "ended", "organization": "300417", "expires_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()},
    {"label": "ends", "organization": "300417", "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
]
#: `500100` exists, with items of the same names; the others do not, and must look the same.
OTHERS = ("500100", "nobody", "300418", "30041", "*", "%2A", "300417%00", "' OR 1=1 --", "ü" * 200)
PATHS = [*EACH, "items/none", "series?nonsense=1", "days/9999-99-99", "series?cursor=x", "items?limit=0"]
WRONG = {
    "none": None,
    "wrong": "lms_" + "A" * 43,
    "empty": "",
    "ended": "ended",
    "long": "x" * 10_000,
}


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("isolation"), ENTRIES) as running:
        yield running


def forgetful(answer: httpx.Response) -> Any:
    """The answer without what differs by itself."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "request-id")}
    return answer.status_code, answer.json() | {"request_id": ""}, headers


@pytest.mark.parametrize("path", PATHS)
def test_q11_another_organization_looks_like_none(stage: ApiStage, path: str) -> None:
    refused = [stage.get(other, path, "A") for other in OTHERS]
    assert {answer.status_code for answer in refused} == {404}
    assert len({str(forgetful(answer)) for answer in refused}) == 1
    # And like one that does not exist for those who may ask for all, and for whoever's it would be.
    if path in EACH:
        assert forgetful(stage.get("nobody", path, "all")) == forgetful(refused[0])
        assert forgetful(stage.get("nobody", path, "unknown")) == forgetful(refused[0])
    request_id = refused[0].headers["request-id"]
    stage.until(lambda: request_id in stage.log(), "it is logged", 5)


@pytest.mark.parametrize(("path", "organization"), [*itertools.product(PATHS, ["300417", "500100", "nobody"])])
def test_q11_without_a_token_there_is_nothing(stage: ApiStage, path: str, organization: str) -> None:
    refused = [stage.get(organization, path, token) for token in WRONG.values()]
    refused.append(stage.get(organization, path, None, Authorization=f"Basic {stage.tokens['A']}"))
    refused.append(stage.get(organization, f"{path}{'&' if '?' in path else '?'}token={stage.tokens['A']}", None))
    assert {answer.status_code for answer in refused} == {401}
    assert len({str(forgetful(answer)) for answer in refused}) == 1
    assert refused[0].headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", EACH)
def test_q11_what_a_token_opens_is_its_organizations(stage: ApiStage, path: str) -> None:
    own, same, other = stage.get("300417", path, "A"), stage.get("300417", path, "ends"), stage.get("500100", path, "B")
    assert (own.status_code, other.status_code) == (200, 200)
    assert own.content == same.content == stage.get("300417", path, "all").content
    assert "500100" not in own.text
    assert "300417" not in other.text


def test_q11_names_of_another_organization_bring_nothing(stage: ApiStage) -> None:
    for path in ("series", "shares", "trend", "days/2031-03-08?by=report", "concurrency", "denials", "completeness"):
        mark = "&" if "?" in path else "?"
        foreign = stage.get("300417", f"{path}{mark}project=500100-kiosk", "A")
        none = stage.get("300417", f"{path}{mark}project=300417-none", "A")
        assert foreign.status_code == none.status_code == 200
        assert foreign.json() == none.json()
    # Item 41 is both organizations'.
    assert stage.get("300417", "items/41", "A").json()["data"]["used"] == 4
    assert stage.get("500100", "items/41", "B").json()["data"]["used"] == 4_000


def test_tokens_are_in_no_log_and_no_metric(stage: ApiStage) -> None:
    for token in ("A", "ended", "lms_guess"):
        stage.get("500100", "items", token)
    said = stage.log() + stage.http.get("/metrics").text
    assert not [token for token in [*stage.tokens.values(), "lms_guess"] if token in said]
    assert stage.metric("licmeter_api_refused_total", reason="token") >= 2
    assert stage.metric("licmeter_api_refused_total", reason="organization") >= 1


def test_without_tokens_this_machine_is_served_and_no_page_of_another_name(
    history: ClickHouseTarget, tmp_path: Path
) -> None:
    with api_stage(history, tmp_path, []) as stage:
        assert stage.get("300417", "items", None).status_code == 200
        assert stage.get("300417", "items", None, Host=f"localhost:{stage.port}").status_code == 200
        for host in (
            "evil.example.org",
            f"evil.example.org:{stage.port}",
            "127.0.0.1.example.org",
            "localhost.example",
        ):
            assert stage.get("300417", "items", None, Host=host).status_code == 403, host
        assert "no_tokens" in stage.log()
