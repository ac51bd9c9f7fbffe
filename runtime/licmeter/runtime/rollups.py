"""Keeps the rollups of the statistics up to date, beside the sink: a run every so often, in a thread of its own.

Statistics are right without it, too: days that no rollup covers are read from the facts. So a run that fails is said
and tried again at the next turn, and nothing waits for it.
"""

import asyncio
import contextlib
import time
from typing import Final

import structlog

from licmeter.analytics.statistics.rollup import refresh
from licmeter.sinks.target import ClickHouseTarget

__all__ = ["ROLLUP_TIMEOUT_S", "keep_rolled_up"]

#: Of one statement, which computes up to 31 days of all organizations.
ROLLUP_TIMEOUT_S: Final = 1_800


async def keep_rolled_up(target: ClickHouseTarget, interval_s: float, stop: asyncio.Event) -> None:
    """Run until `stop` is set, the first time after one interval; never raises for what ClickHouse says."""
    log = structlog.get_logger("licmeter.rollup")
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), interval_s)
        if stop.is_set():
            return
        started = time.monotonic()
        try:
            pairs = await asyncio.to_thread(_refresh, target)
        except Exception as error:  # whatever the client or the network says
            log.warning("rollup_failed", error=f"{type(error).__name__}: {error}"[:300])
            continue
        if pairs:
            log.info("rollup_done", days_of_organizations=pairs, seconds=round(time.monotonic() - started, 1))


def _refresh(target: ClickHouseTarget) -> int:
    client = target.connect(answer_timeout_s=ROLLUP_TIMEOUT_S)
    try:
        return refresh(client).pairs
    finally:
        client.close()
