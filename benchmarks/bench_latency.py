"""How long until an accepted report is in the statistics, and a breach on `license.alerts`, at half of peak load.

All parts run as processes, as under `licmeter up`. First the peak is measured: records a second from the first that is
sent to the last that is in the tables. Then load comes at half of that, and probes go through the gateway, one report
each of a client of a project that no license covers: the report must show in the day's detail of the statistics, and
its breach (`unlicensed_use`) on the topic. All clocks start when the probe is handed to the gateway, so the figures
contain the acceptance, which is shown, too.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from benchmarks.load_kafka import ORGANIZATIONS
from licmeter.analytics.statistics.api import Statistics
from licmeter.analytics.statistics.details import DetailBy
from licmeter.runtime.cli.output import errors
from licmeter.runtime.kafka.progress import ignore_progress
from licmeter.runtime.licenses import apply_documents
from licmeter.runtime.settings import ClickHouseSettings, GatewaySettings, KafkaSettings, Settings
from licmeter.runtime.stack import Stack
from licmeter.runtime.wiring import clickhouse_target
from licmeter.schemas.catalog import Organization
from licmeter.schemas.license_keys import make_license_key
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.schemas.topics import LICENSE_ALERTS

PEAK_RECORDS = 300_000
PROBE = "probe"
PROBES_A_SECOND = 4.0
#: How often the statistics are asked: each question takes processor time from what is measured.
STATISTICS_POLL_S = 0.1
POLL_S = 0.02
SETTLE_S_MAX = 30.0
TARGETS_S = {"statistics": 3.0, "breach": 2.0}


def documents(key: Any, now: datetime) -> list[Organization]:
    """The organizations of the load have a license, that of the probe has none."""
    found = [
        Organization.model_validate(
            {
                "organization_id": PROBE,
                "projects": [{"project_id": f"{PROBE}-main", "license_keys": [key.model_dump()]}],
            }
        )
    ]
    for name in ORGANIZATIONS:
        item = {
            "item_id": "A",
            "charge_way": "per_scan",
            "starts_at": now - timedelta(days=90),
            "expires_at": now + timedelta(days=90),
        }
        found.append(
            Organization.model_validate(
                {
                    "organization_id": name,
                    "default_project_id": f"{name}-main",
                    "license_files": [{"license_id": "L", "items": [item]}],
                    "projects": [{"project_id": f"{name}-main", "item_ids": ["A"]}],
                }
            )
        )
    return found


def stored(client: Any) -> int:
    """Return how many records of the load are in the tables."""
    ((count,),) = client.query("SELECT count() FROM usage_attributed WHERE line = 0").result_rows
    return int(count)


def load(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.load_kafka", settings.bootstrap_servers, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def measure_peak(settings: Settings, client: Any, count: int) -> float:
    """Return records a second, from the first that is sent to the last that is in the tables."""
    before, began = stored(client), time.monotonic()
    process = load(settings, "peak", "count", str(count))
    while stored(client) < before + count:
        if process.poll() not in (None, 0):
            raise SystemExit("the load failed")
        time.sleep(0.2)
    return count / (time.monotonic() - began)


class Probes:
    """Reports that are sent one by one, and when each was seen where."""

    def __init__(self, settings: Settings, key: str) -> None:
        self.settings = settings
        self.key = key
        self.sent: dict[str, float] = {}
        self.seen: dict[str, dict[str, float]] = {"accepted": {}, "statistics": {}, "breach": {}}

    async def run(self, seconds: float) -> None:
        """Send for some seconds, then wait for what is open, within a bound."""
        consumer = AIOKafkaConsumer(LICENSE_ALERTS.name, bootstrap_servers=self.settings.bootstrap_servers)
        await consumer.start()
        watching = [asyncio.create_task(self._watch_topic(consumer)), asyncio.create_task(self._watch_statistics())]
        try:
            await self._send(seconds)
            async with asyncio.timeout(SETTLE_S_MAX):
                while any(len(found) < len(self.sent) for found in self.seen.values()):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        finally:
            for task in watching:
                task.cancel()
            await consumer.stop()

    async def _send(self, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/cloudevents+json"}
        began = time.monotonic()
        async with httpx.AsyncClient(base_url=self.settings.gateway_url, headers=headers) as http:
            posts = []
            while time.monotonic() - began < seconds:
                posts.append(asyncio.create_task(self._post(http, f"probe-{len(self.sent)}")))
                await asyncio.sleep(1 / PROBES_A_SECOND)
            await asyncio.gather(*posts)

    async def _post(self, http: httpx.AsyncClient, client_uuid: str) -> None:
        slot = datetime.fromtimestamp(int(time.time()) // 180 * 180, UTC)
        event = usage_report(
            report_id=client_uuid,
            client_uuid=client_uuid,
            slot=slot,
            counts={"qr": 1},
            project_id=f"{PROBE}-main",
            sent_at=datetime.now(UTC),
        )
        self.sent[client_uuid] = time.monotonic()
        answer = await http.post("/v1/events", content=encode_event(event))
        answer.raise_for_status()
        self.seen["accepted"][client_uuid] = time.monotonic()

    async def _watch_topic(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            event = json.loads(record.value)
            name = event["data"].get("client_uuid")
            if event["data"].get("kind") == "unlicensed_use" and name in self.sent:
                self.seen["breach"].setdefault(name, time.monotonic())

    async def _watch_statistics(self) -> None:
        client = await asyncio.to_thread(clickhouse_target(self.settings).connect)
        statistics = Statistics(client, PROBE)
        while True:
            answer = await asyncio.to_thread(statistics.day_detail, datetime.now(UTC).date(), DetailBy.REPORT)
            now = time.monotonic()
            for row in answer.value:
                self.seen["statistics"].setdefault(row["client_uuid"], now)
            await asyncio.sleep(STATISTICS_POLL_S)

    def figures(self, what: str) -> tuple[float, float, float]:
        """Return median, 99th percentile and worst, in seconds."""
        taken = sorted(at - self.sent[name] for name, at in self.seen[what].items())
        return taken[len(taken) // 2], taken[max(0, -(-99 * len(taken) // 100) - 1)], taken[-1]


def main(
    seconds: Annotated[float, typer.Option(help="How long probes are sent.")] = 60.0,
    peak_records: Annotated[int, typer.Option(help="Records with which the peak is measured.")] = PEAK_RECORDS,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    now = datetime.now(UTC)
    text, key = make_license_key(os.urandom, label="bench", created_at=now)
    with tempfile.TemporaryDirectory(prefix="licmeter-bench-") as folder:
        settings = Settings(
            data_dir=Path(folder),
            kafka=KafkaSettings(port=0),
            clickhouse=ClickHouseSettings(port=0),
            gateway=GatewaySettings(port=0),
        )
        with Stack(settings, ("stream", "sink", "gateway")) as stack:
            stack.start(lambda step: errors.print(f"bench: {step}", highlight=False), ignore_progress)
            asyncio.run(apply_documents(stack.settings, documents(key, now)))
            client = clickhouse_target(stack.settings).connect()
            errors.print("bench: measuring the peak", highlight=False)
            measure_peak(stack.settings, client, peak_records // 10)  # warm
            peak = measure_peak(stack.settings, client, peak_records)
            errors.print(
                f"bench: peak {peak:,.0f} records/s; probing at half of it for {seconds:.0f} s", highlight=False
            )
            before = stored(client)
            process = load(stack.settings, "half", "pace", str(peak / 2), str(seconds + 5))
            probes = Probes(stack.settings, text)
            asyncio.run(probes.run(seconds))
            out, _ = process.communicate(timeout=SETTLE_S_MAX)
            loaded = int(out)
            while stored(client) < before + loaded:
                time.sleep(0.2)
            client.close()
    report(probes, peak, loaded / (seconds + 5), as_json=as_json)


def report(probes: Probes, peak: float, rate: float, *, as_json: bool) -> None:
    figures = {what: probes.figures(what) for what in probes.seen}
    if as_json:
        print(json.dumps({"peak": peak, "load": rate, "probes": len(probes.sent), "seconds": figures}))
    else:
        title = f"{len(probes.sent)} probes at {rate:,.0f} records/s, half of a peak of {peak:,.0f}; {stage.machine()}"
        table = Table(title=title)
        table.add_column("from the request to")
        for column in ("median", "p99", "worst", "target (p99)"):
            table.add_column(column, justify="right")
        for what, (median, p99, worst) in figures.items():
            target = TARGETS_S.get(what)
            style = "red" if target is not None and p99 > target else None
            goal = "" if target is None else f"{target:.1f} s"
            table.add_row(what, f"{median:.2f} s", f"{p99:.2f} s", f"{worst:.2f} s", goal, style=style)
        Console(width=110).print(table)
    raise typer.Exit(any(figures[what][1] > target for what, target in TARGETS_S.items()))


if __name__ == "__main__":
    typer.run(main)
