"""From a question of `Statistics` to the answer of a request: one thing, or a page of a list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from licmeter.analytics.http.answers import Row
from licmeter.analytics.http.cursors import Cursor, Key, decode_cursor, encode_cursor, question_id
from licmeter.analytics.http.gate import Asking
from licmeter.analytics.http.paging import Page, PagedStatistics, Walk, page_of
from licmeter.analytics.http.parameters import Paged, Ranged
from licmeter.analytics.http.representations import Representation, csv_text, json_body, represent, wants_csv
from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.api import Answer
from licmeter.analytics.statistics.tables import Table

__all__ = ["Listed", "Listing", "answer_list", "answer_one", "listed", "listed_table"]

_T = TypeVar("_T")


async def answer_one(
    asking: Asking,
    model: type[BaseModel],
    question: Callable[[PagedStatistics], Answer[_T]],
    data: Callable[[_T], BaseModel],
) -> Response:
    """Answer with one thing; `data` turns what the statistics say into the model of the body."""

    def represented(statistics: PagedStatistics) -> Representation:
        answer = question(statistics)
        fields = {"organization_id": answer.organization_id, "updated_at": answer.updated_at}
        body = json_body(model(**fields, data=data(answer.value)))
        return represent(*body, answer.updated_at, None)

    representation = await asking.gate.ask(asking.request, asking.organization_id, represented)
    return representation.response(asking.request)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page as the statistics have it; `data` is the body's, if that is more than the rows."""

    updated_at: datetime | None
    page: Page[Any]
    data: Any = None


@dataclass(frozen=True, slots=True)
class Listing:
    """How a list is answered: the model of its body, that of its rows, by which key it is walked, and the question.

    `rows_max` bounds all pages together.
    """

    model: type[BaseModel]
    row: type[Row]
    keys: tuple[Key, ...]
    question: Callable[[PagedStatistics, Walk, Period], Listed]
    rows_max: int | None = None


async def answer_list(asking: Asking, asked: Paged, listing: Listing) -> Response:
    """Answer with a page. Raises `BadRequest` for a cursor that does not continue this question."""
    request = asking.request
    name = question_id(request.scope["path"], request.query_params.multi_items())
    cursor = None if asked.cursor is None else decode_cursor(asked.cursor, name, listing.keys)
    walk = Walk(listing.keys, None, asked.limit, 0, listing.rows_max)
    if cursor is not None:
        walk = Walk(listing.keys, cursor.after, asked.limit, cursor.given, listing.rows_max)
    csv = wants_csv(request.headers.getlist("accept"))

    def represented(statistics: PagedStatistics) -> Representation:
        period = _period(asked, cursor, statistics)
        # "The last 30 days" are those of the first page, whenever the others are asked for.
        kept = period if isinstance(asked, Ranged) and asked.last is not None else ALWAYS
        found = listing.question(statistics, walk, _rest(period, walk))
        page = found.page
        text = link = None
        if page.last is not None:
            text = encode_cursor(Cursor(page.last, walk.given + len(page.rows), kept), name)
            link = _link(request, text)
        if csv:
            body = csv_text(list(listing.row.model_fields), page.rows)
        else:
            data = page.rows if found.data is None else found.data
            fields = {"organization_id": asking.organization_id, "updated_at": found.updated_at}
            body = json_body(listing.model(**fields, data=data, next=text))
        return represent(*body, found.updated_at, link)

    representation = await asking.gate.ask(request, asking.organization_id, represented, walk)
    return representation.response(request)


def listed_table(statistics: PagedStatistics, answer: Answer[Table], row: type[Row]) -> Listed:
    """Return the page that a table is."""
    page = statistics.page(answer.value)
    return Listed(answer.updated_at, Page([row.model_validate(each) for each in page.rows], page.last))


def listed(
    answer: Answer[Any], rows: Sequence[_T], key: Callable[[_T], tuple[Any, ...]], walk: Walk, row: type[Row]
) -> Listed:
    """Cut a page out of rows that are all here."""
    page = page_of(rows, key, walk)
    return Listed(answer.updated_at, Page([row.model_validate(each) for each in page.rows], page.last))


def _period(asked: Paged, cursor: Cursor | None, statistics: PagedStatistics) -> Period:
    if not isinstance(asked, Ranged):
        return ALWAYS
    if cursor is not None and asked.last is not None:
        return cursor.period
    return asked.period(statistics.today)


#: Keys by which days come in their order, from the first one on; what lies before a cursor need not be computed.
_IN_ORDER: Final = ("bucket", "day")


def _rest(period: Period, walk: Walk) -> Period:
    """Return what of a range can have rows behind the cursor."""
    reached = walk.after[0] if walk.after else None
    if not isinstance(reached, date) or walk.keys[0].name not in _IN_ORDER:
        return period
    day = reached.date() if isinstance(reached, datetime) else reached
    return Period(day if period.first is None else max(period.first, day), period.last)


def _link(request: Request, cursor: str) -> str:
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.scope['path']}?{urlencode([*pairs, ('cursor', cursor)])}"
