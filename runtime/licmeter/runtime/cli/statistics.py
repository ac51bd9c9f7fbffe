"""`licmeter stats …`: the views of the domain's section 10, in the terminal."""

from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from licmeter.analytics.statistics.details import DetailBy
from licmeter.analytics.statistics.words import Basis, Bucket, Measure, Split
from licmeter.runtime.cli import asking
from licmeter.runtime.cli.asking import (
    CsvOption,
    FromOption,
    ItemOption,
    LastOption,
    OrganizationOption,
    ProjectOption,
    ToOption,
)
from licmeter.runtime.cli.output import JsonOption, errors, out, table
from licmeter.runtime.cli.plots import bar, sparkline
from licmeter.runtime.errors import UsageError

__all__ = ["register"]

MeasureOption = Annotated[Measure, typer.Option(help="What is measured.")]
BasisOption = Annotated[
    Basis, typer.Option(help="Whether a report belongs to the time of its slot, or of its arrival.")
]
_BAR_CELLS: Final = 40
_SPARK_CELLS: Final = 80
#: A longer trend is a sparkline only, unless all of it is asked for.
_DAYS_SHOWN_MAX: Final = 40
_STATE_COLORS: Final = {
    "active": "green",
    "grace": "yellow",
    "overusing": "yellow",
    "blocked": "red",
    "capped": "red",
}


def register(group: typer.Typer) -> None:
    """Add the commands to `licmeter stats`."""
    for command in (items, shares, trend, day, series, concurrency, seats, denials, completeness, forecast):
        group.command()(command)


