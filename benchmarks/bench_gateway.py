"""Reports/s of the gateway, for batches of 1, 100 and 1,000 with acks=all, next to the same server that does nothing.

"A core" is a second of the gateway's own processor time: Kafka and the load run beside it on the same machine, and take
theirs. p50 and p99 are from the client's side, with Kafka's acknowledgment, under full load of a few connections.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep, time
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.producers.sending import send_events
from licmeter.runtime.children import Child
from licmeter.runtime.http import answers
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.kafka.ports import free_port
from licmeter.runtime.settings import KafkaSettings
from licmeter.runtime.topics import apply_topics
from licmeter.schemas.catalog import Organization
from licmeter.schemas.license_keys import make_license_key
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.schemas.topics import ALL_TOPICS, LICENSE_CATALOG

SIZES = (1, 100, 1_000)
CONNECTIONS = {1: 32, 100: 8, 1_000: 4}
TARGET_A_CORE = 20_000
START_S_MAX = 60.0
ORGANIZATIONS = 4


def catalog(number: int, key: Any, now: datetime) -> Organization:
    name = f"bench{number}"
    return Organization.model_validate(
        {
            "organization_id": name,
            "license_files": [
                {
                    "license_id": "L",
                    "items": [
                        {
                            "item_id": "A",
                            "charge_way": "per_scan",
                            "starts_at": now - timedelta(days=90),
                            "expires_at": now + timedelta(days=90),
                        }
                    ],
                }
            ],
            "projects": [{"project_id": f"{name}-main", "item_ids": ["A"], "license_keys": [key.model_dump()]}],
        }
    )


def requests_of(size: int, connection: int, key: str, count: int) -> bytes:
    slot = datetime.fromtimestamp(int(time()) // 180 * 180, UTC)
    parts = []
    for number in range(count):
        events = [
            usage_report(
                report_id=f"{connection}-{number}-{event}",
                client_uuid=f"device-{event % 500}",
                slot=slot,
                counts={"qr": 3},
                product="reader",
                version="11",
                sent_at=datetime.now(UTC),
                attempt=1,
            )
            for event in range(size)
        ]
        body = b"[" + b",".join(map(encode_event, events)) + b"]"
        head = (
            "POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/cloudevents-batch+json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        parts.append(head.encode() + body)
    return b"\0\n\0".join(parts)


def measure(port: int, pid: int, size: int, keys: list[str], folder: Path, seconds: float) -> dict[str, Any]:
    files = []
    for connection in range(CONNECTIONS[size]):
        file = folder / f"load-{size}-{connection}"
        file.write_bytes(requests_of(size, connection, keys[connection % len(keys)], max(1, 400 // size)))
        files.append(str(file))
    process = psutil.Process(pid)
    load = [sys.executable, "-m", "benchmarks.load_http", "127.0.0.1", str(port)]
    subprocess.run([*load, "1", *files], check=True, capture_output=True)  # warm
    before, began = process.cpu_times(), monotonic()
    done = subprocess.run([*load, str(seconds), *files], check=True, capture_output=True, text=True)
    after, elapsed = process.cpu_times(), monotonic() - began
    figures: dict[str, Any] = json.loads(done.stdout)
    if set(figures["statuses"]) != {"202"}:
        raise SystemExit(f"answers other than 202: {figures['statuses']}")
    cpu_s = after.user + after.system - before.user - before.system
    reports = figures["requests"] * size
    return {
        "batch": size,
        "reports_a_second": round(reports / elapsed),
        "reports_a_core": round(reports / cpu_s),
        "p50_ms": round(figures["p50_ms"], 2),
        "p99_ms": round(figures["p99_ms"], 2),
    }


def wait_for(url: str) -> None:
    deadline = monotonic() + START_S_MAX
    while not answers(url):
        if monotonic() > deadline:
            raise SystemExit(f"{url} does not answer")
        sleep(0.1)


def gateway(broker: EmbeddedKafka, folder: Path, keys: list[str], seconds: float) -> list[dict[str, Any]]:
    port = free_port()
    environment = os.environ | {
        "LICMETER_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "LICMETER_GATEWAY__PORT": str(port),
        "LICMETER_GATEWAY__RATE_EVENTS_PER_S": "1e9",
        "LICMETER_GATEWAY__BURST_EVENTS": "1000000000",
    }
    child = Child(["gateway"], log=folder / "gateway.log", environment=environment, clock=monotonic)
    child.start()
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        return [measure(port, child.pid, size, keys, folder, seconds) for size in SIZES]
    finally:
        child.stop()


def bare(folder: Path, keys: list[str], seconds: float) -> list[dict[str, Any]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_gateway", str(port)])
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        return [measure(port, process.pid, size, keys, folder, seconds) for size in SIZES]
    finally:
        process.terminate()
        process.wait()


def main(seconds: float = 8.0, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Run both and compare."""
    console = Console()
    now = datetime.now(UTC)
    made = [make_license_key(os.urandom, label="bench", created_at=now) for _ in range(ORGANIZATIONS)]
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(KafkaSettings(port=0), Path(name) / "kafka") as broker:
        folder = Path(name)
        servers = broker.bootstrap_servers
        asyncio.run(apply_topics(servers, ALL_TOPICS, partitions=stage.PARTITIONS, replication_factor=1))
        documents = [catalog(number, key, now) for number, (_, key) in enumerate(made)]
        pairs = [(d.organization_id.encode(), d.model_dump_json(exclude_defaults=True).encode()) for d in documents]
        asyncio.run(send_events(servers, pairs, topic=LICENSE_CATALOG.name))
        keys = [text for text, _ in made]
        ours = gateway(broker, folder, keys, seconds)
        peers = bare(folder, keys, seconds)
    if as_json:
        print(json.dumps({"machine": stage.machine(), "gateway": ours, "bare": peers}, indent=2))
        return
    table = Table(title=f"Gateway, acks=all, against the same server without validation and Kafka ({stage.machine()})")
    for header in ("batch", "reports/s", "reports/s a core", "p50 ms", "p99 ms", "bare: a core", "bare: p50", "factor"):
        table.add_column(header, justify="right")
    for own, peer in zip(ours, peers, strict=True):
        factor = peer["reports_a_core"] / own["reports_a_core"]
        cells = [own["batch"], own["reports_a_second"], own["reports_a_core"], own["p50_ms"], own["p99_ms"]]
        cells += [peer["reports_a_core"], peer["p50_ms"]]
        table.add_row(*(f"{cell:,}" for cell in cells), f"{factor:.1f}")
    console.print(table)
    console.print(f"target for batches of 100: {TARGET_A_CORE:,} reports/s a core")


if __name__ == "__main__":
    typer.run(main)
