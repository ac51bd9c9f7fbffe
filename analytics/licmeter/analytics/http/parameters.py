"""What can be asked in a query string. Names that are not known are refused: a misspelled filter must not widen it."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from licmeter.analytics.http.cursors import CURSOR_CHARACTERS_MAX
from licmeter.analytics.query import Period
from licmeter.analytics.statistics.api import last_days
from licmeter.analytics.statistics.details import DetailBy
from licmeter.analytics.statistics.words import ORGANIZATION, Basis, Bucket, Measure, Scope, Split
from licmeter.schemas.catalog import ItemId, ProjectId
from licmeter.schemas.outcomes import ItemState

__all__ = [
    "LIMIT_MAX",
    "CompletenessParameters",
    "ConcurrencyParameters",
    "Day",
    "DayParameters",
    "DenialsParameters",
    "ItemsParameters",
    "NoParameters",
    "Paged",
    "Ranged",
    "SeatsParameters",
    "SeriesParameters",
    "SharesParameters",
    "SortBy",
    "TrendMode",
    "TrendParameters",
]

LIMIT_MAX: Final = 10_000
LIMIT_DEFAULT: Final = 1_000
#: What ClickHouse's type Date can say, whole years, with room for the days before and after that questions look at.
DAY_MIN: Final = date(1970, 1, 1)
DAY_MAX: Final = date(2099, 12, 31)
#: More than anybody has history of, and within the above until 2097.
LAST_DAYS_MAX: Final = 10_000


def _date_text(value: Any) -> Any:
    """Let nothing pass but a date: pydantic would also take seconds since 1970."""
    if not isinstance(value, str) or len(value) != len("2031-03-08"):
        raise ValueError("a day is written as 2031-03-08")
    return value


def _in_range(day: date) -> date:
    if not DAY_MIN <= day <= DAY_MAX:
        raise ValueError(f"days from {DAY_MIN} to {DAY_MAX} can be asked for")
    return day


Day = Annotated[
    date,
    BeforeValidator(_date_text, json_schema_input_type=str),
    AfterValidator(_in_range),
    Field(json_schema_extra={"type": "string", "format": "date", "examples": ["2031-03-08"]}),
]


class SortBy(StrEnum):
    """By what the list of items is sorted (Q2)."""

    ID = "id"
    STARTS_AT = "starts_at"
    EXPIRES_AT = "expires_at"


class Order(StrEnum):
    """Which end of the list comes first."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class TrendMode(StrEnum):
    """What a point of a trend stands for: its day, or the range up to it (Q4)."""

    SPLIT = "split"
    ACCUMULATIVE = "accumulative"


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParameters(_Parameters):
    """Nothing can be asked."""


class Paged(_Parameters):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX, description="rows of a page")] = LIMIT_DEFAULT
    cursor: Annotated[
        str | None, Field(max_length=CURSOR_CHARACTERS_MAX, description="`next` of the page before; nothing else")
    ] = None


class Ranged(_Parameters):
    """A range of whole days in UTC (Q6); all history if none is given."""

    last: Annotated[
        int | None, Field(ge=1, le=LAST_DAYS_MAX, description="today and the days before, so many in all")
    ] = None
    first_day: Annotated[Day | None, Field(alias="from", description="the first day; without it, since the start")] = (
        None
    )
    last_day: Annotated[Day | None, Field(alias="to", description="the last day, included")] = None

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        if self.last is not None and (self.first_day is not None or self.last_day is not None):
            raise ValueError("a range is either `last`, or `from` and `to`")
        if self.first_day is not None and self.last_day is not None and self.first_day > self.last_day:
            raise ValueError("`from` lies after `to`")
        return self

    def period(self, today: date) -> Period:
        """Return the range as it is on a day."""
        return Period(self.first_day, self.last_day) if self.last is None else last_days(self.last, today)


class _OfProject(_Parameters):
    project: Annotated[ProjectId | None, Field(description="only use through this project")] = None

    @property
    def scope(self) -> Scope:
        """Of what the statistics are."""
        return ORGANIZATION if self.project is None else Scope.project(self.project)


class _Scoped(_OfProject):
    item: Annotated[ItemId | None, Field(description="only use of this item; not together with `project`")] = None

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if self.project is not None and self.item is not None:
            raise ValueError("statistics are of a project or of an item, and not of both (Q1)")
        return self

    @property
    def scope(self) -> Scope:
        """Of what the statistics are."""
        return super().scope if self.item is None else Scope.item(self.item)


class ItemsParameters(Paged):
    """Which items are listed, and in which order (Q2)."""

    project: Annotated[ProjectId | None, Field(description="only items of this project")] = None
    state: ItemState | None = None
    expired: Annotated[bool | None, Field(description="whether the expiry grace has ended, too")] = None
    revoked: bool | None = None
    sort: SortBy = SortBy.ID
    order: Order = Order.ASCENDING


class SharesParameters(_Scoped, Ranged):
    """Of what shares are."""

    basis: Basis = Basis.USAGE


class TrendParameters(_Scoped, Ranged, Paged):
    """Of what a trend is."""

    measure: Measure = Measure.COUNT
    mode: TrendMode = TrendMode.SPLIT
    basis: Basis = Basis.USAGE


class DayParameters(_Scoped, Paged):
    """How the detail of a day is divided (Q5)."""

    by: DetailBy = DetailBy.TIME
    bucket: Annotated[Bucket, Field(description="of `by=time`: slot, 1h or 2h")] = Bucket.TWO_HOURS
    basis: Basis = Basis.USAGE


class SeriesParameters(_Scoped, Ranged, Paged):
    """What is measured, and how it is divided."""

    measure: Measure = Measure.COUNT
    bucket: Bucket = Bucket.ALL
    split: Split | None = None
    basis: Basis = Basis.USAGE


class ConcurrencyParameters(_Scoped, Ranged):
    """Of what a profile is."""


class SeatsParameters(Paged):
    """Whose seats are listed."""

    item: ItemId | None = None


class DenialsParameters(_OfProject, Ranged, Paged):
    """Of what refusals are: a refused request belongs to no item."""


class CompletenessParameters(_Scoped, Paged):
    """Whose clients are looked at; pages are of those that are silent."""
