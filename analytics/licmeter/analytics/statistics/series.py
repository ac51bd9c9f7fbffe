"""One measure of a scope over a range of days, by bucket and split (domain, section 10).

Answers are sparse: a bucket without a row has 0. Buckets begin at their first instant, in UTC; with the bucket `all`
there is no instant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.fragments import ACCEPTED, in_use_by_slot
from licmeter.analytics.statistics.seats import active_devices
from licmeter.analytics.statistics.sources import Days, Source
from licmeter.analytics.statistics.words import (
    BUCKET_SECONDS,
    ORGANIZATION,
    Basis,
    Bucket,
    Measure,
    Scope,
    ScopeKind,
    Split,
    StatisticsError,
)

__all__ = ["Series"]

_UNITS: Final = {
    Measure.COUNT: "quantity",
    Measure.UNCHARGED: "quantity",
    Measure.IN_QUOTA: "in_quota",
    Measure.IN_GRACE: "in_grace",
    Measure.OVER: "over",
    Measure.EXCEPTIONS: "exceptions",
    Measure.SUBMIT: "reports",
}
_SPLIT_COLUMNS: Final = {
    Split.FEATURE: "feature",
    Split.CLIENT: "client_uuid",
    Split.PROJECT: "project_id",
    Split.ITEM: "item_id",
    Split.LATE: "if(late, 'yes', 'no')",
}
#: Splits for which a measure has no meaning.
_NO_SPLITS: Final = {
    Measure.AUTH: (Split.FEATURE, Split.LATE),
    Measure.AUTH_FAILED: (Split.FEATURE, Split.LATE),
    Measure.NEW_DEVICES: (Split.FEATURE, Split.LATE, Split.CLIENT),
    Measure.ACTIVE_DEVICES: (Split.FEATURE, Split.LATE, Split.CLIENT),
    Measure.PEAK_CONCURRENT: (Split.FEATURE, Split.LATE, Split.CLIENT),
}
#: Minimum and maximum are taken here, whether parts were merged or not.
_MERGED: Final = "SETTINGS final = 0"
#: When somebody who was never seen was seen first (015_client_spans.sql).
_NEVER: Final = "toDateTime64('2299-01-01 00:00:00', 3, 'UTC')"


@dataclass(frozen=True, slots=True)
class Series:
    """A question: one measure, by bucket and split. Raises `StatisticsError` for a split that has no meaning.

    `submit` counts a report once for each item and feature on which it has a line, and once without a split by them.
    """

    organization_id: str
    measure: Measure
    scope: Scope = ORGANIZATION
    period: Period = ALWAYS
    bucket: Bucket = Bucket.ALL
    split: Split | None = None
    basis: Basis = Basis.USAGE
    dirty: Days = None

    columns: ClassVar[Sequence[str]] = ("bucket", "split", "value")

    def __post_init__(self) -> None:
        if self.split in _NO_SPLITS.get(self.measure, ()):
            raise StatisticsError(f"{self.measure} cannot be split by {self.split}")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = Source.of(self.organization_id, self.period, self.scope, self.basis, self.dirty)
        if self.measure is Measure.ACTIVE_DEVICES:
            return active_devices(source, self.bucket, self.split)
        return _MAKERS[self.measure](self, source), source.parameters

    @property
    def daily(self) -> bool:
        """Whether rollups by day can answer."""
        return self.bucket in (Bucket.DAY, Bucket.ALL) and self.split is not Split.CLIENT


def _bucket(bucket: Bucket, column: str) -> str:
    """Return the first instant of a bucket; `column` is an instant, or a day for the bucket `day`."""
    if bucket is Bucket.ALL:
        return "CAST(NULL, 'Nullable(DateTime(\\'UTC\\'))')"
    if bucket is Bucket.DAY:
        return f"toDateTime(toDate({column}), 'UTC')"
    return f"toDateTime(intDiv(toUnixTimestamp({column}), {BUCKET_SECONDS[bucket]}) * {BUCKET_SECONDS[bucket]}, 'UTC')"


def _split(split: Split | None) -> str:
    return "CAST(NULL, 'Nullable(String)')" if split is None else f"toString({_SPLIT_COLUMNS[split]})"


def _select(series: Series, column: str, value: str, rest: str) -> str:
    """Return the whole question; `rest` begins with FROM."""
    return f"""
        SELECT {_bucket(series.bucket, column)} AS bucket, {_split(series.split)} AS split, {value} AS value
        {rest}
        GROUP BY bucket, split HAVING value > 0 ORDER BY bucket, split
    """


def _units(series: Series, source: Source) -> str:
    by_item = series.scope.kind is ScopeKind.ITEM or series.split is Split.ITEM
    uncharged = series.measure is Measure.UNCHARGED
    if series.daily:
        level = {(False, False): "project", (True, False): "item", (False, True): "feature", (True, True): "line"}[
            by_item or uncharged, series.split is Split.FEATURE
        ]
        where = "WHERE item_id = ''" if uncharged else ""
        rest = f"FROM ({source.usage_days(level)}) {where}"
        return _select(series, source.day_column(), f"sum({_UNITS[series.measure]})", rest)
    if series.measure is Measure.COUNT and series.bucket in (Bucket.DAY, Bucket.ALL):
        return _select(series, source.day_column(), "sum(quantity)", f"FROM ({source.client_units()})")
    clock = "received_at" if source.received else "slot"
    value = f"sum({_UNITS[series.measure]})"
    if series.measure is Measure.SUBMIT:
        value = "uniqExact(source_partition, source_offset)"
    where = f"{ACCEPTED} AND {source.facts()}" + (" AND item_id = ''" if uncharged else "")
    return _select(series, clock, value, f"FROM usage_attributed WHERE {where}")


def _requests(series: Series, source: Source) -> str:
    where = "outcome = 'refused'" if series.measure is Measure.AUTH_FAILED else "outcome != 'duplicate'"
    if series.daily:
        return _select(series, "day", "sum(requests)", f"FROM ({source.authorization_days()}) WHERE {where}")
    return _select(series, "at", "count()", f"FROM authorizations WHERE {where} AND {source.facts('at')}")


def _devices(series: Series, source: Source) -> str:
    if series.split in (Split.FEATURE, Split.LATE):
        clock = "received_at" if source.received else "slot"
        where = f"quantity > 0 AND {ACCEPTED} AND {source.facts()}"
        return _select(series, clock, "uniqExact(client_uuid)", f"FROM usage_attributed WHERE {where}")
    if series.bucket is Bucket.ALL and series.period == ALWAYS and series.split is not Split.CLIENT:
        where = f"{source.scope()} AND first_use_at < {_NEVER}"
        rest = f"FROM (SELECT * FROM client_spans WHERE {where} {_MERGED})"
        return _select(series, "first_use_at", "uniqExact(client_uuid)", rest)
    if series.bucket is Bucket.ALL and not source.received and series.split is None:
        return _devices_of_range(series, source)
    if series.bucket is Bucket.DAY and not source.received and series.split is not Split.CLIENT:
        return _select(series, "day", "sum(devices)", f"FROM ({source.device_days(_grouping(series))})")
    if series.bucket in (Bucket.DAY, Bucket.ALL):
        return _select(series, source.day_column(), "uniqExact(client_uuid)", f"FROM ({source.client_days()})")
    clock = "received_at" if source.received else "slot"
    rest = f"""FROM (
            SELECT toDateTime64({clock}, 3, 'UTC') AS instant, project_id, item_id, client_uuid
            FROM usage_attributed WHERE quantity > 0 AND {ACCEPTED} AND {source.facts()}
            UNION ALL
            SELECT at AS instant, project_id, item_id, client_uuid
            FROM authorizations WHERE outcome = 'granted' AND {source.facts("at")}
        )"""
    return _select(series, "instant", "uniqExact(client_uuid)", rest)


def _devices_of_range(series: Series, source: Source) -> str:
    """Most clients were first or last in use within the range, which their spans tell. Of those that were in use before
    and after, the days tell whether they were between."""
    inside = [" AND ".join(source.bounds(column, source.period, "instant")) for column in ("first", "last")]
    outside = [
        "true" if source.period.first is None else "first < {from_instant:DateTime('UTC')}",
        "true" if source.period.last is None else "last >= {until_instant:DateTime('UTC')}",
    ]
    return f"""
        WITH spans AS (
            SELECT client_uuid, min(first_use_at) AS first, max(last_use_at) AS last FROM client_spans
            WHERE {source.scope()} GROUP BY client_uuid HAVING first < {_NEVER} {_MERGED}
        ),
        (SELECT countIf(({inside[0]}) OR ({inside[1]})) FROM spans) AS sure,
        (SELECT uniqExact(client_uuid) FROM ({source.client_days()})
         WHERE client_uuid IN (
             SELECT client_uuid FROM spans
             WHERE NOT (({inside[0]}) OR ({inside[1]})) AND {" AND ".join(outside)}
         )) AS between
        SELECT {_bucket(series.bucket, "")} AS bucket, {_split(None)} AS split, sure + between AS value
        WHERE value > 0
    """


def _new_devices(series: Series, source: Source) -> str:
    """A client is new where it is first seen in the scope, of all history; with a split, in each part of it."""
    clock = "first_use_received" if source.received else "first_use_at"
    part = {None: "''", Split.PROJECT: "project_id", Split.ITEM: "item_id"}[series.split]
    bounds = " AND ".join(source.bounds("seen", source.period, "instant"))
    split = _split(None) if series.split is None else "part"
    return f"""
        SELECT {_bucket(series.bucket, "seen")} AS bucket, {split} AS split, uniqExact(client_uuid) AS value
        FROM (
            SELECT client_uuid, toString({part}) AS part, min({clock}) AS seen FROM client_spans
            WHERE {source.scope()} GROUP BY client_uuid, part {_MERGED}
        )
        WHERE seen < {_NEVER} AND {bounds or "true"}
        GROUP BY bucket, split HAVING value > 0 ORDER BY bucket, split
    """


def _peak(series: Series, source: Source) -> str:
    grouping = _grouping(series)
    if series.daily and not source.received:
        return _select(series, "day", "max(peak)", f"FROM ({source.concurrency_days(grouping)})")
    if not source.received:
        return _select(series, "slot", "max(in_use)", f"FROM ({in_use_by_slot(grouping, source.facts())})")
    # By arrival, a bucket sees of a slot what arrived in the bucket.
    instant = "toDateTime(0, 'UTC')" if series.bucket is Bucket.ALL else _bucket(series.bucket, "received_at")
    slots = in_use_by_slot(grouping, source.facts(), instant)
    return _select(series, "arrived", "max(in_use)", f"FROM ({slots})")


def _grouping(series: Series) -> str:
    """Return the scope of device_day and concurrency_day that a question is about."""
    kinds = {series.scope.kind.value, "" if series.split is None else series.split.value}
    if {"project", "item"} <= kinds:
        return "project_item"
    return "project" if "project" in kinds else "item" if "item" in kinds else "organization"


_MAKERS: Final[dict[Measure, Callable[[Series, Source], str]]] = {
    **dict.fromkeys(_UNITS, _units),
    Measure.AUTH: _requests,
    Measure.AUTH_FAILED: _requests,
    Measure.DEVICES: _devices,
    Measure.NEW_DEVICES: _new_devices,
    Measure.PEAK_CONCURRENT: _peak,
}
