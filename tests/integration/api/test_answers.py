"""Each address answers what the Python API answers, of the example of the domain and of weeks of everything."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.api import Answer, Statistics, last_days
from licmeter.analytics.statistics.details import DetailBy
from licmeter.analytics.statistics.tables import Table
from licmeter.analytics.statistics.words import Basis, Bucket, Measure, Scope, Split
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.rows import ITEMS, PROJECTS, WALKED
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

K, M = Scope.project("300417-kiosk"), Scope.project("300417-museum")
DAY = date(2031, 3, 8)
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
WEEK = Period(TODAY - timedelta(days=6), TODAY)


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("answers")) as running:
        yield running


def plain(value: Any) -> Any:
    """Return what Python has as JSON would have it."""
    if isinstance(value, Table):
        return [plain(row) for row in value.rows]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def by_content(rows: Any) -> Any:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) if isinstance(rows, list) else rows


Ask = Callable[[Statistics], Answer[Any]]
EXAMPLE: dict[str, Ask] = {
    "items": lambda s: s.items(),
    "shares": lambda s: s.shares(),
    "shares?project=300417-kiosk": lambda s: s.shares(K),
    "shares?item=42&from=2031-03-08&to=2031-03-08": lambda s: s.shares(Scope.item("42"), Period(DAY, DAY)),
    "shares?basis=received&from=2031-03-09": lambda s: s.shares(period=Period(date(2031, 3, 9)), basis=Basis.RECEIVED),
    "trend?from=2031-03-06&to=2031-03-10": lambda s: s.trend(
        Measure.COUNT, period=Period(date(2031, 3, 6), date(2031, 3, 10))
    ),
    "trend?measure=devices&mode=accumulative": lambda s: s.trend(Measure.DEVICES, accumulative=True),
    "trend?basis=received&project=300417-kiosk": lambda s: s.trend(Measure.COUNT, K, basis=Basis.RECEIVED),
    "series": lambda s: s.series(Measure.COUNT),
    "series?bucket=2h&split=feature&item=42": lambda s: s.series(
        Measure.COUNT, Scope.item("42"), bucket=Bucket.TWO_HOURS, split=Split.FEATURE
    ),
    "series?measure=auth_failed&bucket=day": lambda s: s.series(Measure.AUTH_FAILED, bucket=Bucket.DAY),
    "series?measure=submit&split=late": lambda s: s.series(Measure.SUBMIT, split=Split.LATE),
    "days/2031-03-08": lambda s: s.day_detail(DAY),
    "days/2031-03-08?bucket=1h&project=300417-museum": lambda s: s.day_detail(DAY, scope=M, bucket=Bucket.HOUR),
    "days/2031-03-09?basis=received": lambda s: s.day_detail(date(2031, 3, 9), basis=Basis.RECEIVED),
    "days/2031-03-08?by=device": lambda s: s.day_detail(DAY, DetailBy.DEVICE),
    "days/2031-03-08?by=authorization": lambda s: s.day_detail(DAY, DetailBy.AUTHORIZATION),
    "days/2031-03-08?by=report&item=42": lambda s: s.day_detail(DAY, DetailBy.REPORT, Scope.item("42")),
    "concurrency": lambda s: s.concurrency(),
    "concurrency?from=2031-03-08&to=2031-03-09&project=300417-kiosk": lambda s: s.concurrency(
        K, Period(DAY, date(2031, 3, 9))
    ),
    "seats": lambda s: s.seats(),
    "denials": lambda s: s.denials(),
    "denials?project=300417-museum": lambda s: s.denials(M),
    "completeness": lambda s: s.completeness(),
    "completeness?project=300417-kiosk": lambda s: s.completeness(K),
    "items/41/forecast": lambda s: s.forecast("41"),
}
QUOTED = PROJECTS[1].replace("\\", "%5C")
WEEKS: dict[str, Ask] = {
    "items": lambda s: s.items(),
    "shares?last=7": lambda s: s.shares(period=WEEK),
    f"shares?project={QUOTED}": lambda s: s.shares(Scope.project(PROJECTS[1])),
    f"trend?last=30&measure=devices&item={ITEMS[2]}": lambda s: s.trend(
        Measure.DEVICES, Scope.item(ITEMS[2]), last_days(30, TODAY)
    ),
    "series?measure=active_devices&bucket=day": lambda s: s.series(Measure.ACTIVE_DEVICES, bucket=Bucket.DAY),
    "series?measure=peak_concurrent&bucket=day&split=item": lambda s: s.series(
        Measure.PEAK_CONCURRENT, bucket=Bucket.DAY, split=Split.ITEM
    ),
    "series?split=client&measure=new_devices&bucket=day".replace("client", "project"): lambda s: s.series(
        Measure.NEW_DEVICES, bucket=Bucket.DAY, split=Split.PROJECT
    ),
    f"series?split=feature&bucket=day&limit=10000&project={QUOTED}": lambda s: s.series(
        Measure.COUNT, Scope.project(PROJECTS[1]), ALWAYS, Bucket.DAY, Split.FEATURE
    ),
    f"days/{YESTERDAY}?bucket=slot": lambda s: s.day_detail(YESTERDAY, bucket=Bucket.SLOT),
    f"days/{YESTERDAY}?by=device": lambda s: s.day_detail(YESTERDAY, DetailBy.DEVICE),
    f"days/{YESTERDAY}?basis=received": lambda s: s.day_detail(YESTERDAY, basis=Basis.RECEIVED),
    "concurrency?last=30": lambda s: s.concurrency(period=last_days(30, TODAY)),
    "seats": lambda s: s.seats(),
    "seats?item=sëats2": lambda s: s.seats("sëats2"),
    "denials?last=7": lambda s: s.denials(period=WEEK),
    "completeness": lambda s: s.completeness(),
    "items/i1/forecast": lambda s: s.forecast("i1"),
}


def same(stage: ApiStage, organization: str, path: str, ask: Ask) -> None:
    answer = stage.get(organization, path)
    assert answer.status_code == 200, answer.text
    with stage.statistics(organization) as statistics:
        expected = ask(statistics)
    document = answer.json()
    assert document["organization_id"] == organization
    assert document["updated_at"] == plain(expected.updated_at)
    assert by_content(document["data"]) == by_content(plain(expected.value))
    assert document.get("next") is None


@pytest.mark.parametrize("path", EXAMPLE)
def test_the_example_of_the_domain_is_what_python_answers(stage: ApiStage, path: str) -> None:
    same(stage, "300417", path, EXAMPLE[path])


@pytest.mark.parametrize("path", WEEKS)
def test_weeks_of_everything_are_what_python_answers(stage: ApiStage, path: str) -> None:
    same(stage, WALKED, path, WEEKS[path])


@pytest.mark.parametrize("by", [DetailBy.REPORT, DetailBy.AUTHORIZATION])
def test_q5_the_latest_thousand_records_of_a_day_are_shown(stage: ApiStage, by: DetailBy) -> None:
    shown = stage.get(WALKED, f"days/{YESTERDAY}?by={by}&limit=10000").json()
    with stage.statistics(WALKED) as statistics:
        expected = plain(statistics.day_detail(YESTERDAY, by).value)
    assert (len(shown["data"]), len(expected), shown["next"]) == (1_000, 1_000, None)
    clock = "received_at" if by is DetailBy.REPORT else "period"
    # Of those of the very instant at which the list ends, either may show others.
    end = min(row[clock] for row in expected)
    assert by_content([row for row in shown["data"] if row[clock] > end]) == by_content(
        [row for row in expected if row[clock] > end]
    )


def test_the_example_of_the_domain_by_its_numbers(stage: ApiStage) -> None:
    def total(scope: str) -> list[int]:
        rows = stage.get("300417", f"series?{scope}").json()["data"]
        buckets = stage.get("300417", f"series?{scope}&bucket=2h").json()["data"]
        return [row["value"] for row in rows + buckets]

    assert total("project=300417-kiosk") == [10, 10]
    assert total("project=300417-museum") == [5, 5]
    assert total("item=41") == [4, 4]
    assert total("item=42") == [11, 6, 5]


def test_q8_what_came_a_day_later_is_a_row_of_its_own_by_arrival(stage: ApiStage) -> None:
    path = "days/{}?basis=received&project=300417-kiosk"
    assert [row["count"] for row in stage.get("300417", path.format("2031-03-08")).json()["data"]] == [9]
    late = stage.get("300417", path.format("2031-03-09")).json()["data"]
    assert late == [{"period": "2031-03-08T00:00:00Z", "count": 1, "auth": 0, "submit": 1}]


def ids(stage: ApiStage, query: str) -> set[str]:
    return {row["item_id"] for row in stage.get(WALKED, f"items?{query}").json()["data"]}


def test_q2_items_are_filtered_and_sorted(stage: ApiStage) -> None:
    every = ids(stage, "")
    assert ids(stage, "expired=true") == {"ended"}
    assert ids(stage, "expired=false") == every - {"ended"}
    assert ids(stage, "revoked=true") == ids(stage, "state=revoked") == {"revoked"}
    assert ids(stage, "revoked=false&expired=false") == every - {"ended", "revoked"}
    assert ids(stage, "state=pending") == {"early"}
    assert ids(stage, f"project={QUOTED}") == set(ITEMS)
    ends = [row["expires_at"] for row in stage.get(WALKED, "items?sort=expires_at&order=desc").json()["data"]]
    assert ends == sorted(ends, reverse=True)
    names = [row["item_id"] for row in stage.get(WALKED, "items").json()["data"]]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "path",
    [
        "series?bucket=day&split=feature",
        "seats",
        "items",
        "denials",
        "trend?last=7",
        f"days/{YESTERDAY}?by=device",
    ],
)
def test_tables_are_csv_for_those_who_want_it(stage: ApiStage, path: str) -> None:
    answer = stage.get(WALKED, path, Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    expected = stage.get(WALKED, path).json()["data"]
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, same_row in zip(rows, expected, strict=True):
        assert row == {
            name: json.dumps(value, ensure_ascii=False)
            if isinstance(value, (list, dict, bool))
            else "" if value is None else str(value)
            for name, value in same_row.items()
        }  # fmt: skip


def test_an_item_that_is_not_there_and_one_that_is_no_sum(stage: ApiStage) -> None:
    assert stage.get(WALKED, "items/none").status_code == 404
    assert stage.get(WALKED, "items/none/forecast").status_code == 404
    assert stage.get(WALKED, "items/seats/forecast").status_code == 422
    assert stage.get(WALKED, "items/ï3").json()["data"]["item_id"] == "ï3"


def test_an_organization_of_which_nothing_is_counted_yet(stage: ApiStage, history: ClickHouseTarget) -> None:
    client = history.connect()
    document = '{"organization_id": "600000"}'
    client.insert("catalogs", [["600000", document, 1]], column_names=["organization_id", "document", "version"])
    client.close()
    answer = stage.get("600000", "shares")
    assert answer.json()["updated_at"] is None
    assert "last-modified" not in answer.headers
    assert answer.json()["data"]["all_history"] == {"total": 0, "by_feature": {}}
