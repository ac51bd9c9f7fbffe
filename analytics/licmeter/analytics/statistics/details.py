"""The detail of one day (domain, Q5, Q8): by time, device, authorization or report, at most the latest 1,000 records.

By arrival (`basis=received`), the day's rows are what arrived on it: a row for each bucket of the day's own slots, and
one for each other day whose slots were reported then. Authorizations happen online, and belong to the day of the
request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, ClassVar, Final

from licmeter.analytics.query import Period
from licmeter.analytics.statistics.fragments import ACCEPTED
from licmeter.analytics.statistics.sources import Source
from licmeter.analytics.statistics.words import (
    BUCKET_SECONDS,
    ORGANIZATION,
    Basis,
    Bucket,
    Scope,
    StatisticsError,
)

__all__ = [
    "DETAIL_ROWS_MAX",
    "DayByAuthorization",
    "DayByDevice",
    "DayByReport",
    "DayByTime",
    "DayDetail",
    "DetailBy",
    "day_detail",
]

#: Detail rows shown (domain, section 14).
DETAIL_ROWS_MAX: Final = 1_000


class DetailBy(StrEnum):
    """By what a day's detail has rows."""

    TIME = "time"
    DEVICE = "device"
    AUTHORIZATION = "authorization"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class _Day:
    organization_id: str
    day: date
    scope: Scope = ORGANIZATION
    basis: Basis = Basis.USAGE
    bucket: Bucket = Bucket.TWO_HOURS

    def _source(self) -> Source:
        return Source.of(self.organization_id, Period(self.day, self.day), self.scope, self.basis)


@dataclass(frozen=True, slots=True)
class DayByTime(_Day):
    """Rows by bucket, sparse. `period` is the first instant of the bucket, or the midnight of another day (Q8)."""

    columns: ClassVar[Sequence[str]] = ("period", "count", "auth", "submit")

    def __post_init__(self) -> None:
        if self.bucket not in (Bucket.SLOT, Bucket.HOUR, Bucket.TWO_HOURS):
            raise StatisticsError(f"a day is shown by slot, 1h or 2h, not by {self.bucket}")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = self._source()
        seconds = BUCKET_SECONDS[self.bucket]
        source.parameters["day"] = self.day
        in_day = f"intDiv(toUnixTimestamp(slot), {seconds}) * {seconds}"
        text = f"""
            SELECT toDateTime(period, 'UTC') AS period, sum(units), sum(asked), sum(reports)
            FROM (
                SELECT if(toDate(slot) = {{day:Date}}, {in_day}, toUnixTimestamp(toStartOfDay(slot))) AS period,
                       sum(quantity) AS units, 0 AS asked, uniqExact(source_partition, source_offset) AS reports
                FROM usage_attributed WHERE {ACCEPTED} AND {source.facts()} GROUP BY period
                UNION ALL
                SELECT intDiv(toUnixTimestamp(at), {seconds}) * {seconds} AS period, 0, count(), 0
                FROM authorizations WHERE outcome != 'duplicate' AND {source.facts("at")} GROUP BY period
            )
            GROUP BY period ORDER BY period
        """
        return text, source.parameters


@dataclass(frozen=True, slots=True)
class DayByDevice(_Day):
    """Rows by client, those with the latest reports or requests; `period` is the latest slot or request."""

    columns: ClassVar[Sequence[str]] = ("period", "client_uuid", "count", "auth", "submit")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = self._source()
        text = f"""
            SELECT max(latest) AS period, client_uuid, sum(units), sum(asked), sum(reports)
            FROM (
                SELECT client_uuid, toDateTime64(max(slot), 3, 'UTC') AS latest, sum(quantity) AS units, 0 AS asked,
                       uniqExact(source_partition, source_offset) AS reports
                FROM usage_attributed WHERE {ACCEPTED} AND {source.facts()} GROUP BY client_uuid
                UNION ALL
                SELECT client_uuid, max(at) AS latest, 0, count(), 0
                FROM authorizations WHERE outcome != 'duplicate' AND {source.facts("at")} GROUP BY client_uuid
            )
            GROUP BY client_uuid ORDER BY period DESC, client_uuid LIMIT {DETAIL_ROWS_MAX}
        """
        return text, source.parameters


@dataclass(frozen=True, slots=True)
class DayByAuthorization(_Day):
    """One row for each request for leave to run, the latest first."""

    columns: ClassVar[Sequence[str]] = (
        "period",
        "client_uuid",
        "auth_id",
        "outcome",
        "code",
        "project_id",
        "item_id",
        "charge_way",
        "local_expires_at",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = self._source()
        text = f"""
            SELECT at, client_uuid, auth_id, outcome, code, project_id, item_id, charge_way,
                   nullIf(local_expires_at, toDateTime64(0, 3, 'UTC'))
            FROM authorizations WHERE outcome != 'duplicate' AND {source.facts("at")}
            ORDER BY at DESC, source_partition, source_offset DESC LIMIT {DETAIL_ROWS_MAX}
        """
        return text, source.parameters


@dataclass(frozen=True, slots=True)
class DayByReport(_Day):
    """One row for each accepted report, the latest arrival first; `count` is what of it belongs to the scope."""

    columns: ClassVar[Sequence[str]] = (
        "period",
        "received_at",
        "client_uuid",
        "report_id",
        "project_id",
        "outcome",
        "late",
        "count",
        "source_partition",
        "source_offset",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        source = self._source()
        text = f"""
            SELECT slot, received_at, client_uuid, report_id, project_id, outcome, late, sum(quantity),
                   source_partition, source_offset
            FROM usage_attributed WHERE {ACCEPTED} AND {source.facts()}
            GROUP BY ALL ORDER BY received_at DESC, source_partition, source_offset DESC LIMIT {DETAIL_ROWS_MAX}
        """
        return text, source.parameters


DayDetail = DayByTime | DayByDevice | DayByAuthorization | DayByReport
_QUERIES: Final[dict[DetailBy, type[DayDetail]]] = {
    DetailBy.TIME: DayByTime,
    DetailBy.DEVICE: DayByDevice,
    DetailBy.AUTHORIZATION: DayByAuthorization,
    DetailBy.REPORT: DayByReport,
}


def day_detail(
    organization_id: str,
    day: date,
    by: DetailBy = DetailBy.TIME,
    scope: Scope = ORGANIZATION,
    basis: Basis = Basis.USAGE,
    bucket: Bucket = Bucket.TWO_HOURS,
) -> DayDetail:
    """Return the question for a day's detail; raises `StatisticsError` for a bucket of a day or more."""
    return _QUERIES[by](organization_id, day, scope, basis, bucket)
