"""What no well-meaning client sends: refused, never a failure of ours, and never more than was asked for."""

from collections.abc import Iterator
from time import monotonic
from urllib.parse import quote

import pytest

from licmeter.analytics.statistics.words import Basis, Bucket, Measure, Split
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.addresses import EACH
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

ORGANIZATION = "300417"
NAMES = (
    "x' OR 1=1 --",
    "'; DROP TABLE usage_attributed; --",
    "{organization:String}",
    "\\",
    "\\' OR '1'='1",
    "\x00",
    "a\x00b",
    "%s%(a)s",
    "../../etc/passwd",
    "ünïcödé",
    "\U0001f600" * 32,
    "\u202egnp.exe",
    "e\u0301",
    "x" * 64,
    "x" * 10_000,
    "",
    " ",
    "\n",
    "*",
    "null",
    "\\N",
)
DAYS = (
    "0000-00-00",
    "0001-01-01",
    "1969-12-31",
    "2100-01-01",
    "2106-02-07",
    "2149-06-07",
    "9999-12-31",
    "10000-01-01",
    "-2031-03-08",
    "2031-13-01",
    "2031-02-29",
    "2031-03-08T00:00:00Z",
    "1900000000",
    "0",
    "now",
    "",
    "' OR 1=1",
    "٢٠٣١-٠٣-٠٨",
)
NUMBERS = ("0", "-1", "10001", "1e3", "1.5", "NaN", "9" * 30, "", " ", "x", "0x10", "'", "\x00")


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("hostile")) as running:
        yield running
        assert "request_failed" not in running.log()
        assert "query_failed" not in running.log()


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_are_only_ever_compared(stage: ApiStage, name: str) -> None:
    text = quote(name, safe="")
    for path in (
        f"series?item={text}",
        f"shares?project={ORGANIZATION}-{text}",
        f"trend?last=7&item={text}",
        f"days/2031-03-08?by=report&item={text}",
        f"concurrency?item={text}",
        f"seats?item={text}",
        f"denials?project={ORGANIZATION}-{text}",
        f"completeness?item={text}",
        f"items?project={ORGANIZATION}-{text}",
    ):
        answer = stage.get(ORGANIZATION, path)
        assert answer.status_code in (200, 422), (path, answer.text)
        if answer.status_code == 200:
            assert "qr" not in answer.text
            assert '"value":15' not in answer.text
    for path in (f"items/{text}", f"items/{text}/forecast"):
        assert stage.get(ORGANIZATION, path).status_code in (404, 422) or name == ""
    assert stage.get(text or "%20", "items").status_code in (404, 422)


@pytest.mark.parametrize("day", DAYS)
def test_days_that_cannot_be_asked_for_are_refused(stage: ApiStage, day: str) -> None:
    text = quote(day, safe="")
    for path in (f"series?from={text}", f"trend?to={text}", f"days/{text}", f"denials?from=2031-01-01&to={text}"):
        answer = stage.get(ORGANIZATION, path)
        assert answer.status_code in (404, 422), (path, answer.text)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_cannot_be_asked_for_are_refused(stage: ApiStage, number: str) -> None:
    text = quote(number, safe="")
    for path in (f"series?last={text}", f"items?limit={text}", f"trend?last={text}&limit={text}"):
        assert stage.get(ORGANIZATION, path).status_code == 422, path


@pytest.mark.parametrize(
    "path",
    [
        "series?from=1970-01-01&to=2099-12-31&bucket=slot",
        "series?from=1970-01-01&to=1970-01-01&basis=received&bucket=day",
        "series?from=2099-12-31&to=2099-12-31&basis=received&bucket=slot&split=client",
        "series?measure=active_devices&from=1970-01-01&to=2099-12-31&bucket=day",
        "trend?from=1970-01-01&to=2099-12-31&limit=10000",
        "trend?last=10000&mode=accumulative&measure=devices",
        "days/1970-01-01?basis=received&by=report",
        "days/2099-12-31?basis=received",
        "concurrency?from=1970-01-01&to=2099-12-31",
        "shares?last=10000",
        "denials?from=1970-01-01&to=2099-12-31",
    ],
)
def test_the_longest_ranges_are_answered(stage: ApiStage, path: str) -> None:
    answer = stage.get(ORGANIZATION, path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("measure", Measure)
def test_series_of_everything_are_answered_or_refused(stage: ApiStage, measure: Measure) -> None:
    asked = [(bucket, Basis.USAGE) for bucket in Bucket] + [(Bucket.DAY, Basis.RECEIVED), (Bucket.HOUR, Basis.RECEIVED)]
    for bucket, basis in asked:
        for split in [None, *Split]:
            path = f"series?measure={measure}&bucket={bucket}&basis={basis}" + (f"&split={split}" if split else "")
            assert stage.get(ORGANIZATION, path).status_code in (200, 422), path


@pytest.mark.parametrize("path", EACH)
def test_other_methods_bodies_and_repeated_or_unknown_parameters(stage: ApiStage, path: str) -> None:
    headers = {"Authorization": f"Bearer {stage.tokens['all']}"}
    url = f"/v1/organizations/{ORGANIZATION}/statistics/{path}"
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
        answer = stage.http.request(method, url, headers=headers, content=b"x" * 1000)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET"), method
    assert stage.http.request("GET", url, headers=headers, content=b"x" * 1_000_000).status_code == 200
    for query in ("a=1", "limit=1&limit=2", "organization_id=500100", "project=300417-kiosk&project=300417-museum"):
        assert stage.http.get(f"{url}?{query}", headers=headers).status_code == 422, query
    assert stage.http.get(f"{url}?project=300417-kiosk&item=41", headers=headers).status_code == 422


def test_thousands_of_parameters_are_refused_at_once(stage: ApiStage) -> None:
    query = "&".join(f"{number:x}=" for number in range(8_000)) + "&0="
    began = monotonic()
    assert stage.get(ORGANIZATION, f"items?{query}").status_code == 422
    assert monotonic() - began < 2.0


def test_what_is_logged_of_a_path_is_printable_and_short(stage: ApiStage) -> None:
    assert stage.get("%1b%5d0;owned%07%0a" + "x" * 5_000, "items", "guess").status_code == 401
    line = next(line for line in stage.log().splitlines() if "owned" in line)
    assert line.replace("\x1b[", "").isprintable()
    assert len(line) < 1_000


def test_problems_name_the_parameter_and_hold_nothing_that_was_sent(stage: ApiStage) -> None:
    secret = "very-private-name-of-somebody"
    answer = stage.get(ORGANIZATION, f"series?measure={secret}&last={secret}&{'x' * 200}={secret}")
    assert answer.status_code == 422
    assert {error["parameter"] for error in answer.json()["errors"]} == {"measure", "last", "x" * 100}
    assert secret not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["request-id"]


def test_pages_of_fastapi_that_load_from_elsewhere_are_not_there(stage: ApiStage) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/v1", "/v1/organizations", "/", "/healthz"):
        assert stage.http.get(path).status_code == 404, path
    assert stage.http.get("/v1/openapi.json").status_code == 200
    assert stage.http.get("/livez").json() == {"status": "ok"}
