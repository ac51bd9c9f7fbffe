"""`licmeter meter`: count a file of events offline."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.errors import UsageError

__all__ = ["register"]

NOTES_SHOWN_MAX = 20
PROBLEMS_SHOWN_MAX = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(meter)


def meter(
    events: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="CloudEvents, one a line; - = standard input.")],
    catalog: Annotated[list[Path], typer.Option(metavar="FILE.yaml", help="Organization documents.")],
    checks_until: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Run the ten-minute checks up to then (RFC 3339).")
    ] = None,
    slots: Annotated[bool, typer.Option("--slots", help="Show the exceptions of concurrency items by slot.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Count events offline: the same core as the stream, without Kafka or ClickHouse (docs/meter.md).

    Another catalog over the same events answers "what would that have cost".
    """
    from licmeter.runtime.licenses import read_documents
    from licmeter.runtime.offline import OfflineMeter

    last = None if checks_until is None else _instant(checks_until)
    offline = OfflineMeter()
    offline.adopt(read_documents(catalog))
    outcomes = [offline.count(number, line) for number, line in _lines(events)]
    if last is not None:
        offline.check_until(last)
    for note in offline.notes[:NOTES_SHOWN_MAX]:
        errors.print(note, highlight=False, markup=False)
    if len(offline.notes) > NOTES_SHOWN_MAX:
        errors.print(f"… and {len(offline.notes) - NOTES_SHOWN_MAX} more such lines", highlight=False)
    results = offline.results(slots=slots)
    if as_json:
        print_json({"outcomes": outcomes} | results)
    else:
        _show(outcomes, results)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"--checks-until: {text} is no instant with a zone, such as 2031-03-08T10:00:00Z")
    return instant


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with a progress bar over the file."""
    from licmeter.producers.reading import read_lines

    with ExitStack() as stack:
        source: BinaryIO
        if str(file) == "-":
            source, size = sys.stdin.buffer, None
        else:
            try:
                source, size = stack.enter_context(file.open("rb")), file.stat().st_size
            except OSError as error:
                raise UsageError(f"{file}: {error.strerror}") from error
        bars, task = stack.enter_context(progress_bar("counting", size))
        done, shown = 0, 0
        for number, line in enumerate(read_lines(source), 1):
            done += len(line)
            if done - shown > 1_000_000:
                bars.update(task, completed=done)
                shown = done
            if line.strip():
                yield number, line.strip()
        bars.update(task, completed=done)


def _show(outcomes: list[dict[str, Any]], results: dict[str, Any]) -> None:
    totals = results["totals"]
    out.print(table("Events", dict.fromkeys(totals, "right"), [tuple(totals.values())]))
    rejected = [entry for entry in outcomes if entry["outcome"] == "rejected"]
    if rejected:
        rows = [(e["line"], e["organization_id"], e["reason"], e["detail"]) for e in rejected[:PROBLEMS_SHOWN_MAX]]
        title = f"Rejected, first {len(rows)} of {len(rejected)}" if len(rejected) > len(rows) else "Rejected"
        out.print(table(title, {"line": "right", "organization": "left", "reason": "left", "detail": "left"}, rows))
    names = ("organization_id", "item_id", "charge_way", "state", "percent")
    numbers = ("quota", "used", "in_grace", "over", "active", "consumed", "budget", "attributed")
    columns = dict.fromkeys(names, "left") | {"percent": "right"} | dict.fromkeys(numbers, "right")
    rows = [tuple(item.get(column) for column in columns) for item in results["items"]]
    out.print(table("Items", {name.removesuffix("_id"): justify for name, justify in columns.items()}, rows))
    for item in results["items"]:
        if item.get("slots"):
            slot_rows = [(slot, use["allotted"], use["exceptions"]) for slot, use in item["slots"].items()]
            columns = {"slot": "left", "allotted": "right", "exceptions": "right"}
            out.print(table(f"Slots of item {item['item_id']}", columns, slot_rows))
    units = [
        (p["project_id"], feature, count) for p in results["projects"] for feature, count in p["by_feature"].items()
    ]
    out.print(table("Projects", {"project": "left", "feature": "left", "count": "right"}, units))
    _show_messages(results)


def _show_messages(results: dict[str, Any]) -> None:
    fields = ("at", "kind", "project_id", "item_id", "client_uuid", "value", "limit", "percent")
    rows = [tuple(breach.get(name) for name in fields) for breach in results["breaches"]]
    if rows:
        right = ("value", "limit", "percent")
        columns = {name.removesuffix("_id"): "right" if name in right else "left" for name in fields}
        out.print(table("Breach events", columns, rows))
    rows = [
        (
            alert["checked_at"],
            alert["organization_id"],
            condition.get("item_id") or condition.get("project_id"),
            condition["metric"],
            condition["value"],
            condition.get("quota"),
            condition.get("percent"),
            f"{condition['level']} %" if condition["metric"] != "expires_in_days" else f"{condition['level']} days",
        )
        for alert in results["alerts"]
        for condition in alert["conditions"]
    ]
    if rows:
        columns = dict.fromkeys(("checked at", "organization", "of", "metric"), "left")
        columns |= dict.fromkeys(("value", "of quota", "percent", "level"), "right")
        out.print(table("Usage alerts", columns, rows))
