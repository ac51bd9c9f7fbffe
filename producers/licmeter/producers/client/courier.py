"""Carries reports from the spool to the server, and answers back. One for each client, in one event loop."""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from licmeter.producers.client.answers import Authorization, Delivery, TransportError
from licmeter.producers.client.core import Core
from licmeter.producers.client.http import HttpTransport
from licmeter.producers.client.kafka import KafkaTransport
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.spool import Dropped, Pending
from licmeter.schemas.reports import encode_event

__all__ = ["Courier", "Transport"]

#: How often what was recorded is made to survive a power cut.
TICK_S: Final = 1.0
#: Of one request; the server takes 1,000 events and more bytes.
EVENTS_MAX: Final = 1_000
BYTES_MAX: Final = 1024 * 1024
#: Retrying in the session: from a second or so to a submission cycle, with full jitter.
BACKOFF_MIN_S: Final = 1.0
BACKOFF_MAX_S: Final = 180.0


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
        """Send what is left from earlier, then what is new once in a submission cycle (domain, L2)."""
        interval_s = self._core.options.submit_interval_s
        await self.submit()
        next_s = time.monotonic() + interval_s
        while True:
            await asyncio.sleep(min(TICK_S, interval_s))
            await asyncio.to_thread(self._core.tick)
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + interval_s
                await asyncio.to_thread(self._core.collect)
                if now_s >= self._not_before:
                    await self.submit()
            elif self._core.options.retry_in_session and self._failures and now_s >= self._not_before:
                await self.submit(again=True)

    async def submit(self, *, again: bool = False) -> bool:
        """Send what waits and was not tried in this session; `again`: also what was. Tell whether all went."""
        async with self._one_at_a_time:
            if again or self._core.options.retry_in_session:
                self._core.session = uuid.uuid4().hex
            try:
                while batch := await asyncio.to_thread(self._next_batch):
                    await self._deliver(batch)
            except TransportError as error:
                self._failed(error)
                return False
            except sqlite3.Error as error:
                self._core.say("spool_failed", str(error))
                return False
            self._failures = 0
            return True

    def _failed(self, error: TransportError) -> None:
        core = self._core
        core.stats.failed_deliveries += 1
        core.stats.last_failure = str(error)
        core.say("delivery_failed", f"{error}; reports are kept and sent again")
        self._failures += 1
        wait_s = random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2**self._failures))  # noqa: S311
        self._not_before = time.monotonic() + max(wait_s, error.retry_after_s or 0.0)

    def _next_batch(self) -> list[Pending]:
        folder = self._core.folder
        assert folder is not None
        batch = folder.spool.pending(EVENTS_MAX, BYTES_MAX, not_in_session=self._core.session)
        folder.spool.attempted(batch, self._core.session)
        return batch

    async def _deliver(self, batch: list[Pending]) -> None:
        folder = self._core.folder
        assert folder is not None
        dropped = await asyncio.to_thread(folder.spool.dropped)
        try:
            delivery = await self._transport.deliver(
                [report.report_id for report in batch],
                [_event(report, dropped if not number else Dropped()) for number, report in enumerate(batch)],
            )
        except TransportError as error:
            if not error.too_large or len(batch) == 1:
                raise
            half = len(batch) // 2
            await self._deliver(batch[:half])
            await self._deliver(batch[half:])
            return
        await asyncio.to_thread(self._settle, batch, delivery, dropped)

    def _settle(self, batch: list[Pending], delivery: Delivery, dropped: Dropped) -> None:
        core = self._core
        assert core.folder is not None
        said = dropped if dropped.reports and batch[0].report_id in delivery.confirmed else None
        core.folder.spool.settle([*delivery.confirmed, *delivery.rejected], said)
        core.items.update({item.item_id: item for item in delivery.items})
        core.stats.confirmed_reports += len(delivery.confirmed)
        for reason in delivery.rejected.values():
            core.stats.rejected[reason] = core.stats.rejected.get(reason, 0) + 1
            core.say(f"report_rejected ({reason})", "it was dropped: sending it again cannot succeed")
        for reason in delivery.later.values():
            core.say(f"report_kept ({reason})", "it is tried again later; is this device's clock right?")

    async def authorize(self, request: dict[str, object]) -> Authorization:
        """Ask for leave, twice if need be: the same request, so it counts once."""
        try:
            return await self._transport.authorize(request)
        except TransportError as error:
            if error.retry_after_s is not None:
                await asyncio.sleep(min(error.retry_after_s, self._core.options.exit_timeout_s))
            return await self._transport.authorize(request)

    async def close(self) -> None:
        """Let go of connections."""
        with contextlib.suppress(Exception):
            await self._transport.close()


def _event(report: Pending, dropped: Dropped) -> bytes:
    """Return the event of an attempt."""
    event = json.loads(report.event)
    event["data"] |= {"sent_at": datetime.now(UTC), "attempt": report.attempt + 1}
    if dropped.reports:
        event["data"] |= {"dropped_reports": dropped.reports, "dropped_units": dropped.units}
    return encode_event(event)
