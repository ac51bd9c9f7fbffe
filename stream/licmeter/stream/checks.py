"""The ten-minute check of a partition's organizations, and where the levels are kept that it held (domain, section 11).

A check looks at what is counted so far. Unlike a batch it is not part of the log: a repeat after a crash may see more
events, so alerts are delivered at least once, and their ids let a consumer drop repeats (W12). Alerts go out first,
then the levels are written: a crash in between repeats an alert and never loses one.

A record of levels is never changed: its key holds the check's instant. It is written when something changed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from licmeter.metering.alerting import HeldLevels, check_organization
from licmeter.metering.requests import CHECK_INTERVAL_MS
from licmeter.schemas.alerts import UsageAlert
from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.stream.errors import FlushAbandonedError
from licmeter.stream.outputs import Outputs, alert_record
from licmeter.stream.partition import PartitionState
from licmeter.stream.store import LEVELS, Change, record_key, record_offset, record_prefix

__all__ = ["LevelBook", "check_partition", "latest_check"]

#: Organizations looked at before others get a turn.
CHECKED_AT_ONCE: Final = 100
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, tuple[int, ...]]).decode


def latest_check(now_ms: int) -> int:
    """Return the last check instant at or before an instant: :00, :10, … (W1)."""
    return now_ms // CHECK_INTERVAL_MS * CHECK_INTERVAL_MS


@dataclass(slots=True)
class _Held:
    levels: HeldLevels
    checked_ms: int  # of the last check that is known of, here or in the store


class LevelBook:
    """The held levels of one partition's organizations; read from the store when first needed."""

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._held: dict[str, _Held] = {}

    def check(self, organization_id: str, check_ms: int) -> tuple[UsageAlert | None, list[Change]]:
        """Run one check unless it was run; return the alert, and what must be written after it was sent."""
        held = self._held.get(organization_id) or self._read(organization_id)
        self._held[organization_id] = held
        organization = self._state.organization(organization_id)
        if held.checked_ms >= check_ms or organization is None:
            return None, []
        before = dict(held.levels.held)
        alert = check_organization(organization, held.levels, check_ms)
        held.checked_ms = check_ms
        if held.levels.held == before and alert is None:
            return None, []
        prefix = record_prefix(organization_id)
        changes: list[Change] = [(record_key(organization_id, check_ms), _encode(held.levels.held))]
        changes += [(key, None) for key, _ in self._state.store.items(LEVELS, prefix) if record_offset(key) < check_ms]
        return alert, changes

    def _read(self, organization_id: str) -> _Held:
        records = list(self._state.store.items(LEVELS, record_prefix(organization_id)))
        if not records:
            return _Held(HeldLevels(), -1)
        key, value = records[-1]
        return _Held(HeldLevels(_decode(value)), record_offset(key))


async def check_partition(
    state: PartitionState, levels: LevelBook, check_ms: int, outputs: Outputs, still_mine: Callable[[], bool]
) -> int:
    """Check all organizations of a partition; return the number of alerts.

    Raises `FlushAbandonedError` when the partition was taken away; `levels` must then be thrown away.
    """
    alerts, changes = [], []
    for number, organization_id in enumerate(state.organization_ids(), 1):
        alert, written = levels.check(organization_id, check_ms)
        if alert is not None:
            alerts.append(alert_record(alert))
        changes += written
        if number % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    if not changes:
        return 0
    if not still_mine():
        raise FlushAbandonedError(f"partition {state.partition}, check at {check_ms}")
    if alerts:
        await outputs.send(LICENSE_ALERTS.name, state.partition, alerts)
    if not still_mine():
        raise FlushAbandonedError(f"partition {state.partition}, check at {check_ms}")
    await state.store.write(LEVELS, changes)
    return len(alerts)
