"""The whole system on the real parts, in processes of its own, and what it counted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from licmeter.producers.sending import send_events
from licmeter.runtime.children import Child
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.settings import (
    ApiSettings,
    ClickHouseSettings,
    GatewaySettings,
    KafkaSettings,
    Settings,
    StreamSettings,
)
from licmeter.runtime.stack import Stack
from licmeter.runtime.wiring import clickhouse_target
from licmeter.schemas.counters import ItemCounters, parse_counters
from licmeter.schemas.topics import LICENSE_COUNTERS
from licmeter.stream.batch import InputRecord
from tests.support.oracle import Oracle, count

WAIT_S_MAX = 150.0


def make_settings(data_dir: Path, **stream: Any) -> Settings:
    return Settings(
        data_dir=data_dir,
        kafka=KafkaSettings(port=0, partitions=4),
        clickhouse=ClickHouseSettings(port=0),
        gateway=GatewaySettings(port=0),
        api=ApiSettings(port=0),
        stream=StreamSettings(session_timeout_s=6.0, **stream),
    )


class Stage:
    """A stack with its children by name, and the log of all that was sent to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.log: list[InputRecord] = []

    @property
    def worker(self) -> Child:
        return next(child for child in self.stack.children if child.name == "stream")

    @property
    def sink(self) -> Child:
        return next(child for child in self.stack.children if child.name == "sink")

    def send(self, pairs: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        kept = list(pairs)
        self.log += [InputRecord(0, 0, key, value) for key, value in kept]
        asyncio.run(send_events(self.stack.settings.bootstrap_servers, kept))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        client = clickhouse_target(self.stack.settings).connect(final=1)
        try:
            return [tuple(row) for row in client.query(sql).result_rows]
        finally:
            client.close()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = WAIT_S_MAX) -> None:
        """Poll, because what it waits for happens in other processes."""
        deadline = monotonic() + seconds
        while not condition():
            words = "\n".join(child.last_words() for child in self.stack.children)
            assert monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s\n{words}"
            sleep(0.1)

    def counters(self) -> tuple[dict[str, Counter[str]], dict[tuple[str, str], list[int]]]:
        """Read outcomes by organization and parts by item from `license.counters`."""
        latest = asyncio.run(read_compacted(self.stack.settings.bootstrap_servers, LICENSE_COUNTERS.name))
        outcomes: dict[str, Counter[str]] = {}
        parts: dict[tuple[str, str], list[int]] = {}
        for value in latest.values():
            found = parse_counters(value)
            if isinstance(found, ItemCounters):
                parts[found.organization_id, found.item_id] = [found.in_quota, found.in_grace, found.over]
            else:
                four = found.model_dump(include={"charged", "uncharged", "duplicate", "rejected"})
                outcomes.setdefault(found.organization_id, Counter()).update(four)
        return outcomes, parts

    def stored(self) -> int:
        """Return how many records ClickHouse knows of: by its rows of reports, and by the rejects."""
        ((reports,),) = self.query("SELECT count() FROM usage_attributed WHERE line = 0")
        ((rejects,),) = self.query("SELECT count() FROM usage_rejected WHERE source_topic = 'usage.events'")
        return int(reports + rejects)

    def assert_exact(self) -> Oracle:
        """Compare counters and ClickHouse with the oracle, once everything has arrived."""
        expected = count(self.log)
        total = sum(sum(outcomes.values()) for outcomes in expected.outcomes.values())
        self.until(lambda: self.stored() >= total, f"all {total} records in ClickHouse")
        self.until(lambda: sum(c.total() for c in self.counters()[0].values()) >= total, f"{total} records counted")
        outcomes, parts = self.counters()
        nonzero = {name: +found for name, found in outcomes.items() if +found}
        assert nonzero == {name: +found for name, found in expected.outcomes.items()}
        assert {key: p for key, p in parts.items() if any(p)} == {k: p for k, p in expected.parts.items() if any(p)}
        self._assert_rows(expected, total)
        return expected

    def _assert_rows(self, expected: Oracle, total: int) -> None:
        assert self.stored() == total
        units = self.query(
            "SELECT organization_id, project_id, feature, toInt64(sum(quantity)) FROM usage_attributed "
            "WHERE outcome != 'duplicate' GROUP BY ALL HAVING sum(quantity) > 0"
        )
        assert {row[:3]: row[3] for row in units} == {key: value for key, value in expected.units.items() if value}
        parts = self.query(
            "SELECT organization_id, item_id, toInt64(sum(in_quota)), toInt64(sum(in_grace)), toInt64(sum(over)) "
            "FROM usage_attributed WHERE item_id != '' GROUP BY ALL"
        )
        assert {row[:2]: list(row[2:]) for row in parts} == {k: p for k, p in expected.parts.items() if any(p)}
        outcomes = self.query(
            "SELECT organization_id, outcome, count() FROM usage_attributed WHERE line = 0 GROUP BY ALL"
        )
        accepted = {
            (name, outcome): number
            for name, found in expected.outcomes.items()
            for outcome, number in found.items()
            if outcome != "rejected" and number
        }
        assert {row[:2]: row[2] for row in outcomes} == accepted
        self.until(lambda: self._counters_stored() == total, "all counters in ClickHouse")

    def _counters_stored(self) -> int:
        ((total,),) = self.query("SELECT sum(charged + uncharged + duplicate + rejected) FROM organization_counters")
        return int(total)
