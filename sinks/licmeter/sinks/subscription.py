"""`license.alerts` for a program: breaches and usage alerts as typed values, from wherever it wants to begin.

    async for alert in licmeter.sinks.alerts("localhost:9092", organizations=["300417"]):
        ...

Two ways to read. Without a group, every reader gets everything, and keeps its own place: `start=alert.resume` goes on
after an alert. With a `group_id`, readers of the group share the partitions, and the group keeps
the place: an alert counts as handled when the next one is asked for, and is committed within `COMMIT_INTERVAL_S`. A
reader that dies gets what was not committed again: at least once. `alert.event_id` tells a repeat from news.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from licmeter.schemas.alerts import Breach, UsageAlert, parse_alert
from licmeter.schemas.outcomes import BreachKind
from licmeter.schemas.topics import LICENSE_ALERTS

__all__ = ["COMMIT_INTERVAL_S", "USAGE_ALERT", "Alert", "Start", "alerts"]

#: The kind of a usage alert, beside the kinds of breaches.
USAGE_ALERT: Final = "usage_alert"
#: How long handled alerts of a group may be uncommitted.
COMMIT_INTERVAL_S: Final = 1.0
#: Alerts taken from the broker at once.
POLL_RECORDS_MAX: Final = 500
_POLL_MS: Final = 500

#: Where to begin: at what comes now, at what is kept, at an instant of arrival, or at offsets by partition.
Start = Literal["latest", "earliest"] | datetime | Mapping[int, int]

_log = logging.getLogger("licmeter.alerts")


@dataclass(frozen=True, slots=True)
class Alert:
    """A breach event or a usage alert, and where it stands. `arrived_at` is the broker's clock, or the producer's."""

    message: Breach | UsageAlert
    partition: int
    offset: int
    arrived_at: datetime
    #: Where a reader goes on after this one, in each partition that it reads: what `start` takes, also from JSON.
    resume: Mapping[int, int] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The hash of what it is about (domain, 8.2 and W12): the same in every repeat."""
        return self.message.breach_id if isinstance(self.message, Breach) else self.message.alert_id

    @property
    def kind(self) -> str:
        """The kind of breach, or `usage_alert`."""
        return self.message.kind.value if isinstance(self.message, Breach) else USAGE_ALERT

    @property
    def organization_id(self) -> str:
        """Whom it is about."""
        return self.message.organization_id

    @property
    def position(self) -> tuple[int, int]:
        """Partition, and the offset at which to go on after this one."""
        return self.partition, self.offset + 1


async def alerts(
    bootstrap_servers: str,
    *,
    organizations: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    start: Start = "latest",
    group_id: str | None = None,
    follow: bool = True,
    on_unreadable: Callable[[Any], None] | None = None,
    **client: Any,
) -> AsyncGenerator[Alert, None]:
    """Yield alerts in the order of their partition, those of one organization in their own order.

    `organizations` and `kinds` (of breaches, or `usage_alert`) leave out the others. With offsets as `start`,
    partitions that are not named begin with what is kept. With a `group_id`, `start` counts for a group that has no
    place yet, and may be "latest" or "earliest" only. Without `follow` it ends with what stood there when it began. A
    record that is no alert is logged and skipped; `on_unreadable` gets it first. `client` are options of
    `AIOKafkaConsumer`, such as those for TLS. Raises `ValueError` for an unknown kind or an impossible start, and
    `aiokafka.errors.KafkaError`.
    """
    wanted = _kinds(kinds)
    if group_id is not None and start not in ("latest", "earliest"):
        raise ValueError("a group keeps its own place: start may be 'latest' or 'earliest'")
    # Always "earliest": who is behind what is still kept must not be put at the end.
    options = {"group_id": group_id, "enable_auto_commit": False, "auto_offset_reset": "earliest", **client}
    if group_id is not None and start == "latest":
        await _begin_group(bootstrap_servers, options)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, **options)
    reading = _Reading(consumer, grouped=group_id is not None)
    try:
        await consumer.start()
        ends = await reading.begin(start, follow=follow)
        while ends is None or await reading.before(ends):
            for record in await reading.poll():
                if ends is not None and record.offset >= ends.get(record.partition, 0):
                    continue  # came after the beginning
                alert = _alert(record, on_unreadable, reading.after(record))
                if (
                    alert is not None
                    and (organizations is None or alert.organization_id in organizations)
                    and (wanted is None or alert.kind in wanted)
                ):
                    yield alert
                await reading.handled(record)
    finally:
        await reading.close()


def _kinds(kinds: Collection[str] | None) -> frozenset[str] | None:
    if kinds is None:
        return None
    known = {kind.value for kind in BreachKind} | {USAGE_ALERT}
    wrong = sorted(set(map(str, kinds)) - known)
    if wrong:
        raise ValueError(f"no kinds of alerts: {', '.join(wrong)}; there are {', '.join(sorted(known))}")
    return frozenset(map(str, kinds))


