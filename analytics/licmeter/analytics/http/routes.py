"""The addresses of the statistics (docs/statistics-api.md)."""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from licmeter.analytics.http import answers
from licmeter.analytics.http import parameters as asks
from licmeter.analytics.http.answering import Listed, Listing, answer_list, answer_one, listed, listed_table
from licmeter.analytics.http.contract import operation
from licmeter.analytics.http.cursors import Key, Kind
from licmeter.analytics.http.gate import Asked
from licmeter.analytics.http.paging import PagedStatistics, Walk
from licmeter.analytics.http.problems import NotFound
from licmeter.analytics.query import Period
from licmeter.analytics.statistics.api import Answer
from licmeter.analytics.statistics.details import DETAIL_ROWS_MAX, DetailBy
from licmeter.analytics.statistics.items import ItemHeader
from licmeter.analytics.statistics.words import Bucket, StatisticsError
from licmeter.schemas.catalog import ItemId

__all__ = ["PREFIX", "router"]

PREFIX: Final = "/v1/organizations/{organization_id}/statistics"
router: Final = APIRouter(prefix=PREFIX)

ItemPath = Annotated[ItemId, Path(description="of the catalog")]
_DETAIL_ROWS: Final[dict[DetailBy, type[answers.Row]]] = {
    DetailBy.TIME: answers.TimeRow,
    DetailBy.DEVICE: answers.DeviceRow,
    DetailBy.AUTHORIZATION: answers.AuthorizationRow,
    DetailBy.REPORT: answers.ReportRow,
}
_LATEST: Final = Key("period", Kind.INSTANT, descending=True)
_CLIENT: Final = Key("client_uuid", Kind.TEXT)
_DETAIL_KEYS: Final[dict[DetailBy, tuple[Key, ...]]] = {
    DetailBy.TIME: (Key("period", Kind.INSTANT),),
    DetailBy.DEVICE: (_LATEST, _CLIENT),
    DetailBy.AUTHORIZATION: (_LATEST, _CLIENT, Key("auth_id", Kind.TEXT)),
    DetailBy.REPORT: (
        Key("received_at", Kind.INSTANT, descending=True),
        Key("source_partition", Kind.INTEGER),
        Key("source_offset", Kind.INTEGER, descending=True),
    ),
}


@router.get("/items", **operation("listItems", answers.ItemsAnswer, "Items and how much of each is used", pages=True))
async def items(asked: Asked, chosen: Annotated[asks.ItemsParameters, Query()]) -> Response:
    """List the items of the catalog (Q2)."""
    descending = chosen.order is asks.Order.DESCENDING
    by_id = Key("item_id", Kind.TEXT, descending)
    keys = (by_id,) if chosen.sort is asks.SortBy.ID else (Key(chosen.sort, Kind.INSTANT, descending), by_id)

    def question(statistics: PagedStatistics, walk: Walk, _: Period) -> Listed:
        answer = statistics.items()
        kept = [header for header in answer.value if _is_chosen(header, chosen, statistics)]
        return listed(answer, kept, lambda header: tuple(getattr(header, key.name) for key in keys), walk, answers.Item)

    return await answer_list(asked, chosen, Listing(answers.ItemsAnswer, answers.Item, keys, question))


def _is_chosen(header: ItemHeader, chosen: asks.ItemsParameters, statistics: PagedStatistics) -> bool:
    expired = header.expires_at <= statistics.now and not header.in_expiry_grace
    revoked = header.revoked_at is not None and header.revoked_at <= statistics.now
    return (
        chosen.project in (None, *header.project_ids)
        and chosen.state in (None, header.state)
        and chosen.expired in (None, expired)
        and chosen.revoked in (None, revoked)
    )


@router.get("/items/{item_id}", **operation("getItem", answers.ItemAnswer, "One item"))
async def item(asked: Asked, item_id: ItemPath, _: Annotated[asks.NoParameters, Query()]) -> Response:
    """Show the header of an item (Q2)."""

    def question(statistics: PagedStatistics) -> Answer[ItemHeader]:
        answer = statistics.items()
        return Answer(answer.organization_id, answer.updated_at, _found(answer, item_id))

    return await answer_one(asked, answers.ItemAnswer, question, answers.Item.model_validate)


def _found(answer: Answer[list[ItemHeader]], item_id: str) -> ItemHeader:
    for header in answer.value:
        if header.item_id == item_id:
            return header
    raise NotFound("there is no such item in the catalog")


@router.get("/items/{item_id}/forecast", **operation("getForecast", answers.ForecastAnswer, "When it is used up"))
async def forecast(asked: Asked, item_id: ItemPath, _: Annotated[asks.NoParameters, Query()]) -> Response:
    """Say when the quota of an item, or its overuse budget of the year, will be used up."""

    def question(statistics: PagedStatistics) -> Answer[Any]:
        try:
            return statistics.forecast(item_id)
        except StatisticsError:
            _found(statistics.items(), item_id)
            raise

    return await answer_one(asked, answers.ForecastAnswer, question, answers.Forecast.model_validate)


@router.get("/shares", **operation("getShares", answers.SharesAnswer, "Units by feature"))
async def shares(asked: Asked, chosen: Annotated[asks.SharesParameters, Query()]) -> Response:
    """Show what each feature has of all history, of the range, and of today (Q3)."""
    return await answer_one(
        asked,
        answers.SharesAnswer,
        lambda statistics: statistics.shares(chosen.scope, chosen.period(statistics.today), chosen.basis),
        answers.SharesOf.model_validate,
    )


