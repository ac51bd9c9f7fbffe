"""How long each view of the domain's section 10 takes over 20 million rows of facts, printed as a table.

The facts are a year of 200 organizations, the largest of which has a quarter of them; questions are about that one.
They are made in the engine itself, in the order of time, as if each had been stored a moment after it arrived. Each
view is asked `RUNS` times; the table shows the median and the worst, with rollups (the job ran once) and without
(after loading, when every day is read from the facts).

    make bench-queries                      # an embedded engine in a temporary folder
    LICMETER_CLICKHOUSE__URL=… make bench-queries   # a server; a database of its own, dropped in the end
    python -m benchmarks.bench_queries --rows 2000000
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from licmeter.analytics.query import Period
from licmeter.analytics.statistics import rollup
from licmeter.analytics.statistics.api import Statistics, last_days
from licmeter.analytics.statistics.details import DetailBy
from licmeter.analytics.statistics.words import Basis, Bucket, Measure, Scope, Split
from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings, load_settings
from licmeter.runtime.wiring import clickhouse_target
from licmeter.schemas.catalog import LicenseFile, LicenseItem, Organization, Project
from licmeter.schemas.outcomes import ActivityPeriod, ChargeWay
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget

TARGET_MS = 300
RUNS = 5
DAYS = 365
CHUNK_ROWS = 1_000_000
ORGANIZATION = "org0"
ITEMS = {
    f"item-{number}": way
    for number, way in enumerate(
        [*ChargeWay, ChargeWay.PER_SCAN, ChargeWay.PER_PAGE, ChargeWay.PER_CONCURRENT_INSTANCE], start=1
    )
}

FACTS = """
    INSERT INTO usage_attributed (organization_id, project_id, item_id, client_uuid, report_id, slot, feature, outcome,
        usage_kind, quantity, in_quota, in_grace, over, tier, exceptions, instances, late, in_expiry_grace, received_at,
        source_partition, source_offset, line, ingested_at)
    WITH cityHash64(number) AS h, intHash64(number + 7) AS g,
         if(h % 4 = 0, 0, 1 + h % 199) AS org,
         toDateTime({begin:UInt32} + intDiv(number * ({days:UInt32} - 1) * 480, {rows:UInt64}) * 180, 'UTC') AS at_slot,
         g % 100 < 3 AS is_late,
         least(toDateTime64(at_slot, 3, 'UTC') + INTERVAL 180 + g % 170 + if(is_late, 600 + g % 1700000, 0) SECOND,
               toDateTime64({begin:UInt32} + {days:UInt32} * 86400 - 90000, 3, 'UTC')) AS arrived
    SELECT concat('org', toString(org)), concat('org', toString(org), '-p', toString(h % 5)),
           if(g % 50 = 0, '', concat('item-', toString(1 + intDiv(h, 5) % 10))),
           concat('client-', toString(intDiv(h, 11) % if(org = 0, 20000, 500))), toString(number), at_slot,
           ['qr', 'code128', 'core', 'webcam', 'pdfr', 'ocr'][1 + intDiv(g, 100) % 6],
           if(g % 50 = 0, 'uncharged', 'charged'), 'use', 1 + g % 20, if(g % 50 = 0, 0, 1 + g % 20), 0, 0,
           if(g % 50 = 0, '', 'quota'), if(g % 200 = 1, 1, 0), 1 + g % 4, is_late, false, arrived, h % 4, number, 0,
           arrived + INTERVAL 1 SECOND
    FROM numbers({first:UInt64}, {count:UInt64})
"""
REQUESTS = """
    INSERT INTO authorizations (organization_id, project_id, item_id, client_uuid, auth_id, at, outcome, code,
        code_number, agrees, charge_way, requested_instances, local_expires_at, received_at, source_partition,
        source_offset, ingested_at)
    WITH cityHash64(number, 1) AS h, if(h % 4 = 0, 0, 1 + h % 199) AS org,
         toDateTime64({begin:UInt32} + intDiv(number * ({days:UInt32} - 1) * 86400, {rows:UInt64}), 3, 'UTC') AS asked,
         h % 20 = 0 AS refused
    SELECT concat('org', toString(org)), concat('org', toString(org), '-p', toString(h % 5)),
           if(refused, '', concat('item-', toString(1 + intDiv(h, 5) % 10))),
           concat('client-', toString(intDiv(h, 11) % if(org = 0, 20000, 500))), toString(number), asked,
           if(refused, 'refused', 'granted'), if(refused, ['limit_exceeded', 'expired'][1 + intDiv(h, 40) % 2], ''),
           if(refused, 120, 0), true, 'auto', 1, asked + INTERVAL 3 DAY, asked + INTERVAL 1 SECOND, h % 4,
           {rows:UInt64} * 100 + number, asked + INTERVAL 2 SECOND
    FROM numbers({first:UInt64}, {count:UInt64})
