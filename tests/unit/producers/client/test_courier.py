"""The background delivers, settles, waits and says; nothing ends it but its cancellation."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from licmeter.producers.client import courier as module
from licmeter.producers.client.answers import Authorization, Delivery, TransportError
from licmeter.producers.client.core import Core
from licmeter.producers.client.courier import Courier
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.recorder import SLOT_SECONDS

START = 1_930_000_140.0
Reply = Callable[[Sequence[str]], Delivery]


class Way:
    """A way to a server that answers as it is told, call by call; then it confirms."""

    def __init__(self) -> None:
        self.script: list[Reply | Exception] = []
        self.calls: list[list[dict[str, Any]]] = []
        self.called = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def deliver(self, ids: Sequence[str], events: Sequence[bytes]) -> Delivery:
        self.calls.append([json.loads(event) for event in events])
        self.called.set()
        if self.hold is not None:
            await self.hold.wait()
        reply = self.script.pop(0) if self.script else lambda ids: Delivery(confirmed=list(ids))
        if isinstance(reply, Exception):
            raise reply
        return reply(ids)

    async def authorize(self, request: dict[str, object]) -> Authorization:
        raise TransportError("not here")

    async def close(self) -> None:
        pass


class Stage:
    def __init__(self, folder: Path, **options: Any) -> None:
        self.now = START
        self.options = ClientOptions(kafka="k:1", project_id="300417-kiosk", spool=folder, **options)
        self.begin()

    def begin(self) -> None:
        """Start a session."""
        self.core = Core(self.options, clock=lambda: self.now)
        self.core.open()
        self.way = Way()
        self.courier = Courier(self.core, self.way)

    def reports(self, count: int = 1) -> None:
        for _ in range(count):
            self.core.recorder.record("qr")
            self.now += SLOT_SECONDS
        self.core.collect()

    def waiting(self) -> int | None:
        assert self.core.folder is not None
        return self.core.folder.spool.status()["reports"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_what_is_confirmed_is_gone(stage: Stage) -> None:
    stage.reports(3)
    assert await stage.courier.submit()
    assert (stage.waiting(), stage.core.stats.confirmed_reports, len(stage.way.calls)) == (0, 3, 1)


async def test_a_report_says_when_and_for_the_how_many_th_time_it_is_sent(stage: Stage) -> None:
    stage.reports()
    stage.way.script = [TransportError("away")]
    await stage.courier.submit()
    await stage.courier.submit(again=True)
    first, second = (call[0] for call in stage.way.calls)
    assert (first["data"]["attempt"], second["data"]["attempt"], first["id"]) == (1, 2, second["id"])
    assert second["data"]["sent_at"] == "2031-02-27T23:12:00Z"


async def test_l3_a_failed_report_is_not_tried_again_in_its_session(stage: Stage) -> None:
    stage.reports()
    stage.way.script = [TransportError("away")]
    assert not await stage.courier.submit()
    stage.reports()
    assert await stage.courier.submit()
    assert (len(stage.way.calls), stage.waiting()) == (2, 1)
    stage.core.rest()
    stage.begin()
    assert await stage.courier.submit()
    assert (len(stage.way.calls), stage.waiting()) == (1, 0)


async def test_retry_in_session_tries_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, retry_in_session=True)
    stage.reports()
    stage.way.script = [TransportError("away")]
    assert [await stage.courier.submit(), await stage.courier.submit(), stage.waiting()] == [False, True, 0]


async def test_refused_reports_are_dropped_and_counted_others_are_kept(stage: Stage) -> None:
    stage.reports(3)
    stage.way.script = [
        lambda ids: Delivery(confirmed=[ids[0]], rejected={ids[1]: "conflict"}, later={ids[2]: "future_slot"})
    ]
    assert not await stage.courier.submit()  # the server has not all of it
    assert (stage.waiting(), stage.core.stats.rejected) == (1, {"conflict": 1})
    assert await stage.courier.submit(again=True)


async def test_two_processes_that_share_a_spool_end(tmp_path: Path) -> None:
    """Each takes what the other has just marked for not tried yet; that must not go on forever."""
    one, two = Stage(tmp_path), Stage(tmp_path)
    one.reports(2)

    def later(ids: Sequence[str]) -> Delivery:
        assert two.core.folder is not None
        two.core.folder.spool.attempted(two.core.folder.spool.pending(9, 10**6), two.core.session)
        return Delivery(later=dict.fromkeys(ids, "future_slot"))

    one.way.script = [later] * 50
    assert not await asyncio.wait_for(one.courier.submit(), 5)
    assert len(one.way.calls) == 1


async def test_too_large_batches_are_divided(stage: Stage) -> None:
    stage.reports(5)
    too_large = TransportError("413", too_large=True)
    stage.way.script = [too_large, too_large]
    assert await stage.courier.submit()
    assert [len(call) for call in stage.way.calls] == [5, 2, 1, 1, 3]
    assert stage.waiting() == 0


async def test_a_report_that_is_too_large_alone_stops_no_other(stage: Stage) -> None:
    stage.reports(2)
    stage.way.script = [TransportError("413", too_large=True)] * 2
    assert not await stage.courier.submit()
    assert stage.waiting() == 1
    assert len(stage.way.calls) == 3


async def test_dropped_is_said_and_reset_only_on_confirmation(tmp_path: Path) -> None:
    stage = Stage(tmp_path, spool_days_max=1)
    stage.reports(2)
    stage.now += 2 * 86_400
    stage.reports(3)
    stage.way.script = [TransportError("away"), lambda ids: Delivery(later=dict.fromkeys(ids, "clock_skew"))]
    for _ in range(4):
        await stage.courier.submit(again=True)
        stage.reports()
    said = [[event["data"].get("dropped_reports") for event in call] for call in stage.way.calls]
    assert said == [[2, None, None], [2, None, None, None], [2, None, None, None, None], [None]]
    assert (stage.core.stats.dropped_reports, stage.core.stats.dropped_units) == (2, 2)


async def test_an_unreadable_report_is_dropped_and_stops_no_other(stage: Stage, tmp_path: Path) -> None:
    stage.reports(2)
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("UPDATE reports SET event = ? WHERE slot = ?", (b'{"data": 3', int(START)))
    db.close()
    assert await stage.courier.submit()
    assert (stage.waiting(), stage.core.stats.rejected) == (0, {"unreadable": 1})


async def test_what_nobody_thought_of_is_said_and_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.001)
    ticks = asyncio.Event()

    def tick() -> None:
        ticks.set()
        raise ZeroDivisionError("surprise")

    stage.reports()
    stage.way.script = [KeyError("surprise")]
    stage.core.tick = tick  # type: ignore[method-assign]
    task = asyncio.create_task(stage.courier.run())
    for _ in range(2):
        await asyncio.wait_for(ticks.wait(), 5)
        ticks.clear()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.args[0] for record in caplog.records if record.args].count("background_failed") == 1
    assert stage.waiting() == 1


async def test_a_thousand_failures_are_as_good_as_one(stage: Stage) -> None:
    """2 ** 1024 is no float: after some two days without a server the wait could not be computed."""
    for _ in range(1_100):
        stage.courier._failed(TransportError("away"))
    assert stage.core.stats.failed_deliveries == 1_100


async def test_what_was_confirmed_is_settled_also_when_cancelled(stage: Stage) -> None:
    stage.reports()
    held, settle = asyncio.Event(), stage.courier._settle
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any) -> None:
        loop.call_soon_threadsafe(held.set)
        settle(*arguments)

    stage.courier._settle = slow  # type: ignore[method-assign]
    task = asyncio.create_task(stage.courier.submit())
    await asyncio.wait_for(held.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.waiting() == 0


async def test_what_is_under_way_when_cancelled_stays(stage: Stage) -> None:
    stage.reports()
    stage.way.hold = asyncio.Event()
    task = asyncio.create_task(stage.courier.submit())
    await asyncio.wait_for(stage.way.called.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stage.way.hold = None
    assert stage.waiting() == 1
    assert await stage.courier.submit(again=True)
