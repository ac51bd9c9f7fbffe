"""Drives batches through the real computation and flush, with a store and outputs that crash on purpose.

The counterpart of Kafka Streams' TopologyTestDriver: no broker, no clock; every crash comes from one seed.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.schemas import topics
from licmeter.schemas.attribution import decode_block
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA, AUTHORIZATIONS_KEY
from licmeter.schemas.counters import ItemCounters, OrganizationCounters, parse_counters
from licmeter.schemas.rejects import parse_reject_headers
from licmeter.schemas.seat_rows import SEAT_SCHEMA, SEATS_KEY
from licmeter.stream.batch import InputRecord, process_batch
from licmeter.stream.flush import flush
from licmeter.stream.outputs import MemoryOutputs, OutputRecord
from licmeter.stream.partition import load_partition
from licmeter.stream.store import Change, MemoryStore


class CrashError(Exception):
    """The process is gone."""


@dataclass
class Faults:
    """Decides from a seed whether the process dies now, and how much of a write it had done."""

    random: Random
    probability: float
    crashes: int = 0

    def survive(self, records: Sequence[Any]) -> int:
        """Return how many records get through; fewer than all means that the process then dies."""
        if self.random.random() >= self.probability:
            return len(records) + 1
        self.crashes += 1
        return self.random.randint(0, len(records))


class CrashingStore(MemoryStore):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    async def write(self, table: str, changes: Sequence[Change]) -> None:
        through = self.faults.survive(changes)
        await super().write(table, changes[:through])
        if through <= len(changes):
            raise CrashError


class CrashingOutputs(MemoryOutputs):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    async def send(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        through = self.faults.survive(records)
        await super().send(topic, partition, records[:through])
        if through <= len(records):
            raise CrashError


@dataclass
class Results:
    """What can be read from the outputs, with repeats removed by identity as ClickHouse does."""

    rows: dict[tuple[int, int, int], tuple[Any, ...]] = field(default_factory=dict)
    rejects: dict[int, tuple[str, bytes | None]] = field(default_factory=dict)
    items: dict[tuple[str, str], ItemCounters] = field(default_factory=dict)
    organizations: dict[str, OrganizationCounters] = field(default_factory=dict)
    authorizations: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    seats: dict[tuple[Any, ...], tuple[Any, Any, Any]] = field(default_factory=dict)
    breaches: dict[str, dict[str, Any]] = field(default_factory=dict)


def run(
    log: Sequence[InputRecord],
    *,
    seed: int = 0,
    crash_probability: float = 0.0,
    batch_max: int = 1_000_000,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Results, Faults]:
    """Feed a log in random batches, dying and starting again at random; return what came out."""
    faults = Faults(Random(seed), crash_probability)
    store, outputs = CrashingStore(faults), CrashingOutputs(faults)
    asyncio.run(_run(log, faults, store, outputs, batch_max, limits))
    return read_results(outputs), faults


async def _run(
    log: Sequence[InputRecord],
    faults: Faults,
    store: CrashingStore,
    outputs: CrashingOutputs,
    batch_max: int,
    limits: Limits,
) -> None:
    committed = 0
    state = load_partition(0, store, limits.duplicate_days)
    while committed < len(log):
        records = log[committed : committed + faults.random.randint(1, batch_max)]
        try:
            await flush(process_batch(records, state, limits), state, outputs, lambda: True)
        except CrashError:
            state = load_partition(0, store, limits.duplicate_days)
            # A commit may have been on its way: the position goes back to any earlier one.
            committed = faults.random.randint(max(0, committed - 3), committed)
        else:
            committed += len(records)


def read_results(outputs: MemoryOutputs) -> Results:
    """Read the outputs as a consumer does that keeps the latest of each identity."""
    results = Results()
    for record in outputs.sent.get(topics.USAGE_ATTRIBUTED.name, []):
        assert record.value is not None
        if record.key == SEATS_KEY:
            for row in decode_block(record.value, SEAT_SCHEMA).to_pylist():
                life = tuple(row.values())[:5]
                since, last, end = results.seats.get(life, (row["since"], row["last_contact_at"], row["expires_at"]))
                results.seats[life] = (
                    min(since, row["since"]),
                    max(last, row["last_contact_at"]),
                    max(end, row["expires_at"]),
                )
            continue
        if record.key == AUTHORIZATIONS_KEY:
            for row in decode_block(record.value, AUTHORIZATION_SCHEMA).to_pylist():
                place = (row["source_partition"], row["source_offset"])
                assert results.authorizations.setdefault(place, tuple(row.values())) == tuple(row.values())
            continue
        for row in decode_block(record.value).to_pylist():
            identity = (row["source_partition"], row["source_offset"], row["line"])
            values = tuple(row.values())
            # A repeat is the same row to the letter (design 3.3).
            assert results.rows.setdefault(identity, values) == values
    for record in outputs.sent.get(topics.LICENSE_ALERTS.name, []):
        event = json.loads(record.value or b"")
        assert results.breaches.setdefault(event["id"], event) == event
    for record in outputs.sent.get(topics.USAGE_REJECTED.name, []):
        origin = parse_reject_headers(record.headers)
        known = results.rejects.setdefault(origin.offset, (origin.reason.value, record.value))
        assert known == (origin.reason.value, record.value)
    for record in outputs.sent.get(topics.LICENSE_COUNTERS.name, []):
        assert record.value is not None
        counters = parse_counters(record.value)
        if isinstance(counters, ItemCounters):
            known_item = results.items.get((counters.organization_id, counters.item_id))
            if known_item is None or known_item.applied_offset <= counters.applied_offset:
                results.items[counters.organization_id, counters.item_id] = counters
        else:
            known_organization = results.organizations.get(counters.organization_id)
            if known_organization is None or known_organization.applied_offset <= counters.applied_offset:
                results.organizations[counters.organization_id] = counters
    return results