"""
SEATS = """
    INSERT INTO seats
    WITH cityHash64(number, 2) AS h,
         toDateTime64({begin:UInt32} + h % ({days:UInt32} * 86400), 3, 'UTC') AS taken
    SELECT 'org0', ['item-3', 'item-6'][1 + h % 2], concat('client-', toString(intDiv(h, 11) % 20000)), taken,
           concat('org0-p', toString(h % 5)), taken, taken + INTERVAL h % 40 DAY, taken + INTERVAL 30 + h % 40 DAY
    FROM numbers(100000)
"""


@contextmanager
def engine() -> Iterator[ClickHouseTarget]:
    """A migrated database of its own."""
    settings = load_settings()
    if settings.clickhouse.url is not None:
        given = clickhouse_target(settings)
        target = ClickHouseTarget(given.url, f"bench_{uuid.uuid4().hex}", given.username, given.password)
        migrate(target)
        yield target
        client = target.connect()
        client.command(f"DROP DATABASE {target.database}")
        client.close()
        return
    with (
        tempfile.TemporaryDirectory(prefix="licmeter-bench-") as folder,
        EmbeddedClickHouse(ClickHouseSettings(port=0, max_memory_mb=8_000), Path(folder)) as endpoint,
    ):
        target = ClickHouseTarget(endpoint.url, "bench")
        migrate(target)
        yield target


def load(client: Any, rows: int, begin: datetime, progress: Progress) -> float:
    """Make the facts; return the seconds it took."""
    task = progress.add_task("rows", total=rows + rows // 10)
    started = time.monotonic()
    for text, total in ((FACTS, rows), (REQUESTS, rows // 10)):
        for first in range(0, total, CHUNK_ROWS):
            count = min(CHUNK_ROWS, total - first)
            parameters = {"begin": int(begin.timestamp()), "days": DAYS, "rows": total, "first": first, "count": count}
            client.command(text, parameters=parameters, settings={"max_partitions_per_insert_block": 0})
            progress.advance(task, count)
    client.command(SEATS, parameters={"begin": int(begin.timestamp()), "days": DAYS})
    items = tuple(
        LicenseItem(
            item_id=name,
            charge_way=way,
            quota=100_000_000 if way in (ChargeWay.PER_SCAN, ChargeWay.PER_PAGE) else 10,
            starts_at=begin,
            expires_at=begin + timedelta(days=2 * DAYS),
            activity_period=ActivityPeriod.MONTHLY if way is ChargeWay.PER_DEVICE else None,
        )
        for name, way in ITEMS.items()
        if way is not ChargeWay.PER_DOMAIN
    )
    names = tuple(item.item_id for item in items)
    projects = tuple(Project(project_id=f"{ORGANIZATION}-p{number}", item_ids=names) for number in range(5))
    document = Organization(
        organization_id=ORGANIZATION,
        license_files=(LicenseFile(license_id="file", items=items),),
        projects=projects,
    )
    client.insert(
        "catalogs", [[ORGANIZATION, document.model_dump_json(), 1]], ["organization_id", "document", "version"]
    )
    client.command(
        "INSERT INTO license_counters (organization_id, item_id, charge_way, quota, used, attributed, state) "
        "SELECT organization_id, item_id, transform(item_id, {names:Array(String)}, {ways:Array(String)}, ''), "
        "100000000, sum(quantity), sum(quantity), 'active' FROM usage_attributed WHERE item_id != '' GROUP BY ALL",
        parameters={"names": list(ITEMS), "ways": [way.value for way in ITEMS.values()]},
    )
    return time.monotonic() - started


def views(statistics_: Statistics, day: datetime) -> dict[str, Callable[[], Any]]:
    """Every view of section 10, on the largest organization."""
    s, today = statistics_, statistics_.today
    project, item = Scope.project(f"{ORGANIZATION}-p1"), Scope.item("item-1")
    concurrent = Scope.item(next(name for name, way in ITEMS.items() if way is ChargeWay.PER_CONCURRENT_DEVICE))
    year, month = last_days(DAYS, today), last_days(30, today)
    whole = Period()
    detail_day = day.date()
    found: dict[str, Callable[[], Any]] = {
        "header and list of items (Q2)": s.items,
        "shares, project, range of a year (Q3)": lambda: s.shares(project, year),
        "shares, item, all history (Q3)": lambda: s.shares(item, whole),
    }
    for measure in Measure:
        found[f"trend of a year, project: {measure} (Q4)"] = lambda m=measure: s.trend(m, project, year)
        found[f"trend of a year, item: {measure} (Q4)"] = lambda m=measure: s.trend(m, item, year)
    found["trend accumulative, project: devices (Q4)"] = lambda: s.trend(
        Measure.DEVICES, project, year, accumulative=True
    )
    found["trend of a year, organization: devices (Q4)"] = lambda: s.trend(Measure.DEVICES, period=year)
    found["trend of a year, organization: peak (Q4)"] = lambda: s.trend(Measure.PEAK_CONCURRENT, period=year)
    found["trend of a year by arrival: count (Q8)"] = lambda: s.trend(Measure.COUNT, project, year, Basis.RECEIVED)
    found["trend of 30 days by arrival: devices (Q8)"] = lambda: s.trend(
        Measure.DEVICES, project, month, Basis.RECEIVED
    )
    for by in DetailBy:
        for basis in Basis:
            found[f"a day by {by}, basis {basis} (Q5, Q8)"] = lambda b=by, c=basis: s.day_detail(
                detail_day, b, project, c
            )
    for measure in (Measure.COUNT, Measure.SUBMIT, Measure.DEVICES):
        found[f"a year in one figure, organization: {measure}"] = lambda m=measure: s.series(m, period=year)
    found["devices, all history, item"] = lambda: s.series(Measure.DEVICES, item)
    found["devices of 30 days, project"] = lambda: s.series(Measure.DEVICES, project, month)
    for split in (Split.FEATURE, Split.PROJECT, Split.LATE):
        found[f"count of a year by {split}, item"] = lambda p=split: s.series(Measure.COUNT, item, year, Bucket.ALL, p)
    found["count of 30 days by client, project"] = lambda: s.series(
        Measure.COUNT, project, month, Bucket.ALL, Split.CLIENT
    )
    found["count of a year by client, project"] = lambda: s.series(
        Measure.COUNT, project, year, Bucket.ALL, Split.CLIENT
    )
    found["count of 30 days by 1h, project"] = lambda: s.series(Measure.COUNT, project, month, Bucket.HOUR)
    found["percentiles of concurrency, a year"] = lambda: s.concurrency(concurrent, year)
    found["denials of a year"] = lambda: s.denials(project, year)
    found["who holds which seat"] = lambda: s.seats("item-3")
    found["completeness, organization"] = s.completeness
    found["forecast, item"] = lambda: s.forecast("item-1")
    return found


def measure(view: Callable[[], Any]) -> tuple[float, float]:
    """Return median and worst of some runs, in milliseconds; the first one is not measured."""
    view()
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        view()
        taken.append((time.perf_counter() - started) * 1_000)
    return statistics.median(taken), max(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-raw", action="store_true", help="leave out the figures without rollups")
    arguments = parser.parse_args()
    errors = Console(stderr=True)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight - timedelta(days=DAYS - 1)
    with engine() as target, Progress(console=errors) as progress:
        client = target.connect()
        load_s = load(client, arguments.rows, begin, progress)
        now = midnight + timedelta(hours=12)
        questions = views(Statistics(client, ORGANIZATION, lambda: now), midnight - timedelta(days=3))
        raw = {}
        if not arguments.no_raw:
            task = progress.add_task("from facts", total=len(questions))
            for name, view in questions.items():
                raw[name] = measure(view)
                progress.advance(task)
        started = time.monotonic()
        report = rollup.refresh(client)
        rollup_s = time.monotonic() - started
        task = progress.add_task("with rollups", total=len(questions))
        rolled = {}
        for name, view in questions.items():
            rolled[name] = measure(view)
            progress.advance(task)
        size = client.query(
            "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = "
            "{name:String} GROUP BY table ORDER BY 3 DESC",
            parameters={"name": target.database},
        ).result_rows
        client.close()
    slow = [name for name, (median, _) in rolled.items() if median > TARGET_MS]
    if arguments.json:
        print(
            json.dumps({"rows": arguments.rows, "load_s": load_s, "rollup_s": rollup_s, "raw": raw, "rolled": rolled})
        )
        return bool(slow)
    table = Table(title=f"{arguments.rows:,} rows of facts; milliseconds, {RUNS} runs; target {TARGET_MS}")
    table.add_column("view")
    for column in ("median", "worst", "from facts: median", "worst"):
        table.add_column(column, justify="right")
    for name, (median, worst) in rolled.items():
        style = "red" if median > TARGET_MS else "yellow" if worst > TARGET_MS else None
        facts = [f"{value:,.0f}" for value in raw[name]] if name in raw else ["", ""]
        table.add_row(name, f"{median:,.0f}", f"{worst:,.0f}", *facts, style=style)
    out = Console(width=120)
    out.print(table)
    out.print(f"loaded in {load_s:.0f} s; rolled up {report.pairs:,} days of organizations in {rollup_s:.0f} s")
    for name, rows, disk in size:
        if rows:
            out.print(f"  {name}: {rows:,} rows, {disk / 2**20:,.1f} MiB", highlight=False)
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
