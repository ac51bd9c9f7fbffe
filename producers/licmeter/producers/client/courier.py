"""Carries reports from the spool to the server, and answers back. One for each client, in one event loop."""

import asyncio
import contextlib
import json
import random
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from licmeter.producers.client.answers import Authorization, Delivery, TransportError
from licmeter.producers.client.core import Core
from licmeter.producers.client.http import HttpTransport
from licmeter.producers.client.kafka import KafkaTransport
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.spool import Dropped, Pending
from licmeter.producers.client.threads import in_thread, to_its_end
from licmeter.schemas.reports import encode_event

__all__ = ["Courier", "Transport", "transport_of"]

#: How often what was recorded is made to survive a power cut.
TICK_S: Final = 1.0
#: Of one request; the server takes 1,000 events and more bytes.
EVENTS_MAX: Final = 1_000
BYTES_MAX: Final = 1024 * 1024
#: Retrying in the session: from a second or so to a submission cycle, with full jitter.
BACKOFF_MIN_S: Final = 1.0
BACKOFF_MAX_S: Final = 180.0
#: Enough for the longest wait; a number that doubles without end is one day too large for a float.
DOUBLINGS_MAX: Final = 10


class Transport(Protocol):
    """A way to the server."""

    async def deliver(self, ids: Sequence[str], events: Sequence[bytes]) -> Delivery:
        """Send events; return what became of each. Raises `TransportError` when that is not known."""

    async def authorize(self, request: dict[str, object]) -> Authorization:
        """Ask for leave. Raises `TransportError` when there is no answer."""

    async def close(self) -> None:
        """Let go of connections."""


def transport_of(options: ClientOptions) -> Transport:
    """Return the way that the options name."""
    return HttpTransport(options) if options.url is not None else KafkaTransport(options)


