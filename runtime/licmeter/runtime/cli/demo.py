"""`licmeter demo`: the main job, once, with its books reconciled."""

import random
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.logs import configure_logging
from licmeter.runtime.settings import Settings, load_settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    reports: Annotated[int, typer.Option(min=1, max=5_000_000, help="How many records the fleet sends.")] = 20_000,
    seed: Annotated[int | None, typer.Option(help="Of the simulation; a random one is drawn and shown.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep everything there; otherwise it is removed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the main job once: a simulated fleet reports, everything is counted, and the books are compared.

    Exit code 1 when the simulator's ledger, the counters and ClickHouse do not agree in every figure.
    """
    from licmeter.producers.simulation import Fleet, demo_scenario
    from licmeter.runtime.demo import reconcile, send_fleet, wait_until_stored
    from licmeter.runtime.kafka.foreground import progress_bars
    from licmeter.runtime.stack import Stack

    configure_logging("WARNING", "text")
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    began = time.monotonic()
    with ExitStack() as cleanup:
        folder = data_dir or Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="licmeter-demo-")))
        stack = cleanup.enter_context(Stack(_own_ports(load_settings(), folder)))
        with progress_bars(errors) as on_kafka:
            stack.start(lambda step: errors.print(f"licmeter: {step}", highlight=False), on_kafka)
        settings, now = stack.settings, datetime.now(UTC)
        scenario = demo_scenario(reports)
        if settings.kafka.bootstrap_servers != _bootstrap_of(stack):
            scenario = scenario.named(f"{now:%Y%m%d%H%M%S}")  # a cluster of somebody's: nobody's numbers change
        fleet = Fleet(scenario, now=now, seed=seed, run=f"demo-{now:%Y%m%d%H%M%S}")
        errors.print(f"licmeter: {scenario.devices} devices, seed {seed}", highlight=False)
        with progress_bar("sending ", total=reports) as (bars, task):
            send_fleet(settings, fleet, lambda sent: bars.update(task, completed=sent))
        with progress_bar("counting", total=fleet.ledger.total_sent) as (bars, task):
            wait_until_stored(settings, fleet.ledger, lambda stored: bars.update(task, completed=stored))
        books = reconcile(settings, fleet.ledger)
        errors.print("licmeter: stopping", highlight=False)
    if as_json:
        print_json(_document(books, seed))
    else:
        _show(books, seed, time.monotonic() - began)
    raise typer.Exit(bool(books.differences))


def _own_ports(settings: Settings, folder: Path) -> Settings:
    """Take any free ports, so that a demo runs beside `licmeter up`."""
    return settings.model_copy(
        update={
            "data_dir": folder,
            "kafka": settings.kafka.model_copy(update={"port": 0}),
            "clickhouse": settings.clickhouse.model_copy(update={"port": 0}),
        }
    )


def _bootstrap_of(stack: Any) -> str | None:
    return None if stack.kafka is None else stack.kafka.bootstrap_servers


def _show(books: Any, seed: int, seconds: float) -> None:
    outcomes = ("sent", "charged", "uncharged", "duplicate", "rejected")
    columns = {"organization": "left"} | dict.fromkeys(outcomes, "right")
    columns |= {"ledger = counters": "left", "ledger = ClickHouse": "left"}
    rows = []
    for name, four in books.ledger.items():
        agree = [other.get(name) == four for other in (books.counters, books.clickhouse)]
        rows.append((name or "(of nobody known)", sum(four.values()), *four.values(), *agree))
    totals = [sum(row[place] for row in rows) for place in range(1, 6)]
    rows.append(("all", *totals, all(row[6] for row in rows), all(row[7] for row in rows)))
    out.print(table("sent = charged + uncharged + duplicate + rejected", columns, rows))
    figures = ("quota", "used", "in quota", "in grace", "over", "%")
    columns = {"item": "left"} | dict.fromkeys(figures, "right") | {"state": "left"}
    rows = [
        (f"{c.organization_id}/{c.item_id}", c.quota, c.used, c.in_quota, c.in_grace, c.over, c.percent, c.state.value)
        for c in sorted(books.items, key=lambda c: c.key)
    ]
    out.print(table("License items", columns, rows))
    if not books.differences:
        out.print(
            f"[green]All books agree:[/] {totals[0]:,} records, each counted exactly once; {seconds:.0f} s in all.",
            highlight=False,
        )
        return
    out.print(f"[red]The books differ[/] (seed {seed}):", highlight=False)
    for difference in books.differences:
        out.print(f"  {escape(difference)}", highlight=False)


def _document(books: Any, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "ledger": books.ledger,
        "counters": books.counters,
        "clickhouse": books.clickhouse,
        "items": [item.model_dump(mode="json") for item in books.items],
        "differences": books.differences,
    }
