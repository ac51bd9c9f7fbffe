"""`licmeter stats`: what was used, per project and per item."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from licmeter.runtime.cli import statistics
from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.errors import ServiceError
from licmeter.runtime.settings import load_settings

__all__ = ["register"]

_BAR_CELLS = 20


group = typer.Typer(help="What was used: an overview, and with a word behind it, each view of the statistics.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    statistics.register(group)
    app.add_typer(group, name="stats")


@group.callback(invoke_without_command=True)
def stats(
    context: typer.Context,
    organization: Annotated[str | None, typer.Option(help="Only this organization; otherwise each in turn.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last N days (UTC), today included.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show usage per project and per item, and what became of all reports."""
    if context.invoked_subcommand is not None:
        return
    from licmeter.analytics.query import ALWAYS, Period

    today = datetime.now(UTC).date()
    period = ALWAYS if last is None else Period(first=today - timedelta(days=last - 1), last=today)
    answers = _ask(organization, project, period)
    if as_json:
        print_json(answers)
        return
    for answer in answers:
        _show(answer)
    if not answers:
        errors.print("nothing was counted yet: `licmeter send FILE` or `licmeter import lmstat FILE`", highlight=False)


def _ask(organization: str | None, project: str | None, period: Any) -> list[dict[str, Any]]:
    from licmeter.analytics import usage
    from licmeter.analytics.query import run
    from licmeter.runtime.wiring import clickhouse_target

    target = clickhouse_target(load_settings())
    try:
        client = target.connect()
        try:
            names = (
                [organization]
                if organization
                else [r["organization_id"] for r in run(client, usage.OrganizationsQuery())]
            )
            return [
                {
                    "organization_id": name,
                    "outcomes": run(client, usage.OutcomeTotals(name, period))[0],
                    "authorizations": run(client, usage.AuthorizationTotals(name, period)),
                    "rejected": run(client, usage.RejectTotals(name, period)),
                    "projects": run(client, usage.ProjectUsage(name, period, project)),
                    "items": run(client, usage.ItemCountersQuery(name)),
                    "item_features": run(client, usage.ItemUsage(name, period)),
                }
                for name in names
            ]
        finally:
            client.close()
    except Exception as error:
        raise ServiceError(
            f"ClickHouse at {target.url} could not answer: {error}",
            service="clickhouse",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error


def _show(answer: dict[str, Any]) -> None:
    outcomes, rejected = answer["outcomes"], sum(row["count"] for row in answer["rejected"])
    asked = dict.fromkeys(("granted", "refused", "duplicate"), 0)
    for row in answer["authorizations"]:
        asked[row["outcome"]] += row["count"]
    duplicate = outcomes["duplicate"] + asked["duplicate"]
    received = outcomes["charged"] + outcomes["uncharged"] + asked["granted"] + asked["refused"] + duplicate + rejected
    updated = outcomes["last_received_at"]
    out.print(
        f"\n[bold]Organization {answer['organization_id']}[/]: {received:,} records = {outcomes['charged']:,} charged"
        f" + {outcomes['uncharged']:,} uncharged + {duplicate:,} duplicate + {rejected:,} rejected"
        + (f" + {asked['granted']:,} granted + {asked['refused']:,} refused" if any(asked.values()) else "")
        + (f"; latest {updated:%Y-%m-%d %H:%M:%S} UTC" if updated else ""),
        highlight=False,
    )
    for row in answer["authorizations"]:
        if row["outcome"] == "refused":
            out.print(f"  refused as {row['code']}: {row['count']:,}", style="yellow", highlight=False)
    for row in answer["rejected"]:
        out.print(f"  rejected as {row['reason']}: {row['count']:,}", style="yellow", highlight=False)
    if answer["projects"]:
        _show_projects(answer["projects"])
    if answer["items"]:
        _show_items(answer["items"])


def _show_projects(rows: list[dict[str, Any]]) -> None:
    """Print one table a project; features of which nothing was ever used come last, in one line."""
    for project_id in dict.fromkeys(row["project_id"] for row in rows):
        used = [row for row in rows if row["project_id"] == project_id and row["count"]]
        unused = [row["feature"] for row in rows if row["project_id"] == project_id and not row["count"]]
        headers = ("in use", "reserved", "peak", "count", "clients")
        columns = {"feature": "left"} | dict.fromkeys(headers, "right") | {"latest slot": "right"}
        cells = [
            (
                row["feature"],
                row["in_use"] + row["reserved"],
                row["reserved"] or None,
                row["peak_in_use"],
                row["count"],
                row["devices"],
                f"{row['latest_slot']:%m-%d %H:%M}",
            )
            for row in used
        ]
        out.print(table(f"Project {project_id}", columns, cells))
        if unused:
            out.print(f"  in use 0: {', '.join(unused)}", style="dim", highlight=False)


def _show_items(rows: list[dict[str, Any]]) -> None:
    headers = ("value", "of", "%", "in grace", "over", "units")
    columns = {"item": "left", "charge way": "left"} | dict.fromkeys(headers, "right") | {"": "left", "state": "left"}
    result = table("Per item", columns, [])
    colors = {"active": "green", "grace": "yellow", "overusing": "yellow", "blocked": "red", "capped": "red"}
    for row in rows:
        percent = row["percent"]
        color = colors.get(row["state"], "magenta")
        filled = 0 if percent is None else min(_BAR_CELLS, int(percent * _BAR_CELLS / 100))
        result.add_row(
            row["item_id"],
            row["charge_way"],
            *_measured(row),
            "" if percent is None else f"{percent:.2f}",
            f"{row['in_grace']:,}",
            f"{row['over']:,}",
            f"{row['attributed']:,}",
            Text("━" * filled, style=color) + Text("━" * (_BAR_CELLS - filled), style="dim"),
            Text(row["state"], style=color),
        )
    out.print(result)


def _measured(row: dict[str, Any]) -> tuple[str, str]:
    """Return what is held against which limit: units used, live seats, or exceptions of the budget year."""
    way, quota = row["charge_way"], row["quota"]
    if way.startswith("per_concurrent"):
        limit = "unlimited" if row["budget"] is None else f"{row['budget']:,} exceptions ({quota:,} a slot)"
        return f"{row['consumed']:,}", limit
    if way in ("per_device", "per_server"):
        return f"{row['active']:,}", "unlimited" if quota is None else f"{quota:,} seats"
    if way == "per_domain":
        return "", ""
    return f"{row['used']:,}", "unlimited" if quota is None else f"{quota:,} units"
