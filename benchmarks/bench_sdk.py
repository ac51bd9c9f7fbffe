"""What recording costs: `SyncUsageClient.record("qr")` against OpenTelemetry's `counter.add(1, attributes)`.

Both are called as an application would, the same feature (or attributes) each time, from one thread and from four. The
client has a spool on the disk, so what it counted survives `kill -9`; no server answers it. The counter has an
in-memory reader, no exporter, and survives nothing. Nothing is subtracted for the loop. Rounds alternate, and the best
of each is shown: other processes may use the machine. Exit code 1 when a call got lost, or when one record costs more
than the target.

CPU is the process's time for one call, wall what passes for one call of all threads together (they share the GIL).
"""

import json
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Annotated, Any, NamedTuple

import typer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.producers import SyncUsageClient

ROUNDS = 7
THREADS = (1, 4)
#: "Less than a microsecond or two" is what the recorder promises; from one thread.
CPU_NS_MAX = 2_000
#: Nobody answers there.
NOWHERE = "http://127.0.0.1:1"
KEY = f"lmk_{'k' * 16}_{'s' * 43}"
ATTRIBUTES = {"feature": "qr"}

Loop = Callable[[int], None]


class Cost(NamedTuple):
    """Nanoseconds for one call."""

    cpu_ns: float
    wall_ns: float


def licmeter_loop(client: SyncUsageClient) -> Loop:
    def loop(calls: int) -> None:
        record = client.record
        for _ in range(calls):
            record("qr")

    return loop


def opentelemetry_loop(counter: Any) -> Loop:
    def loop(calls: int) -> None:
        add, attributes = counter.add, ATTRIBUTES
        for _ in range(calls):
            add(1, attributes)

    return loop


def measure(loop: Loop, calls: int, threads: int) -> Cost:
    """Run the loop in some threads at once, `calls` in all."""
    ready, go = threading.Barrier(threads + 1), threading.Event()

    def run() -> None:
        ready.wait()
        go.wait()
        loop(calls // threads)

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    ready.wait()
    cpu, wall = process_time_ns(), perf_counter_ns()
    go.set()
    for thread in started:
        thread.join()
    return Cost((process_time_ns() - cpu) / calls, (perf_counter_ns() - wall) / calls)


def best(costs: list[Cost]) -> Cost:
    return Cost(min(cost.cpu_ns for cost in costs), min(cost.wall_ns for cost in costs))


def compare(spool: Path, calls: int) -> tuple[dict[int, dict[str, Cost]], dict[str, int]]:
    """Return the costs by threads and side, and how many calls each side says it counted."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    counter = provider.get_meter("bench").create_counter("uses")
    with SyncUsageClient(NOWHERE, license_key=KEY, spool=spool, exit_timeout_s=0.1) as client:
        loops = {"licmeter": licmeter_loop(client), "opentelemetry": opentelemetry_loop(counter)}
        costs: dict[int, dict[str, Cost]] = {}
        for threads in THREADS:
            rounds: dict[str, list[Cost]] = {side: [] for side in loops}
            for _ in range(ROUNDS):
                for side, loop in loops.items():
                    rounds[side].append(measure(loop, calls, threads))
            costs[threads] = {side: best(found) for side, found in rounds.items()}
        counted = {"licmeter": client.stats.recorded_units, "opentelemetry": total(reader)}
        assert not client.stats.in_memory
    provider.shutdown()
    return costs, counted


def total(reader: InMemoryMetricReader) -> int:
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(metric.data, Sum)
    return sum(int(point.value) for point in metric.data.data_points)


def show(costs: dict[int, dict[str, Cost]], versions: str) -> None:
    table = Table(title=f"ns for one call ({versions}; {stage.machine()})", title_justify="left")
    for header in ("threads", "record() CPU", "add() CPU", "ratio", "record() wall", "add() wall", "ratio"):
        table.add_column(header, justify="right")
    for threads, sides in costs.items():
        ours, theirs = sides["licmeter"], sides["opentelemetry"]
        pairs = ((ours.cpu_ns, theirs.cpu_ns), (ours.wall_ns, theirs.wall_ns))
        cells = [text for a, b in pairs for text in (f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.2f}")]
        table.add_row(str(threads), *cells)
    Console().print(table)


def main(
    calls: Annotated[int, typer.Option(help="Calls of a round, by all threads together.")] = 400_000,
    spool: Annotated[
        Path | None, typer.Option(help="A folder to put the spool in; by default a temporary one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure both sides; exit code 1 when a call got lost, or when one record costs more than the target."""
    calls -= calls % max(THREADS)
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        costs, counted = compare(Path(folder), calls)
    versions = f"opentelemetry-sdk {version('opentelemetry-sdk')}"
    expected = calls * ROUNDS * len(THREADS)
    if as_json:
        document = {
            "threads": {
                str(threads): {side: cost._asdict() for side, cost in sides.items()}
                | {
                    "cpu_ratio": sides["licmeter"].cpu_ns / sides["opentelemetry"].cpu_ns,
                    "wall_ratio": sides["licmeter"].wall_ns / sides["opentelemetry"].wall_ns,
                }
                for threads, sides in costs.items()
            },
            "calls": expected,
            "counted": counted,
            "cpu_ns_max": CPU_NS_MAX,
            "peer": versions,
            "machine": stage.machine(),
        }
        print(json.dumps(document))
    else:
        show(costs, versions)
        print(f"{expected:,} calls of each; counted: " + ", ".join(f"{side} {n:,}" for side, n in counted.items()))
    lost = any(number != expected for number in counted.values())
    raise typer.Exit(lost or costs[1]["licmeter"].cpu_ns > CPU_NS_MAX)


if __name__ == "__main__":
    typer.run(main)
