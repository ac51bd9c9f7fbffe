"""What commands print: tables and messages for people, one JSON document for machines."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["JsonOption", "errors", "out", "print_json", "progress_bar", "table"]

#: Results go to stdout, everything about how they came to be to stderr, so that `--json | jq` works.
#: Without a terminal there is no width to keep to, and what reads the output is better off without broken lines.
_PIPED_WIDTH = 140
out = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
errors = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def print_json(document: Any) -> None:
    """Print a result for machines."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def table(title: str, columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> Table:
    """Build a table; `columns` maps headers to "left" or "right"."""
    result = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    for header, justify in columns.items():
        # Figures are never broken over lines; words may be.
        right = justify == "right"
        result.add_column(header, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        result.add_row(*(_cell(value) for value in row))
    return result


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


@contextmanager
def progress_bar(description: str, total: float | None) -> Iterator[tuple[Progress, Any]]:
    """Show a bar on stderr while something long runs; yields the display and its one task."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=False) as bars:
        yield bars, bars.add_task(description, total=total)
