"""`licmeter audit`: recounts the log, and says what differs from the counters and from ClickHouse."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from licmeter.runtime.audit.report import AuditReport

__all__ = ["register"]

EXIT_DIFFERENCES = 1
EXIT_SINK_BEHIND = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    organization: Annotated[str | None, typer.Option(help="Only this organization.")] = None,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for a sink that is behind.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Count the log again, and compare with the counters and with ClickHouse (docs/proof.md).

    Exits with 1 when anything differs, and with 3 when the sink is behind, so that rows may be missing only for now.
    """
    report = _audit(organization, wait)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    if report.differences:
        raise typer.Exit(EXIT_DIFFERENCES)
    if report.pending:
        raise typer.Exit(EXIT_SINK_BEHIND)


def _audit(organization: str | None, wait_s: float) -> "AuditReport":
    from licmeter.runtime.audit.auditing import audit as run
    from licmeter.runtime.audit.log import Log
    from licmeter.runtime.audit.stored import Stored
    from licmeter.runtime.wiring import clickhouse_target

    settings = load_settings()
    key = secrets.token_hex(16).encode()
    with progress_bar("looking", None) as (bars, task):

        def update(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total or None, description=what)

        async def inside() -> "AuditReport":
            async with Log(settings.bootstrap_servers) as log:
                stored = Stored(clickhouse_target(settings))
                try:
                    return await run(log, stored, key=key, only=organization, wait_s=wait_s, on_progress=update)
                finally:
                    stored.close()

        return asyncio.run(inside())


def _show(report: "AuditReport") -> None:
    from licmeter.runtime.audit.report import NOBODY_NAME

    words = ("charged", "uncharged", "duplicate", "rejected", "granted", "refused")
    columns = {"organization": "left"} | dict.fromkeys(("records", *words, "uncounted", "states", "days"), "right")
    columns |= {"rows": "right", "": "left"}
    rows: list[tuple[Any, ...]] = [
        (
            each.organization_id or NOBODY_NAME,
            each.records,
            *(each.outcomes.get(word, 0) for word in words),
            each.uncounted or None,
            each.counters,
            each.days,
            each.rows,
            _verdict(each.differences, each.pending),
        )
        for each in report.each()
    ]
    out.print(table("Audit", columns, rows))
    for each in report.each():
        for difference in each.listed:
            words_of = (difference.where, difference.day, difference.place, difference.what)
            color = "yellow" if difference.pending else "red"
            name = each.organization_id or NOBODY_NAME
            out.print(f"[{color}]{escape(name)}[/] {escape('  '.join(w for w in words_of if w))}", highlight=False)
        hidden = each.differences + each.pending - len(each.listed)
        if hidden > 0:
            out.print(f"… and {hidden:,} more of {escape(each.organization_id or NOBODY_NAME)}", highlight=False)
    _show_notes(report)


def _verdict(differences: int, pending: int) -> str:
    if differences:
        return f"[red]{differences:,} differences[/]"
    return f"[yellow]{pending:,} not stored yet[/]" if pending else "[green]ok[/]"


def _show_notes(report: "AuditReport") -> None:
    for note in report.notes:
        errors.print(note, highlight=False, markup=False)
    uncounted = sum(partition["uncounted"] for partition in report.partitions)
    if uncounted:
        errors.print(f"{uncounted:,} records were not counted yet when the audit began", highlight=False)
    told = report.to_json()
    out.print(
        f"{report.records:,} records and {report.rows:,} rows in {told['seconds']:,} s, "
        f"{told['records_per_s']:,} records a second: "
        + ("[red]there are differences[/]" if report.differences else "[green]the books agree with the log[/]"),
        highlight=False,
    )
