"""The process that tells people: one lane for each target, each on its own."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from licmeter.sinks.notify.children import Children
from licmeter.sinks.notify.config import Target
from licmeter.sinks.notify.delivery import Delivery
from licmeter.sinks.notify.lane import Lane
from licmeter.sinks.notify.letters import LetterBox
from licmeter.sinks.notify.positions import begin_group, group_of
from licmeter.sinks.notify.secrets import quiet_libraries
from licmeter.sinks.notify.senders import make_sender, redactor
from licmeter.sinks.notify.stats import LaneStats, log_event

__all__ = ["NotifierConfig", "run_notifier"]

#: A lane that fails, for whatever reason, is begun again; others go on meanwhile.
_RESTART_WAIT_S_MIN: Final = 1.0
_RESTART_WAIT_S_MAX: Final = 60.0
#: A lane that ran this long did not fail at its start.
_STEADY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class NotifierConfig:
    """Where to read, whom to tell."""

    bootstrap_servers: str
    targets: Sequence[Target] = field(repr=False)
    instance_id: str | None = None  # static membership: a restart within the session timeout moves no partitions
    session_timeout_s: float = 10.0
    stats_interval_s: float = 60.0


async def run_notifier(config: NotifierConfig, stop: asyncio.Event) -> None:
    """Tell until `stop` is set; raises `aiokafka.errors.KafkaError` when Kafka cannot be reached at the start."""
    targets = [target for target in config.targets if target.enabled]
    async with AsyncExitStack() as stack:
        stack.enter_context(quiet_libraries())
        letters = LetterBox(config.bootstrap_servers)
        await letters.start()
        stack.push_async_callback(letters.stop)
        children = Children()
        log_event(logging.INFO, "notify_started", targets=",".join(target.name for target in targets))
        async with asyncio.TaskGroup() as group:
            for target in targets:
                group.create_task(_Keeper(config, target, letters, children).run(stop))
    log_event(logging.INFO, "notify_stopped")


class _Keeper:
    """Keeps one lane running."""

    def __init__(self, config: NotifierConfig, target: Target, letters: LetterBox, children: Children) -> None:
        self._config = config
        self._target = target
        self._letters = letters
        self._children = children
        self._stats = LaneStats()
        self._redact = redactor(target)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until stopped."""
        wait_s = _RESTART_WAIT_S_MIN
        while not stop.is_set():
            began = time.monotonic()
            try:
                gone = await self._run_once(stop)
            except Exception as error:
                if time.monotonic() - began > _STEADY_S:
                    wait_s = _RESTART_WAIT_S_MIN
                self._stats.restarts += 1
                reason = self._redact(f"{type(error).__name__}: {error}")
                log_event(
                    logging.ERROR, "notify_lane_failed", target=self._target.name, reason=reason, restart_s=wait_s
                )
                await _wait(stop, wait_s)
                wait_s = min(wait_s * 2, _RESTART_WAIT_S_MAX)
            else:
                if gone:
                    log_event(
                        logging.ERROR,
                        "notify_target_gone",
                        target=self._target.name,
                        consequence="nothing more is sent to it until a restart; its alerts wait in Kafka",
                    )
                    await stop.wait()

    async def _run_once(self, stop: asyncio.Event) -> bool:
        """Run a lane until it ends; tell whether its target is gone."""
        config, target = self._config, self._target
        since_ms = int((time.time() - target.first_read_s) * 1000)
        await begin_group(config.bootstrap_servers, group_of(target.name), since_ms)
        sender = make_sender(target, self._children)
        try:
            delivery = Delivery(target, sender, self._letters, self._redact, self._stats)
            lane = Lane(
                config.bootstrap_servers,
                target,
                delivery,
                self._stats,
                instance_id=config.instance_id,
                session_timeout_s=config.session_timeout_s,
            )
            reporting = asyncio.create_task(self._report(lane, delivery))
            try:
                await lane.run(stop)
            finally:
                reporting.cancel()
                self._say(lane, delivery)
            return lane.gone
        finally:
            await sender.close()

    async def _report(self, lane: Lane, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._config.stats_interval_s)
            self._say(lane, delivery)

    def _say(self, lane: Lane, delivery: Delivery) -> None:
        log_event(
            logging.INFO,
            "notify_stats",
            target=self._target.name,
            lag=lane.lag,
            waiting=lane.waiting,
            circuit=delivery.breaker.state,
            **self._stats.fields(),
        )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
