"""`Statistics`: all of the domain's section 10 for one organization, as typed answers.

    statistics = Statistics(client, "300417")
    for point in statistics.trend(Measure.COUNT, Scope.project("300417-kiosk"), last_days(30, today)).value: ...

Every answer says when the organization was last counted (Q7). Nothing of another organization can be asked (Q11): the
organization is a parameter of every query, and is given once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Generic, TypeVar

from licmeter.analytics.query import ALWAYS, Client, Period, Query, Row, run
from licmeter.analytics.statistics.completeness import CompletenessQuery, SilentClientsQuery
from licmeter.analytics.statistics.concurrency import (
    ConcurrencyProfile,
    ConcurrencyQuery,
    PeaksQuery,
    concurrency_profile,
    days_of,
)
from licmeter.analytics.statistics.denials import DenialsQuery
from licmeter.analytics.statistics.details import DetailBy, day_detail
from licmeter.analytics.statistics.forecast import HORIZON_DAYS, WEEKS, Forecast, forecast
from licmeter.analytics.statistics.holders import SeatHoldersQuery
from licmeter.analytics.statistics.items import CatalogQuery, ItemHeader, LiveSeatsQuery, item_headers
from licmeter.analytics.statistics.series import Series
from licmeter.analytics.statistics.sources import Days, StandingQuery
from licmeter.analytics.statistics.tables import Table
from licmeter.analytics.statistics.trends import DevicesSoFar, Share, Shares, TrendPoint, accumulated, filled
from licmeter.analytics.statistics.words import ORGANIZATION, Basis, Bucket, Measure, Scope, Split, StatisticsError
from licmeter.analytics.usage import ItemCountersQuery
from licmeter.metering.items import BUDGET_YEAR_MS, MeteredItem, instant_ms
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import CONCURRENCY, CUMULATIVE

__all__ = ["Answer", "Completeness", "Statistics", "last_days"]

_T = TypeVar("_T")
_BUDGET_YEAR: Final = timedelta(milliseconds=BUDGET_YEAR_MS)


@dataclass(frozen=True, slots=True)
class Answer(Generic[_T]):
    """An answer, and the instant up to which the organization's log was counted when it was given (Q7).

    `updated_at` is when the last event arrived that is counted; None when nothing was counted yet.
    """

    organization_id: str
    updated_at: datetime | None
    value: _T


@dataclass(frozen=True, slots=True)
class _Standing:
    updated_at: datetime | None
    dirty: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many known clients are silent since when, and which (`completeness.CompletenessQuery` has the columns)."""

    totals: Row
    silent: Table


def last_days(days: int, today: date) -> Period:
    """Return the range "last n days": today and the n - 1 days before (Q6)."""
    return Period(today - timedelta(days=days - 1), today)


