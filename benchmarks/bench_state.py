"""State at production size: memory and disk of a worker that remembers ten million reports, and its way back.

One worker counts reports of 29 days of slots, in the order of the slots but for some late ones, on cumulative, device
and concurrency items in equal parts. So it remembers each report for 32 days, and slots for 33. Then it is started
again, first with its data directory and then without: it must recover everything from the changelogs.

Each start finds probes waiting: repetitions of early reports, which must be duplicates, and for each organization
reports for a slot that is one device over its quota already. Of those a known device adds nothing and a new one adds
exactly one exception; with the slot lost it would add none. A start has ended when all probes are counted.

Memory is the kernel's own peak of the resident set, so it is exact; disk is what files occupy, not their length.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.producers.sending import send_events
from licmeter.producers.simulation.wire import DATA, HEAD, device_middle, instant_bytes, report_tail
from licmeter.runtime.children import Child
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings
from licmeter.runtime.topics import apply_topics
from licmeter.schemas.catalog import Organization, catalog_event
from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.schemas.outcomes import ChargeWay, Outcome
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import ALL_TOPICS, LICENSE_COUNTERS

MB: Final = 10**6
RSS_BYTES_MAX: Final = 500 * MB
DISK_BYTES_MAX: Final = 2_000 * MB
RECOVERY_S_MAX: Final = 120.0
#: The slowest that counting may be before the run is given up, in reports/s, beside a minute to start.
COUNTING_RATE_MIN: Final = 2_000
START_S_MAX: Final = 900.0
#: Seconds between two looks.
INTERVAL_S: Final = 0.5
SLOT_S: Final = 180
DAY_S: Final = 86_400
#: Reports are accepted for 30 days; one is left for the run, at whose end the oldest are sent again.
SLOT_DAYS: Final = 29
#: Of a hundred reports: for any earlier slot, which mostly is not in memory any more.
LATE_PERCENT: Final = 5
DEVICES_OF_A_PROJECT: Final = 40
#: Of a concurrency item: devices in one slot.
QUOTA: Final = 5
#: Reports of the run that each start is sent again.
REPEATED: Final = 1_000

Record = tuple[bytes, bytes]  # key, value
WAYS: Final = {"u": ChargeWay.PER_SCAN, "d": ChargeWay.PER_DEVICE, "c": ChargeWay.PER_CONCURRENT_DEVICE}


class Device(NamedTuple):
    """A device: the key of its records, and what stands in them between id and slot."""

    key: bytes
    middle: bytes


@dataclass
class Load:
    """All records of a run. `repeated` and `accepted` are complete when `records` was taken to its end."""

    reports: int
    organizations: int
    now: datetime
    repeated: list[Record] = field(default_factory=list)
    accepted: int = 0

    def __post_init__(self) -> None:
        self._random = Random(1)
        self._names = [f"org{number}" for number in range(self.organizations)]
        self._tail = b'{"qr":3}' + report_tail(self.now.timestamp(), 1)
        last_s = int(self.now.timestamp()) // SLOT_S * SLOT_S - SLOT_S
        slots_s = range(last_s - SLOT_DAYS * DAY_S, last_s + SLOT_S, SLOT_S)
        self._slots = [instant_bytes(slot_s) for slot_s in slots_s]
        self._probed_slot = self._slots.pop(0)  # no other report is for this slot

    def records(self) -> Iterator[Record]:
        """Yield the catalogs, the slots to be probed, and then the reports."""
        for name in self._names:
            event = catalog_event(_document(name, self.now), event_id=f"c-{name}", source="bench", time=self.now)
            yield name.encode(), encode_event(event)
        for name in self._names:
            for client in range(QUOTA + 1):
                self.accepted += 1
                yield self._probe(name, client, 0)
        yield from self._reports()

    def _reports(self) -> Iterator[Record]:
        devices = [device for name in self._names for device in self._devices(name)]
        slots, tail, draw = self._slots, self._tail, self._random.random
        every = max(1, self.reports // REPEATED)
        for number in range(self.reports):
            place = number * len(slots) // self.reports
            if draw() * 100 < LATE_PERCENT:
                place = int(draw() * place)
            device = devices[int(draw() * len(devices))]
            record = device.key, b"%b%x%b%b%b%b" % (HEAD, number, device.middle, slots[place], DATA, tail)
            if number % every == 0:
                self.repeated.append(record)
            yield record
        self.accepted += self.reports

    def probes(self, start: int) -> list[Record]:
        """Return what a start (1, 2, …) must recognize: repetitions, and a known and a new device for each slot."""
        repeated = self.repeated + [self._probe(name, client, 0) for name in self._names for client in range(QUOTA)]
        new = [self._probe(name, client, start) for name in self._names for client in (0, QUOTA + start)]
        self.accepted += len(new)
        return repeated + new

    @property
    def repeated_at_a_start(self) -> int:
        return len(self.repeated) + QUOTA * self.organizations

    def _probe(self, name: str, client: int, start: int) -> Record:
        middle = device_middle(f"probe-{client}", project_id=f"{name}-c", organization_id=None)
        return name.encode(), b"%bp-%d-%d%b%b%b%b" % (HEAD, client, start, middle, self._probed_slot, DATA, self._tail)

    def _devices(self, name: str) -> Iterator[Device]:
        for project in WAYS:
            for _ in range(DEVICES_OF_A_PROJECT):
                client_uuid = str(UUID(int=self._random.getrandbits(128), version=4))
                middle = device_middle(client_uuid, project_id=f"{name}-{project}", organization_id=None)
                yield Device(name.encode(), middle)


def _document(name: str, now: datetime) -> Organization:
    dates = {"starts_at": now - timedelta(days=100), "expires_at": now + timedelta(days=200)}
    items: list[dict[str, Any]] = [
        {"item_id": project, "charge_way": way, **dates, **_terms(way)} for project, way in WAYS.items()
    ]
    return Organization.model_validate(
        {
            "organization_id": name,
            "license_files": [{"license_id": "L", "items": items}],
            "projects": [{"project_id": f"{name}-{project}", "item_ids": [project]} for project in WAYS],
        }
    )


def _terms(way: ChargeWay) -> dict[str, Any]:
    if way is ChargeWay.PER_DEVICE:
        return {"activity_period": "monthly"}
    # A budget that no run exhausts.
    return {"quota": QUOTA, "overuse_budget": 10**9} if way is ChargeWay.PER_CONCURRENT_DEVICE else {}


@dataclass
class Use:
    """What a run of the worker took at most, in bytes, and what it had at its end."""

    rss_peak: int = 0
    rss_end: int = 0
    disk_peak: int = 0
    disk_end: int = 0

    def look(self, pid: int, folder: Path) -> None:
        self.rss_peak = max(self.rss_peak, rss_peak(pid))
        self.rss_end = psutil.Process(pid).memory_info().rss
        self.disk_end = disk_bytes(folder) + unnamed_bytes(pid)
        self.disk_peak = max(self.disk_peak, self.disk_end)


class Started(NamedTuple):
    """A start: seconds until all partitions were loaded, and until all probes were counted."""

    loaded_s: float
    counted_s: float
    use: Use


def rss_peak(pid: int) -> int:
    """Return the highest resident set of a process so far, in bytes, as Linux keeps it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def disk_bytes(*folders: Path) -> int:
    """Return what the files below some folders occupy."""
    return sum(_occupied(path) for folder in folders for path in folder.rglob("*"))


