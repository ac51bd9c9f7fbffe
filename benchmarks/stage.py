"""A broker with topics and a load, and one licmeter worker on it: what the stream's benchmarks share."""

import asyncio
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from licmeter.producers.sending import send_events
from licmeter.producers.simulation import Fleet, Kind, load_scenario
from licmeter.runtime.children import Child, monotonic
from licmeter.runtime.topics import apply_topics
from licmeter.schemas.outcomes import Outcome
from licmeter.schemas.topics import ALL_TOPICS

PARTITIONS = 4
#: Of a thousand records: duplicates, late reports and several features, but nothing that a bare sum could not read.
MIX = {Kind.DUPLICATE: 20, Kind.LATE: 30, Kind.OUT_OF_ORDER: 30, Kind.MULTI_FEATURE: 100}


def machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def make_fleet(reports: int, organizations: int) -> Fleet:
    scenario = load_scenario(organizations=organizations, devices=5_000, reports=reports, mix=MIX)
    return Fleet(scenario, now=datetime.now(UTC), seed=1, run="bench")


def fill(bootstrap_servers: str, fleet: Fleet, on_sent: Callable[[int], None]) -> None:
    asyncio.run(apply_topics(bootstrap_servers, ALL_TOPICS, partitions=PARTITIONS, replication_factor=1))
    asyncio.run(send_events(bootstrap_servers, fleet.emissions(), on_sent))


def worker(bootstrap_servers: str, folder: Path, log: Path | None = None, **settings: str) -> Child:
    """Return a worker with its data in a folder; its log, too, unless it is to be elsewhere."""
    environment = os.environ | {
        "LICMETER_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "LICMETER_KAFKA__PARTITIONS": str(PARTITIONS),
        "LICMETER_DATA_DIR": str(folder),
        "LICMETER_LOG_FORMAT": "json",
        **settings,
    }
    return Child(["stream"], log=log or folder / "stream.log", environment=environment, clock=monotonic)


def batches(log: Path) -> list[tuple[float, int]]:
    """Read the worker's log: when each batch was flushed (seconds since 1970), and how many events it had."""
    return [(datetime.fromisoformat(entry["timestamp"]).timestamp(), entry["records"]) for entry in _counted(log)]


def progress(log: Path) -> tuple[int, int]:
    """Read the worker's log: how many events are counted, and how many of them were accepted reports."""
    counted = accepted = 0
    for entry in _counted(log):
        counted += entry["records"]
        accepted += entry[Outcome.CHARGED] + entry[Outcome.UNCHARGED]
    return counted, accepted


def outcomes(log: Path) -> Counter[str]:
    """Read the worker's log: how many reports had which outcome."""
    sums: Counter[str] = Counter()
    for entry in _counted(log):
        sums.update({outcome: entry[outcome] for outcome in Outcome})
    return sums


def last_event(log: Path, event: str) -> float:
    """Read the worker's log: when an event came last, in seconds since 1970."""
    return max(datetime.fromisoformat(entry["timestamp"]).timestamp() for entry in _events(log, event))


def _counted(log: Path) -> Iterator[dict[str, Any]]:
    return _events(log, "batch_counted")


def _events(log: Path, event: str) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        if f'"{event}"' in line:
            yield json.loads(line[line.index("{") :])  # what Faust says to a terminal may stand before it