class Statistics:
    """The statistics of one organization. `clock` says what now is; methods raise clickhouse-connect's errors."""

    def __init__(
        self, client: Client, organization_id: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.organization_id = organization_id
        self._client = client
        self._clock = clock

    @property
    def today(self) -> date:
        """The current day in UTC."""
        return self._clock().astimezone(UTC).date()

    def series(
        self,
        measure: Measure,
        scope: Scope = ORGANIZATION,
        period: Period = ALWAYS,
        bucket: Bucket = Bucket.ALL,
        split: Split | None = None,
        basis: Basis = Basis.USAGE,
    ) -> Answer[Table]:
        """Return any measure by bucket and split, sparse."""
        standing = self._standing()
        question = Series(self.organization_id, measure, scope, period, bucket, split, basis, standing.dirty)
        return self._answer(standing, self._run(question))

    def trend(
        self,
        measure: Measure,
        scope: Scope = ORGANIZATION,
        period: Period = ALWAYS,
        basis: Basis = Basis.USAGE,
        *,
        accumulative: bool = False,
    ) -> Answer[list[TrendPoint]]:
        """Return one point for each day of the range, zero-filled (Q4, Q9).

        `accumulative`: devices so far in the range, the peak so far, of all others the running sum.
        """
        standing = self._standing()
        if accumulative and measure is Measure.DEVICES:
            rows = run(self._client, DevicesSoFar(self.organization_id, scope, period, basis, standing.dirty))
            values = {row["day"]: row["value"] for row in rows}
        else:
            question = Series(self.organization_id, measure, scope, period, Bucket.DAY, None, basis, standing.dirty)
            values = {row["bucket"].date(): row["value"] for row in run(self._client, question)}
        points = filled(values, period, self.today)
        return self._answer(standing, accumulated(measure, points) if accumulative else points)

    def shares(
        self, scope: Scope = ORGANIZATION, period: Period = ALWAYS, basis: Basis = Basis.USAGE
    ) -> Answer[Shares]:
        """Return units by feature: of all history, of the range, of today (Q3)."""
        standing = self._standing()
        today = Period(self.today, self.today)
        chosen = [self._share(scope, each, basis, standing.dirty) for each in (ALWAYS, period, today)]
        return self._answer(standing, Shares(*chosen))

    def day_detail(
        self,
        day: date,
        by: DetailBy = DetailBy.TIME,
        scope: Scope = ORGANIZATION,
        basis: Basis = Basis.USAGE,
        bucket: Bucket = Bucket.TWO_HOURS,
    ) -> Answer[Table]:
        """Return the detail of a day, at most the latest 1,000 records (Q5, Q8)."""
        return self._table(day_detail(self.organization_id, day, by, scope, basis, bucket))

    def items(self) -> Answer[list[ItemHeader]]:
        """Return the header of each item of the catalog (Q2), in the order of ids."""
        standing, document = self._standing(), self._catalog()
        if document is None:
            return self._answer(standing, [])
        now = self._clock()
        active = {row["item_id"]: row["active"] for row in run(self._client, LiveSeatsQuery(self.organization_id, now))}
        peaks = {
            row["item_id"]: row["peak"] for row in run(self._client, PeaksQuery(self.organization_id, standing.dirty))
        }
        counters = run(self._client, ItemCountersQuery(self.organization_id))
        return self._answer(standing, item_headers(document, counters, active, peaks, now))

    def concurrency(self, scope: Scope = ORGANIZATION, period: Period = ALWAYS) -> Answer[ConcurrencyProfile]:
        """Return peak and percentiles over all slots of the range; an open end is the first or last day of use."""
        standing = self._standing()
        (row,) = run(self._client, ConcurrencyQuery(self.organization_id, scope, period, standing.dirty))
        days = days_of(period, row["first_day"], row["last_day"])
        return self._answer(standing, concurrency_profile(row["slots"], days))

    def seats(self, item_id: str | None = None) -> Answer[Table]:
        """Return who holds a seat now, and whether it was ever used."""
        return self._table(SeatHoldersQuery(self.organization_id, self._clock(), item_id))

    def denials(self, scope: Scope = ORGANIZATION, period: Period = ALWAYS) -> Answer[Table]:
        """Return refusals by code and day, beside usage."""
        standing = self._standing()
        question = DenialsQuery(self.organization_id, scope, period, standing.dirty)
        return self._answer(standing, self._run(question))

    def completeness(self, scope: Scope = ORGANIZATION) -> Answer[Completeness]:
        """Return how many of the known clients are silent, and which."""
        standing, now = self._standing(), self._clock()
        (totals,) = run(self._client, CompletenessQuery(self.organization_id, now, scope))
        silent = SilentClientsQuery(self.organization_id, now, scope)
        return self._answer(standing, Completeness(totals, self._run(silent)))

    def forecast(self, item_id: str) -> Answer[Forecast]:
        """Return when an item's quota, or its overuse budget of the year, will be used up.

        Raises `StatisticsError` for an item that is not in the catalog, and for one whose use is no sum.
        """
        standing, document = self._standing(), self._catalog()
        item = None if document is None else document.items.get(item_id)
        if item is None or document is None:
            raise StatisticsError(f"there is no item {item_id} in the catalog of {self.organization_id}")
        if item.charge_way not in CUMULATIVE | CONCURRENCY:
            raise StatisticsError(f"item {item_id} is {item.charge_way}: seats and domains are not used up")
        rules, now, today = MeteredItem.of(item, document.platform_suffixes), self._clock(), self.today
        counters = run(self._client, ItemCountersQuery(self.organization_id))
        # Neither live seats nor peaks are asked for: what is used up is units or exceptions.
        header = next(each for each in item_headers(document, counters, {}, {}, now) if each.item_id == item_id)
        measure = Measure.COUNT if rules.cumulative else Measure.EXCEPTIONS
        yesterday = today - timedelta(days=1)
        period = Period(today - timedelta(days=7 * WEEKS), yesterday)
        question = Series(self.organization_id, measure, Scope.item(item_id), period, Bucket.DAY, dirty=standing.dirty)
        values = {row["bucket"].date(): row["value"] for row in run(self._client, question)}
        history = filled(values, Period(self._first_day(item_id, period), yesterday), yesterday)
        end = min(item.expires_at, now + timedelta(days=HORIZON_DAYS))
        if rules.concurrent:
            turn = item.starts_at + (rules.budget_year(instant_ms(now)) + 1) * _BUDGET_YEAR
            end = min(end, turn)
        result = forecast([point.value for point in history], yesterday, header.used, header.limit, end.date())
        return self._answer(standing, result)

    def updated_at(self) -> datetime | None:
        """Return when the last event arrived that is counted."""
        return self._standing().updated_at

    def _first_day(self, item_id: str, period: Period) -> date | None:
        """Return the first day of the range on which the item could have been used, as far as its use tells."""
        question = Series(self.organization_id, Measure.NEW_DEVICES, Scope.item(item_id), ALWAYS, Bucket.DAY)
        rows = run(self._client, question)
        first = rows[0]["bucket"].date() if rows else None
        return max(first, period.first) if first is not None and period.first is not None else period.first

    def _share(self, scope: Scope, period: Period, basis: Basis, dirty: Days) -> Share:
        question = Series(self.organization_id, Measure.COUNT, scope, period, Bucket.ALL, Split.FEATURE, basis, dirty)
        by_feature = {row["split"]: row["value"] for row in run(self._client, question)}
        return Share(sum(by_feature.values()), by_feature)

    def _standing(self) -> _Standing:
        """Return what is asked before anything else: what is counted after that is not claimed (Q7)."""
        (row,) = run(self._client, StandingQuery(self.organization_id))
        return _Standing(row["updated_at"], tuple(row["dirty"]))

    def _catalog(self) -> Organization | None:
        rows = run(self._client, CatalogQuery(self.organization_id))
        return Organization.model_validate_json(rows[0]["document"]) if rows else None

    def _run(self, query: Query) -> Table:
        return Table(query.columns, run(self._client, query))

    def _table(self, query: Query) -> Answer[Table]:
        standing = self._standing()
        return self._answer(standing, self._run(query))

    def _answer(self, standing: _Standing, value: _T) -> Answer[_T]:
        return Answer(self.organization_id, standing.updated_at, value)
