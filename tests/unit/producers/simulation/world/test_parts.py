"""Load over the day, choosing devices, domains, pacing, latencies."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from random import Random

import pytest

from licmeter.producers.simulation.latencies import Latencies
from licmeter.producers.simulation.world import WorldRecord
from licmeter.producers.simulation.world.domains import domain_of, is_reserved
from licmeter.producers.simulation.world.load import chosen, counts_deck, load_factor
from licmeter.producers.simulation.world.pacing import CHUNK_RECORDS, paced_chunks
from licmeter.producers.simulation.world.scenario import DeviceGroup, LoadCurve

CURVE = LoadCurve(utc_offset_hours=1, working_hours=(8, 18), night_factor=0.1, weekend_factor=0.5)


@pytest.mark.parametrize(
    ("utc", "factor"),
    [
        ("2031-03-07T12:00Z", 1.0),  # a Friday
        ("2031-03-07T07:00Z", 0.55),  # 8 o'clock there: half way up
        ("2031-03-07T02:00Z", 0.1),
        ("2031-03-08T12:00Z", 0.5),
        ("2031-03-07T23:30Z", 0.05),  # Saturday there
    ],
)
def test_the_load_of_an_instant(utc: str, factor: float) -> None:
    assert load_factor(CURVE, int(datetime.fromisoformat(utc).timestamp())) == pytest.approx(factor)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_everybody_is_chosen_with_the_same_probability(share: float) -> None:
    random, times = Random(1), Counter[int]()
    for _ in range(4_000):
        drawn = list(chosen(random, range(20), share))
        assert len(set(drawn)) == len(drawn)
        times.update(drawn)
    assert times.total() == pytest.approx(4_000 * 20 * share, rel=0.1)
    assert min(times.values()) > 0.5 * 4_000 * share


def test_all_and_nobody_can_be_chosen() -> None:
    assert sorted(chosen(Random(1), range(5), 1.0)) == [0, 1, 2, 3, 4]
    assert list(chosen(Random(1), range(5), 0)) == list(chosen(Random(1), [], 0.5)) == []


@pytest.mark.parametrize("mean", [1, 5, 200])
def test_operations_of_a_busy_slot(mean: float) -> None:
    group = DeviceGroup(group="g", project="p", count=1, features={"a": 3, "b": 1}, operations_per_slot=mean)
    totals = Counter[str]()
    deck = counts_deck(Random(1), group)
    for counts in deck:
        assert sum(counts.by_feature.values()) >= 1
        totals.update(counts.by_feature)
    assert totals.total() / len(deck) == pytest.approx(mean, rel=0.1)
    assert totals["a"] == pytest.approx(3 * totals["b"], rel=0.3)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.shop.example.org:8443", "example.org"),
        ("EXAMPLE.org.", "example.org"),
        ("x.y.apps.test", "y.apps.test"),
        ("apps.test", "apps.test"),
    ],
)
def test_domains(host: str, domain: str) -> None:
    assert domain_of(host, ["apps.test"]) == domain
    assert is_reserved(host)


@pytest.mark.parametrize("host", ["shop.org", "co.uk", "test", "a..test", "ü.test", "127.0.0.1", "evil example.org"])
def test_names_of_others_are_no_hosts(host: str) -> None:
    assert not is_reserved(host)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def taken(records: Iterable[WorldRecord], speed: float | None) -> list[tuple[float, int]]:
    clock, chunks = Clock(), []
    async for chunk in paced_chunks(records, begin_s=1_000, speed=speed, clock=clock, sleep=clock.sleep):
        chunks.append((clock.now, len(chunk)))  # noqa: PERF401 - the clock is read on the way
    return chunks


def records(*instants: int) -> list[WorldRecord]:
    return [WorldRecord(b"o", b"{}", "o", at_s) for at_s in instants]


async def test_records_are_sent_when_they_are_due() -> None:
    due = records(1_000, 1_000, 1_180, 1_180, 1_360)
    assert await taken(due, 90) == [(0.0, 2), (2.0, 2), (4.0, 1)]
    assert await taken(due, 1e6) == await taken(due, None) == [(0.0, 5)]


async def test_chunks_have_a_bound() -> None:
    assert await taken(records(*[1_000] * (CHUNK_RECORDS + 3)), None) == [(0.0, CHUNK_RECORDS), (0.0, 3)]


def test_latencies_are_right_to_some_percent() -> None:
    latencies = Latencies()
    assert latencies.quantile(0.5) == 0
    for milliseconds in range(1, 1_001):
        latencies.add(milliseconds / 1_000)
    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.03)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.03)
    assert latencies.quantile(1.0) == latencies.longest_s == 1.0
