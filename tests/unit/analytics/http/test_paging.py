"""Pages of lists that are here; those that ClickHouse cuts out are walked in tests/integration/api."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.analytics.http.cursors import Key, Kind
from licmeter.analytics.http.paging import PagedStatistics, Walk, page_of
from licmeter.analytics.statistics.details import DETAIL_ROWS_MAX, DetailBy
from licmeter.analytics.statistics.series import Series
from licmeter.analytics.statistics.sources import StandingQuery
from licmeter.analytics.statistics.words import Bucket, Measure, Split

rows_of_two = st.lists(st.tuples(st.integers(0, 5), st.text("abc", max_size=3)), unique=True, max_size=30)


def walked(rows: list[tuple[int, str]], limit: int, *, descending: bool = False) -> list[list[tuple[int, str]]]:
    keys = (Key("number", Kind.INTEGER, descending), Key("text", Kind.TEXT, descending))
    pages, after = [], None
    while True:
        page = page_of(rows, lambda row: row, Walk(keys, after, limit))
        pages.append(page.rows)
        if page.last is None:
            return pages
        after = page.last


@given(rows_of_two, st.integers(1, 7), st.booleans())
def test_pages_are_the_whole_in_order(rows: list[tuple[int, str]], limit: int, descending: bool) -> None:
    pages = walked(rows, limit, descending=descending)
    assert [row for page in pages for row in page] == sorted(rows, reverse=descending)
    assert all(len(page) == limit for page in pages[:-1])
    assert not rows or pages[-1], "a page that says that another follows tells the truth"


@given(rows_of_two, rows_of_two, st.integers(1, 5))
def test_rows_that_come_between_two_pages_move_no_other(
    before: list[tuple[int, str]], added: list[tuple[int, str]], limit: int
) -> None:
    keys = (Key("number", Kind.INTEGER), Key("text", Kind.TEXT))
    first = page_of(before, lambda row: row, Walk(keys, None, limit))
    if first.last is None:
        return
    everything = sorted({*before, *added})
    rest = page_of(everything, lambda row: row, Walk(keys, first.last, 1_000)).rows
    assert not set(rest) & set(first.rows)
    assert set(before) <= {*first.rows, *rest}


class Recorder:
    """Answers every query with no rows, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def query(self, query: str, parameters: Any = None, settings: Any = None) -> Any:
        self.asked.append((query, parameters))
        standing = StandingQuery("").to_sql()[0]
        return type("Answer", (), {"result_rows": [(None, [])] if query == standing else []})


def asked(walk: Walk, ask: Any) -> tuple[str, dict[str, Any]]:
    client = Recorder()
    ask(PagedStatistics(client, "300417", lambda: None, walk))  # type: ignore[arg-type, return-value]
    return client.asked[-1]


def test_the_rest_of_a_table_is_asked_for_by_its_key() -> None:
    keys = (Key("bucket", Kind.INSTANT), Key("split", Kind.TEXT))
    day = date(2031, 3, 8)
    text, parameters = asked(
        Walk(keys, (day, "x' OR 1=1"), 10),
        lambda statistics: statistics.series(Measure.COUNT, bucket=Bucket.DAY, split=Split.FEATURE),
    )
    inner = Series("300417", Measure.COUNT, bucket=Bucket.DAY, split=Split.FEATURE, dirty=()).to_sql()[0]
    assert inner in text
    assert "LIMIT 11" in text
    assert "x'" not in text
    assert parameters["after_0"] == day
    assert parameters["after_1"] == "x' OR 1=1"


@pytest.mark.parametrize("by", [each for each in DetailBy if each is not DetailBy.TIME])
def test_q5_the_bound_of_all_pages_stands_for_that_of_the_question(by: DetailBy) -> None:
    keys = (Key("period", Kind.INSTANT, descending=True),)
    day = date(2031, 3, 8)
    walk = Walk(keys, None, 600, 600, DETAIL_ROWS_MAX)
    text, _ = asked(walk, lambda statistics: statistics.day_detail(day, by))
    assert f"LIMIT {DETAIL_ROWS_MAX}" not in text
    assert text.rstrip().endswith(f"LIMIT {DETAIL_ROWS_MAX - 600 + 1}")


def test_q5_nothing_follows_the_last_row_that_is_shown() -> None:
    keys = (Key("day", Kind.DAY),)
    days = [date(2031, 1, 1) + timedelta(days=number) for number in range(1_200)]
    walk = Walk(keys, None, 600, 600, 1_000)
    page = page_of(days, lambda day: (day,), walk)
    assert (len(page.rows), page.last) == (400, None)
