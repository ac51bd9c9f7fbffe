"""Memory of the worker over a run of two million reports.

The duplicate memory must grow by 24 bytes a report in sorted arrays (and has up to 200,000 young ones in a dictionary);
what is beyond that between the first quarter and the end is growth that has no reason.
"""

import json
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings

WAIT_S_MAX = 900.0
SAMPLES = 20
MIB = 1024 * 1024
#: Arrays of the duplicate memory, twice while two runs are merged.
BYTES_A_REPORT = 2 * 24
#: What fragmentation and buffers may take on top.
ALLOWED_GROWTH_MIB = 64


def watch(worker: stage.Child, events: int) -> list[tuple[int, float]]:
    """Return (events counted, RSS in MiB) as the worker goes through the log."""
    process = psutil.Process(worker.pid)
    samples: list[tuple[int, float]] = []
    deadline = monotonic() + WAIT_S_MAX
    counted = 0
    while counted < events:
        if monotonic() > deadline or not worker.alive:
            raise SystemExit(f"the worker did not finish:\n{worker.last_words()}")
        sleep(0.5)
        counted = sum(records for _, records in stage.batches(worker.log))
        samples.append((counted, process.memory_info().rss / MIB))
    return samples


def main(
    reports: Annotated[int, typer.Option(help="Reports to count.")] = 2_000_000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Fill a topic, let one worker count it, and show its memory."""
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="licmeter-bench-") as name, errors.status("starting Kafka") as status:
        folder = Path(name)
        with EmbeddedKafka(KafkaSettings(port=0), folder / "kafka") as kafka:
            status.update(f"sending {reports:,} reports")
            fleet = stage.make_fleet(reports, organizations=50)
            stage.fill(kafka.bootstrap_servers, fleet, lambda _: None)
            total = fleet.ledger.total_sent + fleet.ledger.catalogs
            status.update("counting")
            worker = stage.worker(kafka.bootstrap_servers, folder / "licmeter", LICMETER_LOG_LEVEL="DEBUG")
            worker.start()
            try:
                samples = watch(worker, total)
            finally:
                worker.stop()
    quarter = next(sample for sample in samples if sample[0] >= total / 4)
    growth = samples[-1][1] - quarter[1]
    allowed = (total - quarter[0]) * BYTES_A_REPORT / MIB + ALLOWED_GROWTH_MIB
    if as_json:
        print(json.dumps({"samples": samples, "growth_mib": growth, "allowed_mib": allowed}))
    else:
        table = Table(title=f"Worker over {total:,} reports ({stage.machine()})", title_justify="left")
        table.add_column("counted", justify="right")
        table.add_column("RSS, MiB", justify="right")
        for counted, rss in [*samples[:: max(1, len(samples) // SAMPLES)], samples[-1]]:
            table.add_row(f"{counted:,}", f"{rss:,.0f}")
        Console().print(table)
        Console().print(f"grown by {growth:,.0f} MiB since the first quarter; {allowed:,.0f} MiB are explained")
    raise typer.Exit(growth > allowed)


if __name__ == "__main__":
    typer.run(main)
