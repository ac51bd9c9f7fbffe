"""How many attribution rows a second go into ClickHouse: blocks as they stand on the topic, to acknowledged inserts.

    python -m benchmarks.bench_sink [--rows 2000000] [--batch 200000] [--url http://...]

Without `--url` it starts the embedded endpoint, whose engine then shares the machine's cores with the writer.
Kafka is not part of it. Target: 100,000 rows/s.
"""

import argparse
import asyncio
import datetime as dt
import os
import platform
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.schemas.attribution import encode_blocks
from licmeter.schemas.topics import USAGE_ATTRIBUTED
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter

SLOT = dt.datetime(2031, 3, 8, 14, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class BlockRecord:
    value: bytes
    topic: str = USAGE_ATTRIBUTED.name
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def blocks(first: int, rows: int) -> list[BlockRecord]:
    """Rows of 20 organizations, 5,000 clients and random report ids, as the stream would send them."""
    numbers = range(first, first + rows)
    columns: list[list[object]] = [
        [f"org{number % 20}" for number in numbers],
        [f"org{number % 20}-p{number % 7}" for number in numbers],
        [f"L{number % 50}-1" for number in numbers],
        [f"00000000-0000-4000-8000-{number % 5_000:012x}" for number in numbers],
        [str(uuid.uuid4()) for _ in numbers],
        [SLOT + dt.timedelta(minutes=3 * (number % 20)) for number in numbers],
        [("qr", "code128", "ean13", "pdf417", "aztec")[number % 5] for number in numbers],
        ["charged"] * rows,
        ["use"] * rows,
        [number % 100 for number in numbers],
        [number % 100 for number in numbers],
        [0] * rows,
        [0] * rows,
        ["quota"] * rows,
        [0] * rows,
        [1] * rows,
        [False] * rows,
        [False] * rows,
        [SLOT + dt.timedelta(milliseconds=number % 180_000) for number in numbers],
        [3] * rows,
        list(numbers),
        [0] * rows,
    ]
    return [BlockRecord(block) for block in encode_blocks(columns)]


async def write(target: ClickHouseTarget, rows: int, batch_rows: int) -> list[float]:
    writer = ClickHouseWriter(target)
    seconds = []
    for first in range(0, rows, batch_rows):
        records = blocks(first, batch_rows)  # not timed: the stream's work
        began = time.perf_counter()
        batch = RowBatch()
        for record in records:
            batch.add(record)
        await writer.write(batch.tables())
        seconds.append(time.perf_counter() - began)
    await writer.close()
    return seconds


@contextmanager
def endpoint(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedClickHouse(ClickHouseSettings(port=0), Path(folder)) as own:
        yield own.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=200_000)
    parser.add_argument("--url", help="a ClickHouse server; a database is created and dropped there")
    arguments = parser.parse_args()
    with endpoint(arguments.url) as url:
        target = ClickHouseTarget(url, database=f"bench_{uuid.uuid4().hex}")
        migrate(target)
        seconds = asyncio.run(write(target, arguments.rows, arguments.batch))
        client = target.connect(final=1)
        ((stored,),) = client.query("SELECT count() FROM usage_attributed").result_rows
        client.command(f"DROP DATABASE {target.database}")
        client.close()
    assert stored == len(seconds) * arguments.batch, stored
    median = arguments.batch / statistics.median(seconds)
    print(f"machine    {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"rows       {stored:,} in batches of {arguments.batch:,}, all stored once")
    print(f"rows/s     {stored / sum(seconds):,.0f} overall, {median:,.0f} in the median batch")
    print(f"batch s    {min(seconds):.2f} fastest, {max(seconds):.2f} slowest")


if __name__ == "__main__":
    main()
