"""Posting to a gateway: order, bounds, and what is done when it cannot take more. The gateway here is in memory."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from licmeter.producers.errors import SendError
from licmeter.producers.simulation import posting
from licmeter.producers.simulation.posting import EVENTS_MAX, Load, post_records
from licmeter.producers.simulation.world import Transport, What, World, WorldRecord
from licmeter.schemas.outcomes import RejectReason
from tests.unit.producers.simulation.world.scenarios import example, world

NAMES = ("port", "retail", "library")
KEYS = {name: f"key of {name}" for name in NAMES}
Answer = Callable[[httpx.Request], httpx.Response | None]


class MemoryGateway(httpx.AsyncBaseTransport):
    """Answers as docs/gateway.md says; `fault` is asked first."""

    def __init__(self, fault: Answer = lambda request: None) -> None:
        self.fault = fault
        self.events: dict[str, list[bytes]] = defaultdict(list)
        self.sizes: list[int] = []
        self.at_once = 0
        self.at_once_max = 0
        self.busy = Counter[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.headers["Authorization"].removeprefix("Bearer key of ")
        self.at_once += 1
        self.busy[name] += 1
        assert self.busy[name] == 1, "one request at a time for an organization"
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await asyncio.sleep(0)
            return self.fault(request) or self.take(name, request)
        finally:
            self.at_once -= 1
            self.busy[name] -= 1

    def take(self, name: str, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path == "/v1/authorizations":
            self.events[name].append(body["auth_id"])
            return httpx.Response(200, json={"granted": "product" not in body})
        self.sizes.append(len(body))
        self.events[name] += [event["id"] for event in body]
        results = [{"outcome": "accepted"} if n else {"outcome": "rejected", "reason": "x"} for n in range(len(body))]
        return httpx.Response(202, json={"results": results})


async def chunks(records: list[WorldRecord], size: int = 2_000) -> AsyncIterator[list[WorldRecord]]:
    for first in range(0, len(records), size):
        yield records[first : first + size]


def a_world() -> tuple[World, list[WorldRecord]]:
    clocks = {"skewed_share": 0.1, "ahead_share": 0.1}
    fleet = world(example(duration_hours=13, clocks=clocks), transport=Transport.GATEWAY, catalogs=False)
    return fleet, list(fleet.records())


async def post(gateway: MemoryGateway, records: list[WorldRecord], in_flight: int = 8) -> Load:
    return await post_records("http://gateway.test", chunks(records), KEYS, in_flight=in_flight, transport=gateway)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_RETRY_S", 0.01)


async def test_each_organization_keeps_its_order() -> None:
    _, records = a_world()
    gateway = MemoryGateway()
    load = await post(gateway, records)
    for name in NAMES:
        sent = [json.loads(r.value or b"")["id"] for r in records if r.key == name.encode()]
        assert gateway.events[name] == sent
    assert max(gateway.sizes) <= EVENTS_MAX
    assert gateway.at_once_max > 1
    assert load.events == len(records)
    assert load.accepted + load.rejected["x"] == sum(record.what is What.REPORT for record in records)
    assert load.rejected["x"] == len(gateway.sizes)
    requests = [record for record in records if record.what is What.AUTHORIZATION]
    wrong = sum(record.reason is RejectReason.CLOCK_SKEW for record in requests)
    assert load.granted + load.refused + load.rejected["clock_skew"] == len(requests)
    assert load.rejected["clock_skew"] <= wrong
    assert load.to_json()["p99_ms"] >= load.to_json()["p50_ms"] > 0


async def test_requests_in_flight_have_a_bound() -> None:
    gateway = MemoryGateway()
    await post(gateway, a_world()[1], in_flight=1)
    assert gateway.at_once_max == 1


@pytest.mark.parametrize(("status", "again"), [(429, 0), (503, 1)])
async def test_what_is_put_off_goes_again(status: int, again: int) -> None:
    """A 429 took nothing; after a 503 some of it may be there, which is said."""
    put_off = [httpx.Response(status, headers={"Retry-After": "0.1"}), httpx.Response(status)]
    _, records = a_world()
    gateway = MemoryGateway(lambda request: put_off.pop() if put_off else None)
    load = await post(gateway, records)
    assert sum(map(len, gateway.events.values())) == load.events == len(records)
    assert load.statuses[status] == 2
    assert bool(load.sent_again) == again


async def test_a_broken_connection_is_tried_again() -> None:
    left = [1, 1]

    def broken(request: httpx.Request) -> None:
        if left:
            left.pop()
            raise httpx.ConnectError("refused")

    _, records = a_world()
    load = await post(MemoryGateway(broken), records)
    assert load.events == len(records)
    assert load.sent_again > 0


@pytest.mark.parametrize("status", [401, 403, 413, 422, 500])
async def test_a_refusal_for_good_ends_the_run(status: int) -> None:
    gateway = MemoryGateway(lambda request: httpx.Response(status, json={"detail": "why not"}))
    with pytest.raises(SendError, match=f"{status} why not"):
        await post(gateway, a_world()[1])


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PATIENCE_S", 0.2)
    gateway = MemoryGateway(lambda request: httpx.Response(503, text="no JSON"))
    with pytest.raises(SendError, match="did not accept a batch for"):
        await post(gateway, a_world()[1])


async def test_reports_of_others_alone_are_answered_with_403_and_results() -> None:
    def forbid(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/events":
            return None
        count = len(json.loads(request.content))
        return httpx.Response(403, json={"results": [{"outcome": "rejected", "reason": "key_mismatch"}] * count})

    _, records = a_world()
    load = await post(MemoryGateway(forbid), records)
    assert load.rejected["key_mismatch"] == sum(record.what is What.REPORT for record in records)


async def test_a_wrong_clock_is_refused() -> None:
    _, records = a_world()
    wrong = [record for record in records if record.what is What.AUTHORIZATION and record.reason is not None]
    assert wrong
    load = await post(MemoryGateway(lambda _: httpx.Response(200, json={"granted": False})), wrong)
    assert load.rejected == {"clock_skew": len(wrong)}
