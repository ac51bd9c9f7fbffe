"""What a person sees: shares, trends, the detail of a day, the header of an item (domain, Q2 to Q9)."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from tests.support.reference.instants import budget_year
from tests.support.statistics.facts import NONE, Report
from tests.support.statistics.recount import BUCKETS, DAY_MS, ORGANIZATION, Basis, Recount, Scope, day_ms

__all__ = ["DETAIL_ROWS_MAX", "day_detail", "day_detail_received", "header", "shares", "trend"]

#: Q5: only so many rows are shown, the latest.
DETAIL_ROWS_MAX: Final = 1_000

Row = dict[str, Any]


def shares(
    recount: Recount,
    organization_id: str,
    scope: Scope = ORGANIZATION,
    *,
    today: date,
    first_day: date | None = None,
    last_day: date | None = None,
    basis: Basis = "usage",
) -> dict[str, tuple[int, dict[str, int]]]:
    """Q3: the units of all history, of the range and of today, each as a total and by feature."""
    ranges = {"all": (None, None), "range": (first_day, last_day), "today": (today, today)}
    found = {}
    for name, (first, last) in ranges.items():
        by_feature = recount.measure(
            "count",
            organization_id=organization_id,
            scope=scope,
            bucket="all",
            split="feature",
            basis=basis,
            first_day=first,
            last_day=last,
        )
        features = {str(feature): units for (_, feature), units in by_feature.items()}
        found[name] = (sum(features.values()), features)
    return found


def trend(
    recount: Recount,
    organization_id: str,
    scope: Scope = ORGANIZATION,
    *,
    measure: str,
    first_day: date,
    last_day: date,
    accumulative: bool = False,
    basis: Basis = "usage",
) -> list[tuple[date, int]]:
    """Q4, Q9: one point for each day, zero-filled; `accumulative` is the running sum from the range's start."""
    by_day = recount.measure(
        measure, organization_id=organization_id, scope=scope, basis=basis, first_day=first_day, last_day=last_day
    )
    points, total = [], 0
    for number in range((last_day - first_day).days + 1):
        day = first_day + timedelta(days=number)
        value = by_day.get((day_ms(day) // 1000, None), 0)
        total = total + value if accumulative else value
        points.append((day, total))
    return points


# --- the detail of a day


def _units(report: Report, scope: Scope) -> int | None:
    """A report's units in a scope; None where it is not in it."""
    kind, name = scope
    if kind == "project" and report.project_id != name:
        return None
    lines = [line for line in report.lines if kind != "item" or line.item_id == name]
    return sum(line.quantity for line in lines) if lines else None


def day_detail(
    recount: Recount,
    organization_id: str,
    scope: Scope,
    day: date,
    group: str = "2h",
    *,
    basis: Basis = "usage",
) -> list[Row]:
    """Q5: the rows of a day by time (`1h`, `2h`), `device`, `authorization` or `report`, the latest first.

    By time and device the `period` is a bucket's start in epoch seconds, or the day's. A request's is its instant,
    and a report's its slot (or arrival), in milliseconds. At most `DETAIL_ROWS_MAX` rows.
    """
    if group in ("authorization", "report"):
        found = _requests(recount, organization_id, scope, day) if group == "authorization" else []
        if group == "report":
            found = _reports(recount, organization_id, scope, day, basis)
        return sorted(found, key=lambda row: (-row["period"], -row["offset"]))[:DETAIL_ROWS_MAX]
    bucket, split = ("day", "client") if group == "device" else (group, None)
    columns = {
        name: recount.measure(
            name,
            organization_id=organization_id,
            scope=scope,
            bucket=bucket,
            split=split,
            basis=basis,
            first_day=day,
            last_day=day,
        )
        for name in ("count", "auth", "submit")
    }
    keys = {key for values in columns.values() for key in values}
    rows: list[Row] = []
    for start, client in keys:
        named = {"client": client} if group == "device" else {}
        values = {name: found.get((start, client), 0) for name, found in columns.items()}
        rows.append({"period": start, **named, **values})
    return sorted(rows, key=lambda row: (-row["period"], row.get("client", "")))[:DETAIL_ROWS_MAX]


def _requests(recount: Recount, organization_id: str, scope: Scope, day: date) -> list[Row]:
    kind, name = scope
    return [
        {
            "period": request.at_ms,
            "client": request.client,
            "auth_id": request.auth_id,
            "granted": request.granted,
            "code": request.code,
            "item": request.item_id,
            "project": request.project_id,
            "offset": request.offset,
            "count": 0,
            "auth": 1,
            "submit": 0,
        }
        for request in recount.facts.requests
        if request.organization_id == organization_id
        and {"organization": None, "project": request.project_id, "item": request.item_id}[kind] == name
        and 0 <= request.at_ms - day_ms(day) < DAY_MS
    ]


def _reports(recount: Recount, organization_id: str, scope: Scope, day: date, basis: Basis) -> list[Row]:
    rows = []
    for report in recount.facts.reports:
        units = _units(report, scope)
        when_ms = report.slot_s * 1000 if basis == "usage" else report.received_ms
        if report.organization_id == organization_id and units is not None and 0 <= when_ms - day_ms(day) < DAY_MS:
            rows.append(
                {
                    "period": when_ms,
                    "client": report.client,
                    "report_id": report.report_id,
                    "slot_s": report.slot_s,
                    "received_ms": report.received_ms,
                    "late": report.late,
                    "project": report.project_id,
                    "offset": report.offset,
                    "count": units,
                    "auth": 0,
                    "submit": 1,
                }
            )
    return rows


def day_detail_received(
    recount: Recount, organization_id: str, scope: Scope, day: date, bucket: str = "2h"
) -> list[Row]:
    """Q8: what arrived on a day: its own buckets by slot, and one row for each other day on which it was used.

    `period` is a bucket's start in epoch seconds, or the other day as a date; such rows have no requests and come last.
    """
    step_ms = BUCKETS[bucket]
    assert step_ms is not None
    rows: dict[int | date, Row] = defaultdict(lambda: {"count": 0, "auth": 0, "submit": 0})
    requests = recount.measure(
        "auth", organization_id=organization_id, scope=scope, bucket=bucket, first_day=day, last_day=day
    )
    for (start, _), number in requests.items():
        assert start is not None
        rows[start]["auth"] = number
    for report in recount.facts.reports:
        units = _units(report, scope)
        arrived = 0 <= report.received_ms - day_ms(day) < DAY_MS
        if report.organization_id != organization_id or units is None or not arrived:
            continue
        slot_day = datetime.fromtimestamp(report.slot_s, UTC).date()
        row = rows[report.slot_s * 1000 // step_ms * step_ms // 1000 if slot_day == day else slot_day]
        row["count"] += units
        row["submit"] += 1
    own = sorted(((period, row) for period, row in rows.items() if isinstance(period, int)), key=lambda r: -r[0])
    others = sorted(
        ((period, row) for period, row in rows.items() if isinstance(period, date)), key=lambda r: r[0], reverse=True
    )
    return [{"period": period, **row} for period, row in [*own, *others]]


# --- the header of an item


def header(recount: Recount, organization_id: str, item_id: str, now: datetime) -> Row:
    """Q2: used of quota with percent; for concurrency the peak of N, and what is consumed of the year's budget."""
    item = recount.facts.items[organization_id, item_id]
    scope: Scope = ("item", item_id)
    way, quota = item["charge_way"], item["quota"]
    totals = {
        name: recount.measure(name, organization_id=organization_id, scope=scope, bucket="all").get((None, None), 0)
        for name in ("count", "in_quota", "in_grace", "over", "peak_concurrent")
    }
    used, whole, peak, consumed = totals["in_quota"] + totals["in_grace"] + totals["over"], quota, None, None
    if way in ("per_device", "per_server"):
        (used,) = recount.active_devices(organization_id, scope, [int(now.timestamp())])
    elif way in ("per_concurrent_device", "per_concurrent_instance"):
        peak, used, whole = totals["peak_concurrent"], 0, item["budget"]
        consumed = _consumed(recount, organization_id, item, now)
    elif way == "per_domain":
        whole = None
    value = used if consumed is None else consumed
    return {
        "item_id": item_id,
        "charge_way": way,
        "quota": quota,
        "used": used,
        "peak": peak,
        "consumed": consumed,
        "budget": item["budget"],
        "percent": None if whole is None else _percent(value, whole),
        "attributed": totals["count"],
    }


def _consumed(recount: Recount, organization_id: str, item: dict[str, Any], now: datetime) -> int:
    year = budget_year(now, item["starts_at"])
    return sum(
        line.exceptions
        for report in recount.facts.reports
        for line in report.lines
        if report.organization_id == organization_id
        and line.item_id == item["item_id"] != NONE
        and budget_year(datetime.fromtimestamp(report.slot_s, UTC), item["starts_at"]) == year
    )


def _percent(value: int, whole: int) -> str:
    """Two decimals, half up, in integers."""
    hundredths = (2 * value * 10_000 + whole) // (2 * whole)
    return f"{hundredths // 100}.{hundredths % 100:02}"
