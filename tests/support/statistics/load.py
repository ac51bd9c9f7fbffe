"""Puts a log into ClickHouse by the product's own parts, in memory: no broker, no files, and only seconds.

The records go through the stream's computation and flush, what these send goes through the sink's conversion, and the
tables that come out are inserted by the sink's writer. So whatever the stream sends, and the sink knows, arrives.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.sink import TOPICS
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter
from licmeter.stream.batch import InputRecord, process_batch
from licmeter.stream.flush import flush
from licmeter.stream.outputs import MemoryOutputs
from licmeter.stream.partition import load_partition
from licmeter.stream.store import MemoryStore

__all__ = ["SentRecord", "batches", "load"]

PARTITION: Final = 0
#: Records of one insert: enough of them that rows of a seat, or of a state, come in several parts.
INSERT_RECORDS: Final = 200


@dataclass(frozen=True, slots=True)
class SentRecord:
    """A record of an output topic, as the sink would consume it."""

    topic: str
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int = PARTITION


def load(
    log: Sequence[InputRecord],
    target: ClickHouseTarget,
    *,
    seed: int = 0,
    batch_max: int = 300,
    repeated: float = 0.0,
) -> dict[str, int]:
    """Insert what a log leads to; return the number of rows that were written to each table.

    The log is computed in batches of random size. `repeated` is the share of them whose records the sink gets once
    more, as after a crash before its commit.
    """
    return asyncio.run(_load(batches(log, seed=seed, batch_max=batch_max, repeated=repeated), target))


async def _load(sent: Iterable[list[SentRecord]], target: ClickHouseTarget) -> dict[str, int]:
    writer, written, pending = ClickHouseWriter(target), dict[str, int](), list[SentRecord]()
    try:
        for records in sent:
            pending += records
            if len(pending) >= INSERT_RECORDS:
                await _write(writer, pending, written)
                pending = []
        await _write(writer, pending, written)
    finally:
        await writer.close()
    return written


async def _write(writer: ClickHouseWriter, records: Iterable[SentRecord], written: dict[str, int]) -> None:
    batch = RowBatch()
    for record in records:
        batch.add(record)
    assert not batch.undecodable, batch.undecodable[:3]
    tables = batch.tables()
    await writer.write(tables)
    for name, rows in tables.items():
        written[name] = written.get(name, 0) + rows.num_rows


def batches(
    log: Sequence[InputRecord], *, seed: int = 0, batch_max: int = 300, repeated: float = 0.0
) -> list[list[SentRecord]]:
    """Return what the stream sends to the sink's topics, batch by batch."""
    return asyncio.run(_compute(log, Random(seed), batch_max, repeated))


async def _compute(
    log: Sequence[InputRecord], random: Random, batch_max: int, repeated: float
) -> list[list[SentRecord]]:
    state = load_partition(PARTITION, MemoryStore(), DEFAULT_LIMITS.duplicate_days)
    found, offsets, done = list[list[SentRecord]](), dict.fromkeys(TOPICS, 0), 0
    while done < len(log):
        records, outputs = log[done : done + random.randint(1, batch_max)], MemoryOutputs()
        done += len(records)
        await flush(process_batch(records, state, DEFAULT_LIMITS), state, outputs, lambda: True)
        sent = list(_sent(outputs, offsets, records[-1].received_ms))
        found += [sent, sent] if random.random() < repeated else [sent]
    return found


def _sent(outputs: MemoryOutputs, offsets: dict[str, int], timestamp: int) -> Iterator[SentRecord]:
    for topic, records in outputs.sent.items():
        if topic not in offsets:
            continue  # not the sink's
        for record in records:
            yield SentRecord(topic, offsets[topic], timestamp, record.key, record.value, record.headers)
            offsets[topic] += 1
