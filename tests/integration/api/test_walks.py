"""Walks over pages: the whole, once, in order, also while rows are added."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.addresses import DETAILS, LISTS
from tests.integration.api.rows import PROJECTS, WALKED, attribution_blocks, usage, write
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

TODAY = datetime.combine(datetime.now(UTC).date(), time(), UTC)
YESTERDAY = TODAY - timedelta(days=1)


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("walks")) as running:
        yield running


def rows(page: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page["data"]["silent"] if isinstance(page["data"], dict) else page["data"]
    return found


def walk(stage: ApiStage, path: str, limit: int) -> list[list[dict[str, Any]]]:
    return [rows(page) for page in stage.walk(WALKED, path, limit)]


@pytest.mark.parametrize("path", [*LISTS, *(f"days/{YESTERDAY.date()}?by={by}" for by in DETAILS)])
def test_pages_are_the_whole(stage: ApiStage, path: str) -> None:
    whole = rows(stage.get(WALKED, f"{path}{'&' if '?' in path else '?'}limit=10000").json())
    assert whole
    for limit in (max(1, len(whole) // 7), max(1, len(whole) // 2), len(whole)):
        pages = walk(stage, path, limit)
        assert [row for page in pages for row in page] == whole
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1]


def test_pages_of_one_row_are_the_whole(stage: ApiStage) -> None:
    path = "series?split=feature"
    assert [len(page) for page in walk(stage, path, 1)] == [1] * 6


def test_rows_that_are_added_while_one_walks_repeat_and_hide_nothing(stage: ApiStage) -> None:
    """Late reports come into buckets before the cursor, behind it, and into new ones."""
    path = "series?bucket=day&split=feature&limit=40"
    before = {(row["bucket"], row["split"]) for row in rows(stage.get(WALKED, path.replace("40", "10000")).json())}
    seen: list[tuple[str, str]] = []
    for number, page in enumerate(stage.walk(WALKED, "series?bucket=day&split=feature", 40)):
        seen += [(row["bucket"], row["split"]) for row in page["data"]]
        added = [
            usage(WALKED, PROJECTS[0], "i1", "late", TODAY - timedelta(days=day), 1, feature=f"added-{number}")
            for day in (50, 39, 20, 1)
        ]
        write(stage.target, attribution_blocks(added))
    assert number >= 4
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    assert seen == sorted(seen)


def test_q5_records_that_arrive_while_one_walks_push_none_of_the_latest_thousand_out(stage: ApiStage) -> None:
    path = f"days/{YESTERDAY.date()}?by=report"
    before = rows(stage.get(WALKED, f"{path}&limit=10000").json())
    seen: list[dict[str, Any]] = []
    for page in stage.walk(WALKED, path, 300):
        seen += page["data"]
        new = [usage(WALKED, PROJECTS[0], "i1", "new", YESTERDAY, 1, received_at=TODAY) for _ in range(150)]
        write(stage.target, attribution_blocks(new))
    assert seen == before
    assert rows(stage.get(WALKED, f"{path}&limit=10000").json()) != before


def test_a_cursor_continues_its_own_question_only(stage: ApiStage) -> None:
    cursor = stage.get(WALKED, "series?bucket=day&split=feature&limit=5").json()["next"]
    goes_on = stage.get(WALKED, f"series?split=feature&bucket=day&limit=7&cursor={cursor}")
    assert goes_on.status_code == 200
    others = ["series?bucket=day&split=item", "series?bucket=day", "series?bucket=day&split=feature&last=7", "denials"]
    for other in others:
        refused = stage.get(WALKED, f"{other}{'&' if '?' in other else '?'}cursor={cursor}")
        assert refused.status_code == 400, other
        assert refused.json()["type"] == "urn:licmeter:problem:bad-cursor"
    assert stage.get("300417", f"series?bucket=day&split=feature&cursor={cursor}").status_code == 400
    assert stage.get(WALKED, f"series?bucket=day&split=feature&cursor={cursor}x").status_code == 400