@router.get("/trend", **operation("getTrend", answers.TrendAnswer, "One point for each day", pages=True))
async def trend(asked: Asked, chosen: Annotated[asks.TrendParameters, Query()]) -> Response:
    """Show a measure day by day, days without use included (Q4, Q9)."""
    accumulative = chosen.mode is asks.TrendMode.ACCUMULATIVE

    def question(statistics: PagedStatistics, walk: Walk, period: Period) -> Listed:
        answer = statistics.trend(chosen.measure, chosen.scope, period, chosen.basis, accumulative=accumulative)
        return listed(answer, answer.value, lambda point: (point.day,), walk, answers.Point)

    # Its key is not called `day`: running values need the whole range, whatever page is asked for.
    keys = (Key("point", Kind.DAY),)
    return await answer_list(asked, chosen, Listing(answers.TrendAnswer, answers.Point, keys, question))


@router.get("/series", **operation("getSeries", answers.SeriesAnswer, "A measure by bucket and part", pages=True))
async def series(asked: Asked, chosen: Annotated[asks.SeriesParameters, Query()]) -> Response:
    """Show any measure by bucket and split; what has no use has no row (Q9)."""
    keys: tuple[Key, ...] = () if chosen.bucket is Bucket.ALL else (Key("bucket", Kind.INSTANT),)
    keys += () if chosen.split is None else (Key("split", Kind.TEXT),)

    def question(statistics: PagedStatistics, _: Walk, period: Period) -> Listed:
        answer = statistics.series(chosen.measure, chosen.scope, period, chosen.bucket, chosen.split, chosen.basis)
        return listed_table(statistics, answer, answers.SeriesRow)

    return await answer_list(asked, chosen, Listing(answers.SeriesAnswer, answers.SeriesRow, keys, question))


@router.get("/days/{day}", **operation("getDay", answers.DayAnswer, "The detail of a day", pages=True))
async def day_detail(
    asked: Asked, day: Annotated[asks.Day, Path()], chosen: Annotated[asks.DayParameters, Query()]
) -> Response:
    """Show a day by time, device, authorization or report, at most its latest 1,000 records (Q5, Q8)."""
    row = _DETAIL_ROWS[chosen.by]

    def question(statistics: PagedStatistics, _: Walk, __: Period) -> Listed:
        answer = statistics.day_detail(day, chosen.by, chosen.scope, chosen.basis, chosen.bucket)
        return listed_table(statistics, answer, row)

    rows_max = None if chosen.by is DetailBy.TIME else DETAIL_ROWS_MAX
    listing = Listing(answers.DayAnswer, row, _DETAIL_KEYS[chosen.by], question, rows_max)
    return await answer_list(asked, chosen, listing)


@router.get("/concurrency", **operation("getConcurrency", answers.ConcurrencyAnswer, "How much was in use at once"))
async def concurrency(asked: Asked, chosen: Annotated[asks.ConcurrencyParameters, Query()]) -> Response:
    """Show the peak and percentiles over all three-minute slots of the range."""
    return await answer_one(
        asked,
        answers.ConcurrencyAnswer,
        lambda statistics: statistics.concurrency(chosen.scope, chosen.period(statistics.today)),
        lambda found: answers.Concurrency(
            peak=found.peak,
            percentiles={str(percent): value for percent, value in found.percentiles.items()},
            slots=found.slots,
            slots_in_use=found.slots_in_use,
        ),
    )


@router.get("/seats", **operation("listSeats", answers.SeatsAnswer, "Who holds a seat", pages=True))
async def seats(asked: Asked, chosen: Annotated[asks.SeatsParameters, Query()]) -> Response:
    """List live seats, and whether each was ever used."""
    keys = (Key("item_id", Kind.TEXT), _CLIENT, Key("first_at", Kind.INSTANT))

    def question(statistics: PagedStatistics, _: Walk, __: Period) -> Listed:
        return listed_table(statistics, statistics.seats(chosen.item), answers.SeatRow)

    return await answer_list(asked, chosen, Listing(answers.SeatsAnswer, answers.SeatRow, keys, question))


@router.get("/denials", **operation("getDenials", answers.DenialsAnswer, "Refused requests by day", pages=True))
async def denials(asked: Asked, chosen: Annotated[asks.DenialsParameters, Query()]) -> Response:
    """Show refusals by code and day, beside what was used."""

    def question(statistics: PagedStatistics, _: Walk, period: Period) -> Listed:
        return listed_table(statistics, statistics.denials(chosen.scope, period), answers.DenialsRow)

    keys = (Key("day", Kind.DAY),)
    return await answer_list(asked, chosen, Listing(answers.DenialsAnswer, answers.DenialsRow, keys, question))


@router.get(
    "/completeness", **operation("getCompleteness", answers.CompletenessAnswer, "Clients that fell silent", pages=True)
)
async def completeness(asked: Asked, chosen: Annotated[asks.CompletenessParameters, Query()]) -> Response:
    """Say how many of the known clients are silent, and which."""
    keys = (Key("last_heard_at", Kind.INSTANT), _CLIENT)

    def question(statistics: PagedStatistics, _: Walk, __: Period) -> Listed:
        answer = statistics.completeness(chosen.scope)
        silent = Answer(answer.organization_id, answer.updated_at, answer.value.silent)
        found = listed_table(statistics, silent, answers.SilentRow)
        data = {"totals": answer.value.totals, "silent": found.page.rows}
        return replace(found, data=data)

    return await answer_list(asked, chosen, Listing(answers.CompletenessAnswer, answers.SilentRow, keys, question))
