"""`UsageClient` against a server over real sockets: what is sent, kept, dropped and answered."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from licmeter.producers import AuthorizationUnavailable, ItemState, UsageClient
from licmeter.producers.client import courier
from licmeter.schemas.reports import parse_report
from tests.unit.producers.client.reporting_server import KEY, Answer, ReportingServer, Request, accepted, rejected

NOW = datetime(2031, 3, 8, 10, 1, 30, tzinfo=UTC).timestamp()
#: So long that no cycle but the first comes by itself.
NEVER_S = 10_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[ReportingServer]:
    with ReportingServer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., Any]


@pytest.fixture
def opened(server: ReportingServer, clock: Clock, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def open_client(*, background: bool = False, **options: Any) -> AsyncIterator[UsageClient]:
        settings = {"license_key": KEY, "spool": tmp_path, "clock": clock, "submit_interval_s": NEVER_S}
        client = UsageClient(server.url, **(settings | options))
        if background:
            await client.start()
        else:
            await asyncio.to_thread(client._core.open)
            client._conversation._courier = courier.Courier(client._core, courier.transport_of(client._options))
        try:
            yield client
        finally:
            await client.close()

    return open_client


def unavailable(status: int, *headers: str) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, {"title": "no"}, headers)


def cut(_: Request) -> Answer:
    return Answer(0, cut=True)


def waiting(client: UsageClient) -> int:
    folder = client._core.folder
    assert folder is not None
    return folder.spool.status()["reports"] or 0


async def test_what_is_sent_follows_the_contract(opened: Open, server: ReportingServer) -> None:
    async with opened(
        product="reader", version="11", validation=("domain", "shop.example.org"), instances=3, session_password="open"
    ) as client:
        client.record("qr", 2)
        with client.recording("ocr"):
            pass
        assert await client.flush()
        assert client.items == {"41": ItemState("41", "grace", "100.50")}
    (request,) = server.requests
    event = parse_report(json.dumps(request.content[0]).encode())
    assert (request.path, request.headers["authorization"]) == ("/v1/events", f"Bearer {KEY}")
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    assert request.headers["licmeter-session-password"] == "open"
    assert (event["source"], event["time"].isoformat()) == (client.client_uuid, "2031-03-08T10:00:00+00:00")
    data = dict(event["data"])
    assert data.pop("sent_at") == datetime.fromtimestamp(NOW, UTC)
    assert data == {
        "counts": {"ocr": 1, "qr": 2},
        "attempt": 1,
        "product": "reader",
        "version": "11",
        "validation": {"kind": "domain", "value": "shop.example.org"},
        "instances": 3,
    }


async def test_only_what_succeeds_is_counted(opened: Open, server: ReportingServer) -> None:
    async with opened() as client:

        @client.counted("sync")
        def work(fail: bool) -> int:
            return 1 // (not fail)

        @client.counted("async", 2)
        async def work_later(fail: bool) -> int:
            return 1 // (not fail)

        assert (work(False), await work_later(False)) == (1, 1)
        for failing in (lambda: work(True), lambda: asyncio.run(work_later(True))):
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(failing)
        with pytest.raises(ZeroDivisionError), client.recording("block"):
            raise ZeroDivisionError
        await client.flush()
    assert server.units == {"sync": 1, "async": 2}


async def test_the_slot_that_is_open_waits_for_its_end(opened: Open, server: ReportingServer, clock: Clock) -> None:
    async with opened(background=True, submit_interval_s=0.02) as client:
        client.record("qr")
        core = client._core
        await asyncio.to_thread(core.collect)
        assert (waiting(client), server.requests) == (0, [])
        clock.now += 180
        await asyncio.to_thread(server.wait, lambda: server.units == {"qr": 1})


async def test_what_earlier_sessions_left_goes_first(opened: Open, server: ReportingServer) -> None:
    server.answer = unavailable(503)
    async with opened() as client:
        client.record("qr", 5)
    server.answer = accepted
    server.requests.clear()
    async with opened(background=True):
        await asyncio.to_thread(server.wait, lambda: server.units == {"qr": 5})
    assert server.requests[0].content[0]["data"]["attempt"] == 2


@pytest.mark.parametrize(
    "answer",
    [
        cut,
        unavailable(400),
        unavailable(401),
        unavailable(403),
        unavailable(429, "Retry-After: 0"),
        unavailable(500),
        unavailable(503, "Retry-After: Sat, 08 Mar 2031 09:59:00 GMT", "Date: Sat, 08 Mar 2031 10:00:00 GMT"),
        unavailable(503, "Retry-After: soon"),
        lambda _: Answer(202, "nonsense"),
        lambda _: Answer(202, {"results": []}),
        lambda request: Answer(202, {"results": [5] * len(request.content)}),
        lambda request: Answer(202, {"results": [{"id": "other", "outcome": "accepted"}]}),
        lambda request: Answer(202, {"results": [{"id": request.content[0]["id"], "outcome": "later"}]}),
    ],
)
async def test_anything_but_a_confirmation_keeps_a_report(
    opened: Open, server: ReportingServer, answer: Callable[[Request], Answer]
) -> None:
    async with opened() as client:
        client.record("qr")
        server.answer = answer
        assert not await client.flush()
        assert waiting(client) == 1
        server.answer = accepted
        assert await client.flush()
        assert (waiting(client), server.units) == (0, {"qr": 1})


async def test_an_answer_that_is_lost_makes_a_repetition_not_a_second_count(
    opened: Open, server: ReportingServer
) -> None:
    async with opened() as client:
        client.record("qr")
        server.script = [lambda request: Answer(0, cut=True, keep=True)]
        assert not await client.flush()
        assert await client.flush()
    assert len(server.requests) == 2
    assert server.units == {"qr": 1}


@pytest.mark.parametrize("status", [202, 403, 422])
async def test_a_refusal_for_good_drops_the_report_and_is_said(
    opened: Open, server: ReportingServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda request: rejected("key_mismatch")(request)._replace(status=status)
    async with opened() as client:
        client.record("qr")
        assert await client.flush()
        assert (waiting(client), client.stats.rejected) == (0, {"key_mismatch": 1})
    assert "report_rejected (key_mismatch)" in caplog.text


@pytest.mark.parametrize("reason", ["future_slot", "clock_skew"])
async def test_a_wrong_clock_is_no_reason_to_drop_a_report(opened: Open, server: ReportingServer, reason: str) -> None:
    server.answer = rejected(reason)
    async with opened(spool_days_max=1e-9) as client:
        client.record("qr")
        assert not await client.flush()
        assert (waiting(client), client.stats.rejected, client.stats.dropped_reports) == (1, {}, 0)


async def test_a_failed_report_is_not_tried_again_in_the_session(opened: Open, server: ReportingServer) -> None:
    async with opened() as client:
        client.record("qr")
        server.answer = unavailable(500)
        await client.flush()
        client._core.collect(all_slots=True)
        courier_of_client = client._conversation._courier
        assert courier_of_client is not None
        server.answer = accepted
        courier_of_client._not_before = 0.0
        client.record("ean")
        client._core.collect(all_slots=True)
        assert await courier_of_client.submit()
        assert (server.units, waiting(client)) == ({"ean": 1}, 1)


async def test_retrying_in_the_session_backs_off(
    opened: Open, server: ReportingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "TICK_S", 0.01)
    monkeypatch.setattr(courier, "BACKOFF_MIN_S", 0.01)
    server.answer = unavailable(500)
    async with opened(background=True, retry_in_session=True) as client:
        client.record("qr")
        await client.flush()
        await asyncio.to_thread(server.wait, lambda: len(server.requests) > 2)
        server.answer = accepted
        await asyncio.to_thread(server.wait, lambda: server.units == {"qr": 1})
        assert client.stats.failed_deliveries >= 3


async def test_smaller_batches_go_when_the_server_asks_for_them(opened: Open, server: ReportingServer) -> None:
    server.answer = lambda request: Answer(413) if len(request.content) > 3 else accepted(request)
    async with opened() as client:
        for number in range(20):
            client.record("qr", at=datetime.fromtimestamp(NOW - 180 * number, UTC))
        assert await client.flush()
    assert server.units == {"qr": 20}
    assert max(len(request.content) for request in server.requests) == 20


async def test_a_report_that_is_too_large_by_itself_does_not_hold_up_others(
    opened: Open, server: ReportingServer
) -> None:
    def answer(request: Request) -> Answer:
        large = any("large" in event["data"]["counts"] for event in request.content)
        return Answer(413) if large else accepted(request)

    server.answer = answer
    async with opened() as client:
        client.record("large", at=datetime.fromtimestamp(NOW - 1_800, UTC))
        client.record("qr")
        assert not await client.flush()
        assert (server.units, waiting(client)) == ({"qr": 1}, 1)


async def test_a_request_has_at_most_a_thousand_events(opened: Open, server: ReportingServer) -> None:
    async with opened() as client:
        for number in range(1_001):
            client.record("qr", at=datetime.fromtimestamp(NOW - 180 * number, UTC))
        assert await client.flush()
    assert [len(request.content) for request in server.requests] == [1_000, 1]
    assert server.units == {"qr": 1_001}


async def test_the_background_survives_what_nobody_thought_of(
    opened: Open, server: ReportingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(courier, "TICK_S", 0.01)
    async with opened(background=True, submit_interval_s=0.02) as client:
        tick, failures = client._core.tick, [ZeroDivisionError(), KeyError()]

        def broken() -> None:
            if failures:
                raise failures.pop()
            tick()

        client._core.tick = broken  # type: ignore[method-assign]
        client.record("qr")
        client._core.collect(all_slots=True)
        await asyncio.to_thread(server.wait, lambda: server.units == {"qr": 1})
        async with asyncio.timeout(20):
            while failures:  # noqa: ASYNC110 - what is awaited is no coroutine
                await asyncio.sleep(0.01)
    assert "background_failed" in caplog.text


GRANTED = {
    "granted": True,
    "project_id": "1-x",
    "item_id": "41",
    "local_expires_at": "2031-03-11T10:02:11.123Z",
    "code": None,
    "items": [{"item_id": "41", "state": "active", "percent": "12.00"}],
}
REFUSED = GRANTED | {
    "granted": False,
    "item_id": None,
    "local_expires_at": None,
    "code": {"number": 120, "slug": "limit_exceeded"},
}


async def test_leave_is_kept_for_times_without_a_server_until_it_ends(
    opened: Open, server: ReportingServer, clock: Clock
) -> None:
    server.answer = lambda _: Answer(200, GRANTED)
    async with opened(product="reader") as client:
        answer = await client.authorize(feature="qr")
        assert (answer.granted, answer.item_id, answer.cached) == (True, "41", False)
        assert client.items["41"].state == "active"
        asked = server.requests[-1]
        assert asked.path == "/v1/authorizations"
        assert asked.content["client_uuid"] == client.client_uuid
        assert asked.content["at"] == "2031-03-08T10:01:30Z"
        server.answer = cut
        kept = await client.authorize(feature="qr")
        assert (kept.granted, kept.item_id, kept.cached) == (True, "41", True)
        clock.now += 4 * 86_400
        with pytest.raises(AuthorizationUnavailable):
            await client.authorize(feature="qr")


async def test_a_request_for_leave_is_repeated_as_it_was(opened: Open, server: ReportingServer) -> None:
    server.script = [unavailable(503, "Retry-After: 0")]
    server.answer = lambda _: Answer(200, REFUSED)
    async with opened() as client:
        answer = await client.authorize()
    assert (answer.granted, answer.code, answer.code_slug) == (False, 120, "limit_exceeded")
    assert server.requests[0].content == server.requests[1].content


async def test_without_a_folder_all_is_in_memory_and_still_sent(server: ReportingServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with UsageClient(server.url, license_key=KEY, spool=tmp_path / "file" / "spool") as client:
        assert client.stats.in_memory
        client.record("qr")
        assert await client.flush()
        server.answer = unavailable(500)
        client.record("qr")
    assert server.units == {"qr": 1}


async def test_misuse_is_said_once(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as client:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                client.record(None)  # type: ignore[arg-type]
                client._core.tick()
        assert client.stats.misused == {"feature": 3}
    assert caplog.text.count("(feature)") == 1
