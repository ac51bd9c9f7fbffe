"""Memory of the worker over a run of two million reports: flat, but for what it must remember.

A worker remembers each accepted report for the days in which it may come again: 12 bytes each, and there is no way
around them. What is beyond that is the rest: the program, data on its way, and the dictionaries of young reports. All
of it has a bound that is reached early, so the rest must not grow between the first quarter and the end.

The rest goes up and down with the batches, by some 20 MiB. So medians are compared, each over a tenth of the run and
both while the worker is at work; an idle worker at the end would be compared with a busy one before.
"""

import json
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Annotated, Final, NamedTuple

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings

WAIT_S_MAX: Final = 900.0
#: Seconds between two looks.
INTERVAL_S: Final = 0.5
ROWS: Final = 20
MIB: Final = 1024 * 1024
#: What the index holds in memory; the other 16 bytes of an entry are in a file (`stream/seen.py`).
REMEMBERED_BYTES: Final = 12
#: Shares of the run that are compared: around the first quarter, and the last tenth.
QUARTER: Final = (0.2, 0.3)
END: Final = (0.9, 1.0)
#: What the rest may grow: the medians of two equal spans of one run differ by some MiB.
SLACK_MIB: Final = 16.0


class Sample(NamedTuple):
    """A look at the worker: events counted, what it must remember of them, and all it has."""

    counted: int
    remembered_mib: float
    rss_mib: float

    @property
    def rest_mib(self) -> float:
        """What is not explained by the reports that must be remembered."""
        return self.rss_mib - self.remembered_mib


def watch(worker: stage.Child, events: int) -> list[Sample]:
    """Look at the worker as it goes through the log, until it is at the end."""
    process = psutil.Process(worker.pid)
    samples: list[Sample] = []
    deadline = monotonic() + WAIT_S_MAX
    while not samples or samples[-1].counted < events:
        if monotonic() > deadline or not worker.alive:
            raise SystemExit(f"the worker did not finish:\n{worker.last_words()}")
        sleep(INTERVAL_S)
        counted, accepted = stage.progress(worker.log)
        samples.append(Sample(counted, accepted * REMEMBERED_BYTES / MIB, process.memory_info().rss / MIB))
    return samples


def typical_rest(samples: list[Sample], total: int, span: tuple[float, float]) -> float:
    """Return the median rest in MiB over a span of the run, given as shares of the total."""
    low, high = (share * total for share in span)
    return median(sample.rest_mib for sample in samples if low <= sample.counted <= high)


def show(samples: list[Sample], total: int) -> None:
    """Print some of the samples."""
    table = Table(title=f"Worker over {total:,} reports, MiB ({stage.machine()})", title_justify="left")
    for header in ("counted", "RSS", "remembered reports", "rest"):
        table.add_column(header, justify="right")
    for sample in [*samples[:: max(1, len(samples) // ROWS)], samples[-1]]:
        figures = (sample.rss_mib, sample.remembered_mib, sample.rest_mib)
        table.add_row(f"{sample.counted:,}", *(f"{mib:,.0f}" for mib in figures))
    Console().print(table)


def main(
    reports: Annotated[
        int, typer.Option(min=500_000, help="Reports to count; of fewer, a tenth is too short.")
    ] = 2_000_000,
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
    before, after = (typical_rest(samples, total, span) for span in (QUARTER, END))
    peak = max(sample.rss_mib for sample in samples)
    if as_json:
        figures = {"rest_at_quarter_mib": before, "rest_at_end_mib": after, "slack_mib": SLACK_MIB, "peak_mib": peak}
        print(json.dumps(figures | {"samples": [sample._asdict() for sample in samples], "machine": stage.machine()}))
    else:
        show(samples, total)
        Console().print(
            f"rest: {before:,.0f} MiB around the first quarter, {after:,.0f} MiB over the last tenth"
            f" ({after - before:+,.0f}; at most {SLACK_MIB:+,.0f} is flat); peak of the RSS {peak:,.0f} MiB"
        )
    raise typer.Exit(after - before > SLACK_MIB)


if __name__ == "__main__":
    typer.run(main)