def unnamed_bytes(pid: int) -> int:
    """Return what the open files of a process occupy that have no name any more: the rests of remembered reports."""
    links = list(Path(f"/proc/{pid}/fd").iterdir())
    return sum(link.stat().st_blocks * 512 for link in links if _target(link).endswith("(deleted)"))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed in this moment
        return ""


def _occupied(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:  # compacted away in this moment
        return 0


class Run:
    """One broker, and the starts of one worker on it."""

    def __init__(self, servers: str, folder: Path, load: Load, poll_records: int | None) -> None:
        self.servers = servers
        self.folder = folder
        self.data = folder / "worker"
        self.load = load
        self._settings = {} if poll_records is None else {"LICMETER_STREAM__POLL_RECORDS_MAX": str(poll_records)}
        self._starts = 0
        self._catalogs = load.organizations
        self._seconds_from = monotonic()

    def say(self, text: str) -> None:
        """Tell on stderr how far the run is."""
        print(f"{monotonic() - self._seconds_from:7.1f} s  {text}", file=sys.stderr, flush=True)

    def fill(self) -> None:
        """Make the topics and send all records."""
        asyncio.run(apply_topics(self.servers, ALL_TOPICS, partitions=stage.PARTITIONS, replication_factor=1))
        told = 0

        def tell(sent: int) -> None:
            nonlocal told
            if sent - told >= self.load.reports / 10:
                told = sent
                self.say(f"sent {sent:,}")

        asyncio.run(send_events(self.servers, self.load.records(), tell))

    def count(self) -> tuple[Use, float]:
        """Let a worker count all records; return what it took, and events/s."""
        total = self.load.accepted + self._catalogs
        worker = self._worker("count")
        began = monotonic()
        worker.start()
        use = self._watch(worker, total, 60 + total / COUNTING_RATE_MIN)
        return use, total / (monotonic() - began)

    def start(self, title: str) -> Started:
        """Send probes, start the worker, and stop it when it has counted them; `count` was called before."""
        self._starts += 1
        probes = self.load.probes(self._starts)
        asyncio.run(send_events(self.servers, probes))
        before = asyncio.run(self._exceptions())
        worker = self._worker(title.replace(" ", "-"))
        began_s = datetime.now(UTC).timestamp()
        worker.start()
        use = self._watch(worker, len(probes), START_S_MAX)
        self._verify(worker.log, before)
        return Started(
            stage.last_event(worker.log, "partition_loaded") - began_s,
            stage.last_event(worker.log, "batch_counted") - began_s,
            use,
        )

    def _worker(self, name: str) -> Child:
        log = self.folder / f"{name}.log"
        return stage.worker(self.servers, self.data, log=log, LICMETER_LOG_LEVEL="DEBUG", **self._settings)

    def _watch(self, worker: Child, events: int, seconds_max: float) -> Use:
        """Look at the worker until it has counted some events, and stop it."""
        use, counted, told, deadline = Use(), 0, 0, monotonic() + seconds_max
        try:
            while counted < events:
                if monotonic() > deadline or not worker.alive:
                    raise SystemExit(f"the worker did not finish:\n{worker.last_words()}")
                sleep(INTERVAL_S)
                counted = stage.progress(worker.log)[0]
                use.look(worker.pid, self.data)
                if counted - told >= events / 10:
                    told = counted
                    self.say(f"counted {counted:,}: RSS {use.rss_end / MB:,.0f} MB, disk {use.disk_end / MB:,.0f} MB")
        finally:
            worker.stop()
        return use

    def _verify(self, log: Path, before: dict[bytes, int]) -> None:
        """Check that duplicates were recognized and that each probed slot took exactly one exception more."""
        duplicates = stage.outcomes(log)[Outcome.DUPLICATE]
        if duplicates != self.load.repeated_at_a_start:
            raise SystemExit(f"{duplicates} duplicates recognized, not {self.load.repeated_at_a_start}")
        after = asyncio.run(self._exceptions())
        if after != {item: consumed + 1 for item, consumed in before.items()}:
            raise SystemExit("slots were not as before: a new device in a full slot must consume exactly one exception")

    async def _exceptions(self) -> dict[bytes, int]:
        """Return what is consumed of each concurrency item."""
        latest = await read_compacted(self.servers, LICENSE_COUNTERS.name)
        records = {key: parse_counters(value) for key, value in latest.items()}
        return {
            key: record.consumed
            for key, record in records.items()
            if isinstance(record, ItemCounters) and record.charge_way is ChargeWay.PER_CONCURRENT_DEVICE
        }

    def changelogs(self) -> dict[str, int]:
        """Return what each changelog occupies in the broker's log directory, in bytes, by table."""
        sizes: dict[str, int] = {}
        for folder in (self.folder / "kafka").rglob("licmeter-stream-*-changelog-*"):
            table = folder.name.split("-")[2]
            sizes[table] = sizes.get(table, 0) + disk_bytes(folder)
        return sizes


class Figure(NamedTuple):
    """A line of the result; `bound` None is only shown."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def broken(self) -> bool:
        return self.bound is not None and self.value >= self.bound


def measure(run: Run) -> list[Figure]:
    """Go through a whole run."""
    run.fill()
    run.say("counting")
    use, rate = run.count()
    figures = [Figure("counting", rate, "events/s"), *_use("counting", use)]
    figures += [Figure(f"changelog {table}", size / MB, "MB") for table, size in sorted(run.changelogs().items())]
    run.say("plain restart")
    figures += _started("plain restart", run.start("plain restart"))
    shutil.rmtree(run.data)
    run.say("recovery")
    figures += _started("recovery", run.start("recovery"))
    return figures


def _use(title: str, use: Use) -> list[Figure]:
    return [
        Figure(f"{title}: RSS, peak", use.rss_peak / MB, "MB", RSS_BYTES_MAX / MB),
        Figure(f"{title}: RSS at the end", use.rss_end / MB, "MB", RSS_BYTES_MAX / MB),
        Figure(f"{title}: disk, peak", use.disk_peak / MB, "MB", DISK_BYTES_MAX / MB),
        Figure(f"{title}: disk at the end", use.disk_end / MB, "MB", DISK_BYTES_MAX / MB),
    ]


def _started(title: str, started: Started) -> list[Figure]:
    return [
        Figure(f"{title}: all partitions loaded", started.loaded_s, "s", RECOVERY_S_MAX),
        Figure(f"{title}: probes counted", started.counted_s, "s", RECOVERY_S_MAX),
        *_use(title, started.use),
    ]


def show(figures: list[Figure], reports: int) -> None:
    """Print the figures beside their bounds."""
    table = Table(title=f"One worker that remembers {reports:,} reports ({stage.machine()})", title_justify="left")
    table.add_column("")
    for header in ("measured", "below"):
        table.add_column(header, justify="right")
    for figure in figures:
        digits = 1 if figure.unit == "s" else 0
        bound = "" if figure.bound is None else f"{figure.bound:,.0f} {figure.unit}"
        value = f"{figure.value:,.{digits}f} {figure.unit}"
        table.add_row(figure.name, f"[red]{value}[/red]" if figure.broken else value, bound)
    Console().print(table)


def main(
    reports: Annotated[int, typer.Option(min=10_000, help="Reports to remember.")] = 10_000_000,
    organizations: Annotated[int, typer.Option(min=1)] = 50,
    poll_records: Annotated[int | None, typer.Option(min=1, help="Of a batch; by default as set.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    keep: Annotated[Path | None, typer.Option(help="A folder for all data, which then stays.")] = None,
) -> None:
    """Let one worker count, start it again with and without its data, and compare with the bounds."""
    with tempfile.TemporaryDirectory(prefix="licmeter-bench-") as name:
        folder = keep or Path(name)
        with EmbeddedKafka(KafkaSettings(port=0), folder / "kafka") as kafka:
            load = Load(reports, organizations, datetime.now(UTC))
            figures = measure(Run(kafka.bootstrap_servers, folder, load, poll_records))
    if as_json:
        named = {f"{figure.name}, {figure.unit}": figure.value for figure in figures}
        print(json.dumps({"reports": reports, "organizations": organizations, "machine": stage.machine()} | named))
    else:
        show(figures, reports)
    raise typer.Exit(any(figure.broken for figure in figures))


if __name__ == "__main__":
    typer.run(main)
