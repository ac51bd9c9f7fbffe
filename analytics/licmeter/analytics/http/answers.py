"""The bodies of answers. Counts are JSON integers of up to 2^64 - 1; instants are RFC 3339 in UTC."""

from datetime import date
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from licmeter.schemas.outcomes import ChargeWay, ItemState

__all__ = [
    "AuthorizationRow",
    "Completeness",
    "CompletenessAnswer",
    "Concurrency",
    "ConcurrencyAnswer",
    "DayAnswer",
    "DeviceRow",
    "Forecast",
    "ForecastAnswer",
    "Item",
    "ItemAnswer",
    "ItemsAnswer",
    "Point",
    "ProblemDetails",
    "ReportRow",
    "Row",
    "SeatRow",
    "SeatsAnswer",
    "SeriesAnswer",
    "SeriesRow",
    "SharesAnswer",
    "SharesOf",
    "SilentRow",
    "Status",
    "TimeRow",
    "TrendAnswer",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Row(_Model):
    """One row of a table."""


class Item(Row):
    """One item, and how much of it is used (Q2). `used` is what the charge way measures against `limit`."""

    item_id: str
    description: str
    charge_way: ChargeWay
    product: str | None
    version: str | None
    edition: str | None
    deployment_type: str | None
    modules: list[str]
    quota: int | None
    used: int
    limit: int | None
    percent: str | None = Field(description="half up to two decimals; null without a limit; may exceed 100")
    text: str
    attributed: int
    peak_concurrent: int | None
    consumed: int | None
    budget: int | None
    state: ItemState
    in_expiry_grace: bool
    starts_at: AwareDatetime
    expires_at: AwareDatetime = Field(description="the first instant at which it is over")
    revoked_at: AwareDatetime | None
    license_id: str
    license_alias: str | None
    project_ids: list[str]


class Point(Row):
    """One day of a trend."""

    day: date
    value: int


class SeriesRow(Row):
    """A value of a bucket and a part; buckets without any use have no row. Null = not divided by it."""

    bucket: AwareDatetime | None = Field(description="its first instant")
    split: str | None
    value: int


class TimeRow(Row):
    """By time. `period` is the first instant of the bucket, or, by arrival, the midnight of another day (Q8)."""

    period: AwareDatetime
    count: int
    auth: int
    submit: int


class DeviceRow(Row):
    """By device; `period` is its latest slot or request."""

    period: AwareDatetime
    client_uuid: str
    count: int
    auth: int
    submit: int


class AuthorizationRow(Row):
    """One request for leave to run."""

    period: AwareDatetime
    client_uuid: str
    auth_id: str
    outcome: str
    code: str
    project_id: str
    item_id: str
    charge_way: str
    local_expires_at: AwareDatetime | None


class ReportRow(Row):
    """One accepted report; `count` is what of it belongs to the scope."""

    period: AwareDatetime
    received_at: AwareDatetime
    client_uuid: str
    report_id: str
    project_id: str
    outcome: str
    late: bool
    count: int
    source_partition: int
    source_offset: int


class SeatRow(Row):
    """A live seat; `used` says whether a report with use was charged to the item since the seat was taken."""

    item_id: str
    client_uuid: str
    first_at: AwareDatetime
    last_contact_at: AwareDatetime
    expires_at: AwareDatetime
    project_ids: list[str]
    used: bool


class DenialsRow(Row):
    """The requests and refusals of a day by code (domain, section 12), beside its units."""

    day: date
    auth: int
    auth_failed: int
    codes: dict[str, int]
    count: int


class SilentRow(Row):
    """A client that was heard of within 30 days, and not within the last one."""

    client_uuid: str
    last_heard_at: AwareDatetime
    last_report_at: AwareDatetime | None
    last_use_at: AwareDatetime | None


class Share(_Model):
    """A total, and what each feature has of it."""

    total: int
    by_feature: dict[str, int]


class SharesOf(_Model):
    """The three pies (Q3)."""

    all_history: Share
    selected: Share
    today: Share


class Concurrency(_Model):
    """How much was in use at once; slots without use count as 0."""

    peak: int
    percentiles: dict[str, int]
    slots: int
    slots_in_use: int


class Forecast(_Model):
    """The day on which `limit` is reached: median, 10th and 90th percentile; null = not within reach."""

    limit: int | None
    used: int
    left: int | None
    method: str
    interval_percent: int
    history_days: int
    per_day: float
    exhausted_on: date | None
    earliest: date | None
    latest: date | None
    reason: str | None = Field(description="why there is no forecast")


class ClientTotals(_Model):
    """Clients by how long they are silent; each is counted once. `lost` are silent for over 30 days."""

    known: int
    reporting: int
    silent_1d: int
    silent_3d: int
    silent_7d: int
    silent_14d: int
    lost: int
    oldest_unreported_at: AwareDatetime | None
    last_heard_at: AwareDatetime | None


class Completeness(_Model):
    """How many of the known clients are silent, and which: at most 1,000, the longest silent first."""

    totals: ClientTotals
    silent: list[SilentRow]


class _Answer(_Model):
    organization_id: str
    updated_at: AwareDatetime | None = Field(description="when the last event arrived that is counted (Q7)")


class _List(_Answer):
    next: str | None = Field(description="the cursor of the next page; null = this is the last one")


class ItemAnswer(_Answer):
    """One item."""

    data: Item


class ForecastAnswer(_Answer):
    """The forecast of an item."""

    data: Forecast


class SharesAnswer(_Answer):
    """Shares by feature."""

    data: SharesOf


class ConcurrencyAnswer(_Answer):
    """The profile of a range."""

    data: Concurrency


class ItemsAnswer(_List):
    """Items."""

    data: list[Item]


class TrendAnswer(_List):
    """One point for each day."""

    data: list[Point]


class SeriesAnswer(_List):
    """A measure by bucket and part."""

    data: list[SeriesRow]


class DayAnswer(_List):
    """The detail of a day: rows of the kind that `by` names, at most 1,000 on all pages."""

    data: list[TimeRow] | list[DeviceRow] | list[AuthorizationRow] | list[ReportRow]


class SeatsAnswer(_List):
    """Who holds a seat."""

    data: list[SeatRow]


class DenialsAnswer(_List):
    """Refusals by day."""

    data: list[DenialsRow]


class CompletenessAnswer(_List):
    """Silent clients."""

    data: Completeness


class ParameterError(_Model):
    """What is wrong with one parameter."""

    parameter: str
    message: str


class ProblemDetails(_Model):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str
    errors: list[ParameterError] = []


class Status(_Model):
    """All is well."""

    status: str


Document = dict[str, Any]
