"""The core alone: reports/s on one core, without Kafka, decoding or IO (`meter_report`), by charge way.

The targets are 100,000 reports/s for cumulative items and 50,000 for device and concurrency items. Every report is
new; clients and slots repeat as those of a fleet do.
"""

import json
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.meter import meter_report
from licmeter.metering.organization import OrganizationState
from licmeter.metering.report import Report
from licmeter.metering.slot_use import DictSlots
from licmeter.schemas.catalog import Organization

NOW = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
TARGETS = {
    "per_scan": 100_000,
    "per_page": 100_000,
    "per_device": 50_000,
    "per_server": 50_000,
    "per_concurrent_device": 50_000,
    "per_concurrent_instance": 50_000,
    "per_domain": 50_000,
}
CLIENTS = 2_000
REPEATS = 3


def document(way: str) -> Organization:
    item = {
        "item_id": "41",
        "charge_way": way,
        "quota": 1_000,
        "starts_at": NOW - timedelta(days=30),
        "expires_at": NOW + timedelta(days=335),
    }
    if way == "per_device":
        item["activity_period"] = "monthly"
    if way == "per_domain":
        item |= {"quota": 1, "validation_fields": [{"kind": "domain", "value": "example.org"}]}
    return Organization.model_validate(
        {
            "organization_id": "1",
            "license_files": [{"license_id": "L", "items": [item]}],
            "projects": [{"project_id": "1-p", "item_ids": ["41"]}],
        }
    )


def reports(count: int, way: str) -> list[Report]:
    start_s = int(NOW.timestamp())
    made = []
    for number in range(count):
        # Every client reports once a slot.
        slot_s = start_s + number // CLIENTS * 180
        report = Report(
            "1", "1-p", f"client-{number % CLIENTS}", str(number), slot_s, slot_s * 1000 + 60_000, {"qr": 3}
        )
        if way == "per_domain":
            report.validation = ("domain", "shop.example.org")
        made.append(report)
    return made


def measure(count: int, way: str) -> float:
    """Return the best reports/s of some runs, by the process's own time: others may use the machine."""
    best = 0.0
    for _ in range(REPEATS):
        state, memory, slots = OrganizationState("1"), DictMemory(32), DictSlots()
        state.adopt(document(way), 0)
        made = reports(count, way)
        began = process_time()
        for report in made:
            meter_report(report, state, memory, slots)
        best = max(best, count / (process_time() - began))
    return best


def main(
    count: Annotated[int, typer.Option("--reports", help="Reports for each charge way.")] = 200_000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure all charge ways; exit code 1 when one is below its target."""
    speeds = {way: measure(count, way) for way in TARGETS}
    if as_json:
        print(json.dumps({"reports_per_second": speeds, "targets": TARGETS, "machine": stage.machine()}))
    else:
        table = Table(title=f"Core alone, one core ({stage.machine()})", title_justify="left")
        for header in ("charge way", "reports/s", "target"):
            table.add_column(header, justify="left" if header == "charge way" else "right")
        for way, speed in speeds.items():
            table.add_row(way, f"{speed:,.0f}", f"{TARGETS[way]:,}")
        Console().print(table)
    raise typer.Exit(any(speeds[way] < target for way, target in TARGETS.items()))


if __name__ == "__main__":
    typer.run(main)
