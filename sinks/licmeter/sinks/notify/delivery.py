"""Brings one notice to its end: delivered, or a dead letter."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from licmeter.sinks.notify.breaker import Breaker
from licmeter.sinks.notify.config import Target
from licmeter.sinks.notify.errors import FailedError, GoneError, RefusedError
from licmeter.sinks.notify.letters import Letter
from licmeter.sinks.notify.notices import Notice
from licmeter.sinks.notify.retries import Retries
from licmeter.sinks.notify.secrets import Redactor
from licmeter.sinks.notify.senders import Sender
from licmeter.sinks.notify.stats import LaneStats, log_event

__all__ = ["Delivery", "Letters"]

#: A child process has its own bound, and must be given the time to start.
_ATTEMPT_S_SLACK: Final = 60.0


class Letters(Protocol):
    """Where dead letters go."""

    async def put(self, letter: Letter) -> None:
        """Return when it is kept."""
        ...


class Delivery:
    """Delivers the notices of one target: some at a time, again when they fail, through its circuit breaker."""

    def __init__(
        self,
        target: Target,
        sender: Sender,
        letters: Letters,
        redact: Redactor,
        stats: LaneStats,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._sender = sender
        self._letters = letters
        self._redact = redact
        self._stats = stats
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._slots = asyncio.Semaphore(target.concurrency)
        self._retries = Retries(target.attempts_max, target.give_up_after_s, target.retry_wait_s_max)
        self.breaker = Breaker(target.circuit_failures_max, target.circuit_open_s, target.circuit_open_s_max)
        self.trying = 0

    async def deliver(self, notice: Notice) -> None:
        """Return when it is delivered or a dead letter; raises `GoneError` when the target wants nothing more."""
        began, first_tried = self._clock(), self._now()
        deadline = began + self._target.give_up_after_s
        attempts, last = 0, "the circuit was open all the time"
        while True:
            if not await self._may_try(deadline):
                return await self._give_up(notice, "circuit_open", last, attempts, first_tried)
            attempts += 1
            try:
                refused = await self._attempt(notice)
            except RefusedError as error:
                return await self._give_up(notice, "refused", error.reason, attempts, first_tried)
            except FailedError as error:
                last = error.reason
                await self._give_up_some(notice, error.refused, attempts, first_tried)
                if error.left is not None:
                    notice = notice.model_copy(update={"left": error.left})
                retry_s = self._retries.wait_s(attempts, self._clock() - began, random.random())  # noqa: S311
                log_event(
                    logging.WARNING,
                    "notify_attempt_failed",
                    target=self._target.name,
                    key=notice.key,
                    attempt=attempts,
                    retry_s=None if retry_s is None else round(retry_s, 1),
                    reason=error.reason,
                )
                if retry_s is None:
                    return await self._give_up(notice, "attempts_used_up", last, attempts, first_tried)
                await self._sleep(retry_s)
            else:
                await self._give_up_some(notice, refused, attempts, first_tried)
                self._stats.delivered += 1
                log_event(
                    logging.INFO,
                    "notify_delivered",
                    target=self._target.name,
                    organization=notice.organization_id,
                    kind=notice.kind,
                    events=notice.events,
                    key=notice.key,
                    attempts=attempts,
                )
                return None

    async def _may_try(self, deadline: float) -> bool:
        """Return True with a slot when the breaker lets us through, False when the deadline comes first."""
        while True:
            await self._slots.acquire()
            now = self._clock()
            before = self.breaker.state
            wait_s = self.breaker.wait_s(now)
            self._say_changed(before)
            if wait_s == 0:
                return True
            self._slots.release()
            if now >= deadline:
                return False
            await self._sleep(min(wait_s, max(deadline - now, 0.0)))

    async def _attempt(self, notice: Notice) -> Mapping[str, str]:
        """Try once, in the slot that we hold; tell the breaker."""
        before = self.breaker.state
        self.trying += 1
        try:
            refused = await self._send(notice)
        except FailedError as error:
            self._stats.failures += 1
            self.breaker.failed(self._clock(), error.retry_after_s)
            raise
        except BaseException:
            # Broken off, or the notice is at fault: that says nothing about the target.
            self.breaker.abandoned()
            raise
        else:
            self.breaker.succeeded()
            return refused
        finally:
            self.trying -= 1
            self._slots.release()
            self._say_changed(before)

    async def _send(self, notice: Notice) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(self._target.timeout_s + _ATTEMPT_S_SLACK):
                return await self._sender.send(notice)
        except (FailedError, RefusedError, GoneError):
            raise
        except TimeoutError:
            raise FailedError("no answer in time") from None
        except Exception as error:  # whatever it is, it is one attempt of one target that failed
            raise FailedError(self._redact(f"{type(error).__name__}: {error}")) from None

    def _say_changed(self, before: str) -> None:
        breaker = self.breaker
        self._stats.circuit_opened = breaker.opened
        if breaker.state != before:
            level = logging.WARNING if breaker.state == "open" else logging.INFO
            log_event(
                level,
                "notify_circuit",
                target=self._target.name,
                state=breaker.state,
                before=before,
                failures=breaker.failures,
            )

    async def _give_up_some(
        self, notice: Notice, refused: Mapping[str, str], attempts: int, first_tried: datetime
    ) -> None:
        """Keep the notice for recipients who were refused for good; the others are not touched by that."""
        if refused:
            rest = notice.model_copy(update={"left": tuple(sorted(refused))})
            detail = f"{len(refused)} recipient(s): {next(iter(refused.values()))}"
            await self._give_up(rest, "recipient_refused", detail, attempts, first_tried)

    async def _give_up(self, notice: Notice, reason: str, detail: str, attempts: int, first_tried: datetime) -> None:
        letter = Letter(
            notice=notice,
            reason=reason,
            detail=detail,
            attempts=attempts,
            first_tried_at=first_tried,
            given_up_at=self._now(),
        )
        await self._letters.put(letter)
        self._stats.undelivered[reason] += 1
        log_event(
            logging.ERROR,
            "notify_undelivered",
            target=self._target.name,
            organization=notice.organization_id,
            key=notice.key,
            reason=reason,
            attempts=attempts,
            detail=detail,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)