def _alert(record: Any, on_unreadable: Callable[[Any], None] | None, resume: Mapping[int, int]) -> Alert | None:
    try:
        message = parse_alert(record.value or b"")
    except ValueError as error:
        # One record that somebody else put there must not keep an operator from all others.
        if on_unreadable is not None:
            on_unreadable(record)
        place = f"{record.topic}/{record.partition}/{record.offset}"
        _log.error("%s is no alert and is skipped: %s", place, str(error).splitlines()[0])
        return None
    arrived_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return Alert(message, record.partition, record.offset, arrived_at, resume)


async def _begin_group(bootstrap_servers: str, options: Mapping[str, Any]) -> None:
    """Commit that a new group begins with what comes now: until its first commit it would begin anew at each start."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, **options)
    try:
        await consumer.start()
        partitions = await _partitions(consumer)
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        new = {each: end for each, end in ends.items() if await consumer.committed(each) is None}
        if new:
            await consumer.commit(new)
    except (CommitFailedError, UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError):
        _log.debug("a reader of group %s is at work, so the group has begun", options["group_id"])
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    # What is asked for by name only becomes known to the client by asking.
    await consumer._client.force_metadata_update()
    await consumer._client.set_topics([LICENSE_ALERTS.name])
    numbers = consumer.partitions_for_topic(LICENSE_ALERTS.name)
    if not numbers:
        raise KafkaError(f"there is no topic {LICENSE_ALERTS.name}; `licmeter topics apply` creates it")
    return [TopicPartition(LICENSE_ALERTS.name, number) for number in sorted(numbers)]


class _Reading:
    """A consumer and its places."""

    def __init__(self, consumer: AIOKafkaConsumer, *, grouped: bool) -> None:
        self._consumer = consumer
        self._grouped = grouped
        self._handled: dict[TopicPartition, int] = {}
        self._places: dict[int, int] = {}
        self._committed_at = time.monotonic()

    async def begin(self, start: Start, *, follow: bool) -> dict[int, int] | None:
        """Take the places to begin with; return where each partition ends now, unless it is followed."""
        if self._grouped:
            self._consumer.subscribe([LICENSE_ALERTS.name])
        partitions = await _partitions(self._consumer)
        ends = await self._consumer.end_offsets(partitions)
        if not self._grouped:
            self._consumer.assign(partitions)
            await self._seek(partitions, start, ends)
        return None if follow else {partition.partition: end for partition, end in ends.items()}

    async def _seek(self, partitions: list[TopicPartition], start: Start, ends: Mapping[TopicPartition, int]) -> None:
        begins = await self._consumer.beginning_offsets(partitions)
        places: Mapping[TopicPartition, int]
        if start == "latest":
            places = ends
        elif isinstance(start, datetime):
            instant_ms = int(start.timestamp() * 1000)
            found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, instant_ms))
            places = {each: ends[each] if found[each] is None else found[each].offset for each in partitions}
        elif isinstance(start, Mapping):
            given = {int(number): offset for number, offset in start.items()}  # JSON has texts for keys
            places = {each: given.get(each.partition, begins[each]) for each in partitions}
        else:
            places = begins
        for partition in partitions:
            place = places[partition]
            if place < begins[partition]:
                _log.warning(
                    "%s alerts of partition %s are no longer kept: reading begins with offset %s",
                    begins[partition] - place,
                    partition.partition,
                    begins[partition],
                )
                place = begins[partition]
            self._consumer.seek(partition, place)
            self._places[partition.partition] = place

    def after(self, record: Any) -> dict[int, int]:
        """Return where to go on after a record."""
        return self._places | {record.partition: record.offset + 1}

    async def before(self, ends: Mapping[int, int]) -> bool:
        """Tell whether a partition of ours has not come to its end."""
        if self._grouped and not self._consumer.assignment():
            return True
        for partition in self._consumer.assignment():
            if await self._consumer.position(partition) < ends[partition.partition]:
                return True
        return False

    async def poll(self) -> list[Any]:
        """Return what has come, in the order of each partition; commits what is due meanwhile."""
        await self._commit_if_due()
        polled = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=POLL_RECORDS_MAX)
        return [record for records in polled.values() for record in records]

    async def handled(self, record: Any) -> None:
        """Note that a record needs no more attention."""
        self._places[record.partition] = record.offset + 1
        self._handled[TopicPartition(record.topic, record.partition)] = record.offset + 1
        await self._commit_if_due()

    async def _commit_if_due(self) -> None:
        if self._grouped and self._handled and time.monotonic() - self._committed_at >= COMMIT_INTERVAL_S:
            await self._commit()

    async def _commit(self) -> None:
        ours = self._consumer.assignment()
        handled = {partition: offset for partition, offset in self._handled.items() if partition in ours}
        self._handled, self._committed_at = {}, time.monotonic()
        if not handled:
            return
        try:
            await self._consumer.commit(handled)
        except KafkaError as error:
            # The partitions went to another reader, which begins with what was committed before: a repeat.
            _log.warning("alerts that were handled could not be committed, and will come again: %s", error)

    async def close(self) -> None:
        """Commit what was handled, and leave."""
        try:
            if self._grouped:
                await self._commit()
        finally:
            await self._consumer.stop()
