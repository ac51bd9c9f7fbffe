"""What every question has in common: it is bound to one organization, and its words are parameters."""

from datetime import date

import pytest

from licmeter.analytics.query import ALWAYS, Period, Query
from licmeter.analytics.statistics import completeness, concurrency, denials, holders, items, trends
from licmeter.analytics.statistics.details import DetailBy, day_detail
from licmeter.analytics.statistics.series import Series
from licmeter.analytics.statistics.sources import StandingQuery
from licmeter.analytics.statistics.words import (
    ORGANIZATION,
    Basis,
    Bucket,
    Measure,
    Scope,
    Split,
    StatisticsError,
)
from tests.unit.analytics import hostile

NOW = hostile.NOW
NAME = hostile.NAME


def questions() -> list[Query]:
    scopes = (ORGANIZATION, Scope.project(NAME), Scope.item(NAME))
    found: list[Query] = [
        StandingQuery(NAME),
        items.CatalogQuery(NAME),
        items.LiveSeatsQuery(NAME, NOW),
        concurrency.PeaksQuery(NAME),
        holders.SeatHoldersQuery(NAME, NOW),
        holders.SeatHoldersQuery(NAME, NOW, NAME),
        denials.DenialsQuery(NAME),
        denials.DenialsQuery(NAME, Scope.project(NAME)),
    ]
    for scope in scopes:
        found += [
            concurrency.ConcurrencyQuery(NAME, scope),
            trends.DevicesSoFar(NAME, scope),
            completeness.CompletenessQuery(NAME, NOW, scope),
            completeness.SilentClientsQuery(NAME, NOW, scope),
        ]
        for basis in Basis:
            found += [day_detail(NAME, date(2031, 3, 8), by, scope, basis) for by in DetailBy]
            for measure in Measure:
                for bucket in Bucket:
                    for split in (None, *Split):
                        for period in (ALWAYS, Period(date(2031, 3, 1), date(2031, 3, 8))):
                            try:
                                found.append(Series(NAME, measure, scope, period, bucket, split, basis))
                            except StatisticsError:
                                assert split is not None
    return found


def test_q11_every_question_names_one_organization_in_each_table_that_it_reads() -> None:
    for question in questions():
        text, parameters = question.to_sql()
        assert parameters["organization"] == NAME
        reads = sum(text.count(f"FROM {table} ") + text.count(f"FROM {table}\n") for table in hostile.TABLES)
        bound = text.count("organization_id = {organization:String}")
        assert reads >= 1
        assert bound >= reads, text


def test_no_word_of_a_caller_is_in_the_text() -> None:
    for question in questions():
        assert NAME not in question.to_sql()[0]


@pytest.mark.parametrize(
    ("measure", "split"),
    [
        (Measure.NEW_DEVICES, Split.FEATURE),
        (Measure.ACTIVE_DEVICES, Split.CLIENT),
        (Measure.AUTH, Split.LATE),
        (Measure.PEAK_CONCURRENT, Split.FEATURE),
    ],
)
def test_a_split_without_a_meaning_is_refused(measure: Measure, split: Split) -> None:
    with pytest.raises(StatisticsError, match=f"{measure} cannot be split by {split}"):
        Series("300417", measure, split=split)


def test_too_many_buckets_are_refused() -> None:
    period = Period(date(1970, 1, 1), date(2100, 1, 1))
    with pytest.raises(StatisticsError, match="buckets"):
        Series("300417", Measure.ACTIVE_DEVICES, period=period, bucket=Bucket.SLOT).to_sql()


def test_q5_a_day_is_shown_in_parts_of_a_day() -> None:
    with pytest.raises(StatisticsError, match="slot, 1h or 2h"):
        day_detail("300417", date(2031, 3, 8), bucket=Bucket.DAY)


def test_refusals_belong_to_no_item() -> None:
    with pytest.raises(StatisticsError, match="no item"):
        denials.DenialsQuery("300417", Scope.item("41"))
