"""Commands that bring reports in: `send` and `import lmstat`."""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from licmeter.runtime.cli.importing import importing
from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.settings import Settings, load_settings

__all__ = ["register"]

PROBLEMS_SHOWN_MAX = 20
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait until the reports are counted; 0 = do not wait.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(importing, name="import")
    app.command()(send)


def send(
    file: Annotated[Path, typer.Argument(help="JSON lines, one report or CloudEvent a line; - for standard input.")],
    wait: WaitOption = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the lines and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send reports from a file to Kafka.

    Lines that are no reports are shown and not sent; the others go. Exit code 1 when there were such lines.
    """
    from licmeter.producers.reading import ReadEvent, read_events, read_lines

    settings = load_settings()
    problems: list[tuple[int, str]] = []

    def good(source: BinaryIO) -> Iterator[tuple[bytes | None, bytes | None]]:
        for line in read_events(read_lines(source)):
            if isinstance(line, ReadEvent):
                yield line.key, line.value
            else:
                problems.append((line.line_number, line.message))

    with ExitStack() as stack:
        source = _open(file, stack)
        if dry_run:
            count = sum(1 for _ in good(source))
            result: dict[str, Any] = {"lines_good": count, "sent": 0}
        else:
            result = deliver(settings, good(source), wait=wait, description=f"sending {file.name}")
    result["problems"] = [{"line": number, "message": message} for number, message in problems]
    if as_json:
        print_json(result)
    else:
        show_result(result)
    raise typer.Exit(bool(problems))


def _open(file: Path, stack: ExitStack) -> BinaryIO:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error


def deliver(
    settings: Settings, pairs: Iterable[tuple[bytes | None, bytes | None]], *, wait: float, description: str
) -> dict[str, Any]:
    """Send events with a progress bar, wait until they are counted, and return what became of them."""
    from licmeter.producers.errors import SendError
    from licmeter.producers.sending import send_events
    from licmeter.runtime.settling import wait_until_counted
    from licmeter.runtime.wiring import clickhouse_target

    with progress_bar(description, total=None) as (bars, task):
        try:
            spans = asyncio.run(
                send_events(settings.bootstrap_servers, pairs, lambda sent: bars.update(task, completed=sent))
            )
        except SendError as error:
            raise ServiceError(
                f"{error}; {error.sent} reports were confirmed before",
                service="kafka",
                hint="is licmeter running (`licmeter up`)? Sending the file again counts nothing twice",
            ) from error
    sent = sum(span.count for span in spans)
    result: dict[str, Any] = {"sent": sent}
    if sent and wait:
        with errors.status("waiting until they are counted"):
            settled = wait_until_counted(clickhouse_target(settings), spans, wait)
        result |= {"outcomes": settled.outcomes, "rejected": settled.rejected, "not_counted_yet": settled.open}
    return result


def show_result(result: dict[str, Any]) -> None:
    """Print what became of the reports, for people."""
    outcomes, rejected = result.get("outcomes", {}), result.get("rejected", {})
    counted = ", ".join(f"{outcomes.get(name, 0):,} {name}" for name in ("charged", "uncharged", "duplicate"))
    line = f"{result['sent']:,} reports sent"
    if "outcomes" in result:
        line += f": {counted}, {sum(rejected.values()):,} rejected"
    out.print(line, highlight=False)
    for reason, count in sorted(rejected.items()):
        out.print(f"  rejected as {reason}: {count:,}", style="yellow", highlight=False)
    if result.get("not_counted_yet"):
        errors.print(
            f"{result['not_counted_yet']:,} are not in ClickHouse yet; they are safe in Kafka and will be counted "
            "when worker and sink run (`licmeter up`).",
            style="yellow",
            highlight=False,
        )
    problems = result.get("problems", [])
    if problems:
        rows = [(entry["line"], entry["message"]) for entry in problems[:PROBLEMS_SHOWN_MAX]]
        errors.print(table("Lines that are no reports, not sent", {"line": "right", "what is wrong": "left"}, rows))
        if len(problems) > PROBLEMS_SHOWN_MAX:
            errors.print(f"… and {len(problems) - PROBLEMS_SHOWN_MAX} more (all of them with --json)")
