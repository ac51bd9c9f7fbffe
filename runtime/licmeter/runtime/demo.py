"""The main job, once, end to end: a simulated fleet reports, and three books are held against each other.

The simulator's own ledger, the stream's counters (`license.counters`), and the rows in ClickHouse.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from licmeter.producers.sending import send_events
from licmeter.producers.simulation import NOBODY, Fleet, Ledger, counter_differences
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.settings import Settings
from licmeter.runtime.wiring import clickhouse_target
from licmeter.schemas.counters import ItemCounters, OrganizationCounters, parse_counters
from licmeter.schemas.outcomes import Outcome
from licmeter.schemas.topics import LICENSE_COUNTERS

__all__ = ["Books", "reconcile", "send_fleet", "wait_until_stored"]

#: How long the last records may take after the last one was sent.
SETTLE_TIMEOUT_S: Final = 60.0
POLL_INTERVAL_S: Final = 0.2


@dataclass
class Books:
    """What the three books say, and where they differ."""

    ledger: dict[str, dict[str, int]] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    clickhouse: dict[str, dict[str, int]] = field(default_factory=dict)
    items: list[ItemCounters] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def send_fleet(settings: Settings, fleet: Fleet, on_sent: Callable[[int], None]) -> None:
    """Send everything that a fleet has to say."""

    def pairs() -> Iterator[tuple[bytes | None, bytes | None]]:
        for emission in fleet.emissions():
            yield emission.key, emission.value

    asyncio.run(send_events(settings.bootstrap_servers, pairs(), on_sent))


def wait_until_stored(settings: Settings, ledger: Ledger, on_stored: Callable[[int], None]) -> None:
    """Wait until ClickHouse has all records and the counters include them, or the time is up."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    client = clickhouse_target(settings).connect(final=1)
    try:
        while time.monotonic() < deadline:
            stored = sum(sum(outcomes.values()) for outcomes in _clickhouse_outcomes(client, ledger).values())
            on_stored(stored)
            if stored >= ledger.total_sent and _counted(client, ledger) >= ledger.total_sent:
                return
            time.sleep(POLL_INTERVAL_S)
    finally:
        client.close()


def reconcile(settings: Settings, ledger: Ledger) -> Books:
    """Read the three books, and say where they differ: outcomes, units, and each item's parts."""
    records = asyncio.run(read_compacted(settings.bootstrap_servers, LICENSE_COUNTERS.name)).values()
    counters = [parse_counters(record) for record in records]
    books = Books(
        ledger={row.organization_id: _four(row) for row in ledger.rows()},
        counters=_counter_outcomes(counters, ledger),
        items=[c for c in counters if isinstance(c, ItemCounters) and (c.organization_id, c.item_id) in ledger.items],
    )
    books.differences = counter_differences(ledger, counters)
    client = clickhouse_target(settings).connect(final=1)
    try:
        books.clickhouse = _clickhouse_outcomes(client, ledger)
        books.differences += _differences("outcomes in ClickHouse", books.ledger, books.clickhouse)
        books.differences += _differences("units in ClickHouse", dict(ledger.units), _units(client, ledger))
        books.differences += _differences("items in ClickHouse", _parts(ledger), _clickhouse_parts(client, ledger))
    finally:
        client.close()
    return books


def _four(source: Any) -> dict[str, int]:
    return {outcome.value: getattr(source, outcome.value) for outcome in Outcome}


def _counter_outcomes(counters: list[ItemCounters | OrganizationCounters], ledger: Ledger) -> dict[str, dict[str, int]]:
    books: dict[str, dict[str, int]] = {}
    for record in counters:
        if isinstance(record, OrganizationCounters) and record.organization_id in ledger.sent:
            sums = books.setdefault(record.organization_id, dict.fromkeys(map(str, Outcome), 0))
            for outcome, count in _four(record).items():
                sums[outcome] += count
    return books


def _clickhouse_outcomes(client: Any, ledger: Ledger) -> dict[str, dict[str, int]]:
    """Count reports by their rows of line 0, and rejects by theirs; the key of a reject may be anybody's."""
    books = {name: dict.fromkeys(map(str, Outcome), 0) for name in ledger.sent}
    text = "SELECT organization_id, outcome, count() FROM usage_attributed WHERE line = 0 GROUP BY 1, 2"
    for name, outcome, count in client.query(text).result_rows:
        if name in books:
            books[name][outcome] = count
    text = "SELECT organization_id, count() FROM usage_rejected WHERE source_topic = 'usage.events' GROUP BY 1"
    for name, count in client.query(text).result_rows:
        owner = name if name in books else NOBODY
        if owner in books:
            books[owner][Outcome.REJECTED.value] += count
    return books


def _counted(client: Any, ledger: Ledger) -> int:
    text = """
        SELECT sum(charged + uncharged + duplicate + rejected) FROM organization_counters
        WHERE organization_id IN {names:Array(String)}
    """
    ((count,),) = client.query(text, parameters={"names": list(ledger.sent)}).result_rows
    return int(count)


def _units(client: Any, ledger: Ledger) -> dict[tuple[str, str, str], int]:
    text = """
        SELECT organization_id, project_id, feature, sum(quantity) FROM usage_attributed
        WHERE outcome != 'duplicate' AND organization_id IN {names:Array(String)}
        GROUP BY 1, 2, 3 HAVING sum(quantity) > 0
    """
    rows = client.query(text, parameters={"names": list(ledger.sent)}).result_rows
    return {(organization, project, feature): int(count) for organization, project, feature, count in rows}


def _parts(ledger: Ledger) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {key: (book.in_quota, book.in_grace, book.over) for key, book in ledger.items.items() if book.used}


def _clickhouse_parts(client: Any, ledger: Ledger) -> dict[tuple[str, str], tuple[int, int, int]]:
    text = """
        SELECT organization_id, item_id, sum(in_quota), sum(in_grace), sum(over) FROM usage_attributed
        WHERE item_id != '' AND organization_id IN {names:Array(String)} GROUP BY 1, 2
    """
    rows = client.query(text, parameters={"names": list(ledger.sent)}).result_rows
    return {(row[0], row[1]): (int(row[2]), int(row[3]), int(row[4])) for row in rows}


def _differences(what: str, expected: dict[Any, Any], found: dict[Any, Any]) -> list[str]:
    return [
        f"{what}, {key!r}: {found.get(key)}, must be {expected.get(key)}"
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    ]
