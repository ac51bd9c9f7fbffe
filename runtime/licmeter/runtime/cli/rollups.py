"""`licmeter rollup`: what statistics are read from quickly, made anew from the facts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.settings import load_settings

__all__ = ["register"]

rollup = typer.Typer(
    help="Rollups by day: what statistics are read from quickly, made from the facts.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(rollup, name="rollup")


@contextmanager
def _client() -> Iterator[Any]:
    from licmeter.runtime.rollups import ROLLUP_TIMEOUT_S
    from licmeter.runtime.wiring import clickhouse_target

    target = clickhouse_target(load_settings())
    try:
        client = target.connect(answer_timeout_s=ROLLUP_TIMEOUT_S)
        try:
            yield client
        finally:
            client.close()
    except (ServiceError, UsageError, typer.Exit):
        raise
    except Exception as error:
        raise ServiceError(
            f"ClickHouse at {target.url} could not do it: {error}",
            service="clickhouse",
            hint="is licmeter running? `licmeter up` starts everything; `licmeter migrate` makes the tables",
        ) from error


@rollup.command()
def rebuild(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC); without it, all.")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included.")] = None,
    organization: Annotated[str | None, typer.Option(help="Only this organization.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the rollups of some days anew from the facts, for instance after a mistake in them.

    Answers stay right meanwhile. Days whose facts have been dropped by age (400 days) keep the rollups that they have.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from licmeter.analytics.statistics.rollup import ROLLUP_TABLES, Span, rebuild, spans

    if (first is None) != (last is None):
        raise UsageError("--from and --to belong together", hint="give both, or neither for all days")
    with _client() as client:
        given = None if first is None or last is None else Span(first.date(), last.date(), organization)
        if given is not None and given.last < given.first:
            raise UsageError("--to is before --from")
        steps = spans(client, given, organization)
        days = sum((step.last - step.first).days + 1 for step in steps)
        if not dry_run:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=errors) as progress:
                task = progress.add_task("days", total=days)
                for step in steps:
                    rebuild(client, step)
                    progress.advance(task, (step.last - step.first).days + 1)
    verb = "would be computed" if dry_run else "were computed"
    if as_json:
        spans_ = [{"from": str(step.first), "to": str(step.last)} for step in steps]
        print_json({"days": days, "steps": spans_, "tables": list(ROLLUP_TABLES), "dry_run": dry_run})
        return
    whom = f" of organization {organization}" if organization else ""
    which = f", {steps[0].first} to {steps[-1].last}" if steps else ""
    out.print(f"{days:,} days{whom}{which} {verb} in {', '.join(ROLLUP_TABLES)}", highlight=False, soft_wrap=True)


@rollup.command()
def refresh(as_json: JsonOption = False) -> None:
    """Compute the days with new facts now; `licmeter sink` does it by itself every so often."""
    from rich.progress import Progress

    from licmeter.analytics.statistics.rollup import refresh

    with _client() as client, Progress(console=errors, transient=True) as progress:
        task = progress.add_task("days")
        report = refresh(client, on_step=lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        print_json({"days_of_organizations": report.pairs, "cut": report.cut.isoformat()})
        return
    out.print(
        f"{report.pairs:,} days of organizations were computed; what was written up to "
        f"{report.cut:%Y-%m-%d %H:%M:%S} UTC is covered",
        highlight=False,
    )


@rollup.command()
def status(as_json: JsonOption = False) -> None:
    """Show up to when rollups cover the facts, how large they are, and how many days are read from the facts."""
    from licmeter.analytics.statistics.rollup import standing

    with _client() as client:
        found = standing(client)
    if as_json:
        print_json(found)
        return
    covered = f"{found['cut']:%Y-%m-%d %H:%M:%S} UTC" if found["cut"] else "nothing yet"
    out.print(
        f"covered up to {covered}; {found['open']:,} days of organizations are read from the facts", highlight=False
    )
    rows = [(row["table"], row["rows"], row["first_day"], row["last_day"]) for row in found["tables"]]
    columns = {"table": "left", "rows": "right", "first day": "left", "last day": "left"}
    out.print(table("Rollups", columns, rows))
