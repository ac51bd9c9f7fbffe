"""Events/s of the stream with full semantics, next to a stock Faust agent with a bare per-key sum.

Same broker, same topic, same events, one after the other; start-up is left out on both sides. Stock Faust is measured
from its first to its last event, licmeter from its first flushed batch to its last (so with its first batch left out).
The target is a ratio of 6 to the stock agent with a table (design 9); the figures themselves depend on the machine. A
stock agent that adds up in a plain dictionary loses its sums with the process; it is shown beside, as the cheaper peer.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings

TARGET_RATIO = 6.0
WAIT_S_MAX = 300.0


def stock(bootstrap_servers: str, events: int, folder: Path, kind: str) -> float:
    """Return events/s of stock Faust."""
    command = [sys.executable, "-m", "benchmarks.stock_faust", bootstrap_servers, str(events), str(folder), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S_MAX, check=True)
    seconds = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("SECONDS"))
    return events / float(seconds)


def licmeter(bootstrap_servers: str, events: int, folder: Path) -> float:
    """Return events/s of licmeter's worker."""
    worker = stage.worker(bootstrap_servers, folder, LICMETER_LOG_LEVEL="DEBUG")
    worker.start()
    deadline = monotonic() + WAIT_S_MAX
    try:
        while sum(records for _, records in stage.batches(worker.log)) < events:
            if monotonic() > deadline or not worker.alive:
                raise SystemExit(f"the worker did not finish:\n{worker.last_words()}")
            sleep(0.5)
    finally:
        worker.stop()
    flushed = stage.batches(worker.log)
    return (events - flushed[0][1]) / (flushed[-1][0] - flushed[0][0])


def main(
    events: Annotated[int, typer.Option(help="Events for licmeter.")] = 400_000,
    stock_events: Annotated[int, typer.Option(help="Events for stock Faust, which is slow.")] = 60_000,
    organizations: int = 50,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Run both and compare."""
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="licmeter-bench-") as name, errors.status("starting Kafka") as status:
        folder = Path(name)
        with EmbeddedKafka(KafkaSettings(port=0), folder / "kafka") as kafka:
            status.update(f"sending {events:,} events")
            fleet = stage.make_fleet(events, organizations)
            stage.fill(kafka.bootstrap_servers, fleet, lambda _: None)
            total = fleet.ledger.total_sent + fleet.ledger.catalogs
            status.update("stock Faust")
            slow = stock(kafka.bootstrap_servers, stock_events, folder / "stock", "table")
            plain = stock(kafka.bootstrap_servers, stock_events, folder / "stock", "dict")
            status.update("licmeter")
            fast = licmeter(kafka.bootstrap_servers, total, folder / "licmeter")
    ratio = fast / slow
    if as_json:
        print(
            json.dumps(
                {
                    "stock_faust": slow,
                    "stock_faust_dict": plain,
                    "licmeter": fast,
                    "ratio": ratio,
                    "ratio_to_dict": fast / plain,
                    "machine": stage.machine(),
                }
            )
        )
    else:
        table = Table(title=f"Stream, one worker ({stage.machine()})", title_justify="left")
        for header in ("", "events", "events/s"):
            table.add_column(header, justify="left" if not header else "right")
        table.add_row("stock Faust agent, a bare per-key sum in a table", f"{stock_events:,}", f"{slow:,.0f}")
        table.add_row("stock Faust agent, the same in a dict (not durable)", f"{stock_events:,}", f"{plain:,.0f}")
        table.add_row("licmeter, full semantics", f"{total:,}", f"{fast:,.0f}")
        table.add_row("ratio to the table (target 6)", "", f"{ratio:.1f}")
        table.add_row("ratio to the dict", "", f"{fast / plain:.1f}")
        Console().print(table)
    raise typer.Exit(ratio < TARGET_RATIO)


if __name__ == "__main__":
    typer.run(main)