def items(
    organization: OrganizationOption = None,
    expired: Annotated[bool | None, typer.Option("--expired/--not-expired", help="Only those.")] = None,
    revoked: Annotated[bool | None, typer.Option("--revoked/--not-revoked", help="Only those.")] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show each item: what it allows, how much of it is used, from when to when, and where it stands."""
    with asking.statistics(organization) as statistics:
        answer = statistics.items()
    chosen = [
        header
        for header in answer.value
        if expired in (None, header.state == "expired") and revoked in (None, header.state == "revoked")
    ]
    if asking.print_answer(answer, chosen, as_json=as_json, as_csv=as_csv, title=""):
        return
    columns = dict.fromkeys(("item", "used", "state", "valid", "for", "projects"), "left")
    result = table(f"Items of {answer.organization_id}", columns, [])
    for column in result.columns[:3]:
        column.no_wrap = True
    for header in chosen:
        tags = [header.product, header.version, header.edition, header.deployment_type, *header.modules]
        state = header.state.value + (" (expiry grace)" if header.in_expiry_grace else "")
        result.add_row(
            header.item_id,
            f"{header.text}\n{header.description or header.charge_way.value}",
            Text(state, style=_STATE_COLORS.get(header.state, "magenta")),
            f"{header.starts_at:%Y-%m-%d} to {header.expires_at:%Y-%m-%d}",
            ", ".join(tag for tag in tags if tag) or "any",
            ", ".join(header.project_ids),
        )
    out.print(result)
    asking.print_updated(answer)


def shares(
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    last: LastOption = None,
    first_day: FromOption = None,
    last_day: ToOption = None,
    basis: BasisOption = Basis.USAGE,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show units by feature: of all history, of the range, of today."""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        period = asking.period_of(last, first_day, last_day, statistics.today)
        answer = statistics.shares(scope, period, basis)
    parts = {"all history": answer.value.all_history, "range": answer.value.selected, "today": answer.value.today}
    if as_csv:
        rows = [
            {"range": name, "feature": feature, "count": count}
            for name, share in parts.items()
            for feature, count in share.by_feature.items()
        ]
        asking.print_answer(answer, rows, as_json=False, as_csv=True, title="")
        return
    if asking.print_answer(answer, answer.value, as_json=as_json, as_csv=False, title=""):
        return
    for name, share in parts.items():
        top = max(share.by_feature.values(), default=0)
        cells = [
            (feature or "(none)", count, f"{count * 100 / share.total:.1f} %", bar(count, top, _BAR_CELLS))
            for feature, count in sorted(share.by_feature.items(), key=lambda entry: -entry[1])
        ]
        columns = {"feature": "left", "count": "right", "share": "right", "": "left"}
        out.print(table(f"{name}: {share.total:,} units", columns, cells))
    asking.print_updated(answer)


def trend(
    measure: MeasureOption = Measure.COUNT,
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    last: LastOption = None,
    first_day: FromOption = None,
    last_day: ToOption = None,
    basis: BasisOption = Basis.USAGE,
    accumulative: Annotated[bool, typer.Option("--accumulative/--split", help="Running, or day by day.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show one figure a day, as a line and as a table."""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        period = asking.period_of(last, first_day, last_day, statistics.today)
        answer = statistics.trend(measure, scope, period, basis, accumulative=accumulative)
    points = answer.value
    if asking.print_answer(answer, points, as_json=as_json, as_csv=as_csv, title=""):
        return
    values = [point.value for point in points]
    what = f"{measure.value.replace('_', ' ')} of {scope.name or answer.organization_id}"
    ends = f"{points[0].day} to {points[-1].day}" if points else "no days"
    out.print(f"[bold]{what}[/], {ends}" + (", running" if accumulative else ""), highlight=False)
    out.print(sparkline(values, _SPARK_CELLS), highlight=False)
    if values:
        out.print(f"lowest {min(values):,}, highest {max(values):,}, latest {values[-1]:,}", highlight=False)
    if len(points) <= _DAYS_SHOWN_MAX:
        top = max(values, default=0)
        rows = [(point.day, point.value, bar(point.value, top, _BAR_CELLS)) for point in points]
        out.print(table("", {"day": "left", measure.value.replace("_", " "): "right", "": "left"}, rows))
    else:
        errors.print("--csv or --json print every day, and so does a shorter range", style="dim", highlight=False)
    asking.print_updated(answer)


def day(
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")],
    by: Annotated[DetailBy, typer.Option(help="What there is a row for.")] = DetailBy.TIME,
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    basis: BasisOption = Basis.USAGE,
    bucket: Annotated[Bucket, typer.Option(help="Of rows by time: slot, 1h or 2h.")] = Bucket.TWO_HOURS,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show the detail of one day: by time, device, authorization or report, at most the latest 1,000 records."""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        answer = statistics.day_detail(day.date(), by, scope, basis, bucket)
    title = f"{day:%Y-%m-%d} of {scope.name or answer.organization_id}, by {by}"
    asking.print_answer(answer, answer.value.rows, as_json=as_json, as_csv=as_csv, title=title)


def series(
    measure: MeasureOption = Measure.COUNT,
    bucket: Annotated[Bucket, typer.Option(help="Into what the range is cut.")] = Bucket.ALL,
    split: Annotated[Split | None, typer.Option(help="By what it is divided.")] = None,
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    last: LastOption = None,
    first_day: FromOption = None,
    last_day: ToOption = None,
    basis: BasisOption = Basis.USAGE,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show any measure by bucket and split; what has no row is 0."""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        period = asking.period_of(last, first_day, last_day, statistics.today)
        answer = statistics.series(measure, scope, period, bucket, split, basis)
    hidden = {"bucket"} if bucket is Bucket.ALL else set()
    hidden |= {"split"} if split is None else set()
    rows: list[dict[str, Any]] = answer.value.rows
    if not as_json:
        names = {"split": split.value if split else "", "value": measure.value}
        rows = [{names.get(k, k): v for k, v in row.items() if k not in hidden} for row in rows]
    title = f"{measure} of {scope.name or answer.organization_id}"
    asking.print_answer(answer, rows, as_json=as_json, as_csv=as_csv, title=title)


def concurrency(
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    last: LastOption = None,
    first_day: FromOption = None,
    last_day: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much was in use at once: the peak, and percentiles over all slots of the range."""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        period = asking.period_of(last, first_day, last_day, statistics.today)
        answer = statistics.concurrency(scope, period)
    profile = answer.value
    if asking.print_answer(answer, profile, as_json=as_json, as_csv=False, title=""):
        return
    top = profile.peak
    rows = [(f"p{each}", value, bar(value, top, _BAR_CELLS)) for each, value in profile.percentiles.items()]
    rows.append(("peak", top, bar(top, top, _BAR_CELLS)))
    out.print(
        table(
            f"In use at once, {scope.name or answer.organization_id}",
            {"": "left", "at once": "right", " ": "left"},
            rows,
        )
    )
    out.print(f"{profile.slots_in_use:,} of {profile.slots:,} three-minute slots had use", highlight=False)
    asking.print_updated(answer)


def seats(
    organization: OrganizationOption = None,
    item: ItemOption = None,
    unused: Annotated[bool, typer.Option("--unused", help="Only seats that were never used.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show who holds which seat now, and which of them were only ever authorized."""
    with asking.statistics(organization) as statistics:
        answer = statistics.seats(item)
    rows = [row for row in answer.value.rows if not (unused and row["used"])]
    asking.print_answer(answer, rows, as_json=as_json, as_csv=as_csv, title=f"{len(rows):,} live seats")


def denials(
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    last: LastOption = None,
    first_day: FromOption = None,
    last_day: ToOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show refused requests by code and day, beside what was used."""
    scope = asking.scope_of(project, None)
    with asking.statistics(organization) as statistics:
        period = asking.period_of(last, first_day, last_day, statistics.today)
        answer = statistics.denials(scope, period)
    asking.print_answer(answer, answer.value.rows, as_json=as_json, as_csv=as_csv, title="Refused requests")


def completeness(
    organization: OrganizationOption = None,
    project: ProjectOption = None,
    item: ItemOption = None,
    clients: Annotated[bool, typer.Option("--clients", help="Name the silent clients.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how many known clients are silent for how long: less use, or missing reports?"""
    scope = asking.scope_of(project, item)
    with asking.statistics(organization) as statistics:
        answer = statistics.completeness(scope)
    totals, silent = answer.value.totals, answer.value.silent
    if as_json:
        document = {"totals": totals, "silent": silent.rows}
        asking.print_answer(answer, document, as_json=True, as_csv=False, title="")
        return
    known = totals["known"]
    names = {
        "reporting": "heard of today",
        "silent_1d": "silent for 1 to 3 days",
        "silent_3d": "silent for 3 to 7 days",
        "silent_7d": "silent for 7 to 14 days",
        "silent_14d": "silent for 14 to 30 days",
    }
    rows = [(text, totals[name], bar(totals[name], known, _BAR_CELLS)) for name, text in names.items()]
    title = f"{known:,} clients heard of in 30 days, of {scope.name or answer.organization_id}"
    out.print(table(title, {"": "left", "clients": "right", " ": "left"}, rows))
    if totals["lost"]:
        out.print(f"{totals['lost']:,} more have been silent for longer: what they kept is gone", highlight=False)
    if totals["oldest_unreported_at"] is not None:
        text = f"figures after {totals['oldest_unreported_at']:%Y-%m-%d %H:%M} UTC may still grow by what they keep"
        out.print(text, style="yellow", highlight=False)
    if clients:
        asking.print_answer(answer, silent.rows, as_json=False, as_csv=False, title="Silent clients")
    else:
        asking.print_updated(answer)


def forecast(
    item: Annotated[str | None, typer.Argument(help="An item; without it, all that can be used up.")] = None,
    organization: OrganizationOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show when quotas and overuse budgets will be used up, at the pace of the last eight weeks."""
    from licmeter.analytics.statistics.forecast import METHOD
    from licmeter.analytics.statistics.words import StatisticsError

    with asking.statistics(organization) as statistics:
        headers = statistics.items()
        wanted = [header.item_id for header in headers.value if item in (None, header.item_id)]
        if item is not None and not wanted:
            raise UsageError(f"there is no item {item}", hint="`licmeter stats items` lists them")
        rows = []
        for item_id in wanted:
            try:
                rows.append({"item_id": item_id} | _forecast_row(statistics.forecast(item_id).value))
            except StatisticsError:
                if item is not None:
                    raise
    for row in rows if as_json or as_csv else ():
        row["method"] = METHOD
    asking.print_answer(headers, rows, as_json=as_json, as_csv=as_csv, title="Used up at the pace of the last 8 weeks")
    if not (as_json or as_csv):
        out.print(f"method: {METHOD}; earliest and latest hold the middle 80 percent", style="dim", highlight=False)


def _forecast_row(forecast: Any) -> dict[str, Any]:
    """Return a forecast as a row; the interval is of 80 percent."""
    return {
        "used": forecast.used,
        "limit": forecast.limit,
        "per_day": f"{forecast.per_day:.1f}",
        "used_up_on": forecast.exhausted_on,
        "earliest": forecast.earliest,
        "latest": forecast.latest,
        "history_days": forecast.history_days,
        "note": forecast.reason,
    }