class Courier:
    """The client's background. `run` until it is cancelled, or `submit` when asked."""

    def __init__(self, core: Core, transport: Transport) -> None:
        self._core = core
        self._transport = transport
        self._one_at_a_time = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0

    async def run(self) -> None:
        """Send what is left from earlier, then what is new once in a submission cycle (domain, L2).

        Ends by cancellation only: whatever else happens is said, and the next cycle comes.
        """
        interval_s = self._core.options.submit_interval_s
        await self.submit()
        next_s = time.monotonic() + interval_s
        while True:
            await asyncio.sleep(min(TICK_S, interval_s))
            now_s = time.monotonic()
            due = now_s >= next_s
            if due:
                next_s = now_s + interval_s
            try:
                await self._cycle(due, now_s >= self._not_before)
            except Exception as error:
                self._unexpected(error)

    async def _cycle(self, due: bool, may_send: bool) -> None:
        await in_thread(self._core.tick)
        if due:
            await in_thread(self._core.collect)
            if may_send:
                await self.submit()
        elif self._core.options.retry_in_session and self._failures and may_send:
            await self.submit(again=True)

    async def submit(self, *, again: bool = False) -> bool:
        """Send what waits and was not tried in this session; `again`: also what was. Tell whether all went."""
        async with self._one_at_a_time:
            if again or self._core.options.retry_in_session:
                self._core.session = uuid.uuid4().hex
            try:
                kept = await self._send_all()
            except TransportError as error:
                self._failed(error)
                return False
            except sqlite3.Error as error:
                await in_thread(self._core.failed, error)
                return False
            except Exception as error:
                self._unexpected(error)
                self._failed(TransportError(f"{type(error).__name__}: {error}"))
                return False
            self._failures = 0
            return not kept

    async def _send_all(self) -> int:
        """Send each report once; return how many the server wants later.

        In their order, and never back: another process on the spool may mark what we have just tried as its own try,
        and two that take each other's reports for new would never end.
        """
        kept, last = 0, None
        while batch := await in_thread(self._next_batch, last):
            last = batch[-1]
            kept += await self._deliver(batch)
        return kept

    def _unexpected(self, error: Exception) -> None:
        """Say what nobody thought of. At the end of the interpreter nothing works any more, and that is no news."""
        if not sys.is_finalizing():
            self._core.say("background_failed", f"{type(error).__name__}: {error}; it goes on")

    def _failed(self, error: TransportError) -> None:
        core = self._core
        core.stats.failed_deliveries += 1
        core.stats.last_failure = str(error)
        core.say("delivery_failed", f"{error}; reports are kept and sent again")
        self._failures += 1
        longest_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._failures, DOUBLINGS_MAX))
        wait_s = random.uniform(0, longest_s)  # noqa: S311
        self._not_before = time.monotonic() + max(wait_s, error.retry_after_s or 0.0)

    def _next_batch(self, last: Pending | None) -> list[Pending]:
        folder = self._core.folder
        assert folder is not None
        while batch := folder.spool.pending(EVENTS_MAX, BYTES_MAX, not_in_session=self._core.session, after=last):
            folder.spool.attempted(batch, self._core.session)
            last = batch[-1]
            unreadable = [report.report_id for report in batch if not _is_event(report.event)]
            if unreadable:
                # Of a broken disk; the others must not wait for it.
                folder.spool.settle(unreadable)
                self._count_rejected(["unreadable"] * len(unreadable))
            if len(unreadable) < len(batch):
                return [report for report in batch if report.report_id not in unreadable]
        return []

    async def _deliver(self, batch: list[Pending]) -> int:
        """Send a batch, in parts if it is too large; return how many reports the server wants later."""
        folder = self._core.folder
        assert folder is not None
        dropped = await in_thread(folder.spool.dropped)
        now = self._core.now()
        try:
            delivery = await self._transport.deliver(
                [report.report_id for report in batch],
                [_event(report, now, dropped if not number else Dropped()) for number, report in enumerate(batch)],
            )
        except TransportError as error:
            if not error.too_large:
                raise
            if len(batch) == 1:
                # It alone; those behind it must not wait for it.
                delivery = Delivery(later={batch[0].report_id: "too_large"})
            else:
                half = len(batch) // 2
                return await self._deliver(batch[:half]) + await self._deliver(batch[half:])
        # To its end, also when we are cancelled: what the server has confirmed need not go again.
        await to_its_end(self._settle, batch, delivery, dropped)
        return len(delivery.later)

    def _settle(self, batch: list[Pending], delivery: Delivery, dropped: Dropped) -> None:
        core = self._core
        assert core.folder is not None
        said = dropped if dropped != Dropped() and batch[0].report_id in delivery.confirmed else None
        core.folder.spool.settle([*delivery.confirmed, *delivery.rejected], said)
        core.items.update({item.item_id: item for item in delivery.items})
        core.stats.confirmed_reports += len(delivery.confirmed)
        self._count_rejected(delivery.rejected.values())
        for reason in delivery.later.values():
            core.say(f"report_kept ({reason})", "it is tried again later; is this device's clock right?")

    def _count_rejected(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            rejected = self._core.stats.rejected
            rejected[reason] = rejected.get(reason, 0) + 1
            self._core.say(f"report_rejected ({reason})", "it was dropped: sending it again cannot succeed")

    async def authorize(self, request: dict[str, object]) -> Authorization:
        """Ask for leave, twice if need be: the same request, so it counts once."""
        try:
            return await self._transport.authorize(request)
        except TransportError as error:
            if error.forbidden:
                raise
            if error.retry_after_s is not None:
                await asyncio.sleep(min(error.retry_after_s, self._core.options.exit_timeout_s))
            return await self._transport.authorize(request)

    async def close(self) -> None:
        """Let go of connections."""
        with contextlib.suppress(Exception):
            await self._transport.close()


def _is_event(text: bytes) -> bool:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(event, dict) and isinstance(event.get("data"), dict)


def _event(report: Pending, now: float, dropped: Dropped) -> bytes:
    """Return the event of an attempt."""
    event = json.loads(report.event)
    event["data"] |= {"sent_at": datetime.fromtimestamp(now, UTC), "attempt": report.attempt + 1}
    if dropped != Dropped():
        event["data"] |= {"dropped_reports": dropped.reports, "dropped_units": dropped.units}
    return encode_event(event)
