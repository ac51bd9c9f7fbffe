"""Where a target's consumer group stands: what its commits say, and where a new group begins."""

import logging
from collections.abc import Sequence
from typing import Any, Final

import stamina
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.sinks.notify.ledger import parse_metadata
from licmeter.sinks.notify.stats import log_event

__all__ = ["GROUP_PREFIX", "begin_group", "committed_positions", "group_of", "lags"]

GROUP_PREFIX: Final = "licmeter-notify-"
_REQUEST_TIMEOUT_MS: Final = 20_000
#: A cluster that just started, or lost a broker, needs some seconds to name a coordinator.
_ATTEMPTS_MAX: Final = 6


def group_of(target: str) -> str:
    """Return the consumer group of a target."""
    return GROUP_PREFIX + target


async def committed_positions(
    bootstrap_servers: str, group: str
) -> dict[TopicPartition, tuple[int, tuple[range, ...]]]:
    """Return the committed offset of each partition, and what is settled beyond it.

    Raises `aiokafka.errors.KafkaError`, also when the brokers need more than a moment to name the group's coordinator.
    """
    found: Any = {}
    async for attempt in stamina.retry_context(on=KafkaError, attempts=_ATTEMPTS_MAX, timeout=None, wait_max=2.0):
        with attempt:
            found = await _committed(bootstrap_servers, group)
    return {
        partition: (entry.offset, parse_metadata(entry.offset, entry.metadata))
        for partition, entry in found.items()
        if partition.topic == LICENSE_ALERTS.name and entry.offset >= 0
    }


async def _committed(bootstrap_servers: str, group: str) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()


async def begin_group(bootstrap_servers: str, group: str, since_ms: int) -> None:
    """Commit where a group begins, for partitions in which it never committed: at the first record since an instant.

    A new target should not be told of the last 90 days. Raises `aiokafka.errors.KafkaError`.
    """
    known = await committed_positions(bootstrap_servers, group)
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        await consumer.start()
        numbers = await _partitions(consumer)
        new = [tp for number in numbers if (tp := TopicPartition(LICENSE_ALERTS.name, number)) not in known]
        if not new:
            return
        consumer.assign(new)
        # The end first: what comes while we ask lies behind it, and is read.
        ends = await consumer.end_offsets(new)
        found = await consumer.offsets_for_times(dict.fromkeys(new, since_ms))
        begin = {tp: ends[tp] if found.get(tp) is None else min(found[tp].offset, ends[tp]) for tp in new}
        try:
            await consumer.commit(begin)
        except KafkaError as error:
            # Another process of the same group is at work, so it has begun.
            log_event(logging.INFO, "notify_begun_elsewhere", group=group, error=type(error).__name__)
            return
        places = ",".join(f"{tp.partition}:{offset}" for tp, offset in sorted(begin.items()))
        log_event(logging.WARNING, "notify_new_target", group=group, begins_at=places)
    finally:
        await consumer.stop()


async def _partitions(consumer: Any) -> list[int]:
    numbers = consumer.partitions_for_topic(LICENSE_ALERTS.name)
    if not numbers:
        await consumer._client.force_metadata_update()
        numbers = consumer._client.cluster.partitions_for_topic(LICENSE_ALERTS.name)
    if not numbers:
        raise KafkaError(f"there is no topic {LICENSE_ALERTS.name}; `licmeter topics apply` creates it")
    return sorted(numbers)


async def lags(bootstrap_servers: str, targets: Sequence[str]) -> dict[str, int | None]:
    """Return how many records each target has not settled, None for one that never ran.

    Raises `aiokafka.errors.KafkaError`.
    """
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    try:
        await consumer.start()
        partitions = [TopicPartition(LICENSE_ALERTS.name, number) for number in await _partitions(consumer)]
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
    finally:
        await consumer.stop()
    found: dict[str, int | None] = {}
    for target in targets:
        known = await committed_positions(bootstrap_servers, group_of(target))
        behind = [
            max(0, end - max(known[tp][0], begins[tp])) - sum(map(len, known[tp][1]))
            for tp, end in ends.items()
            if tp in known
        ]
        found[target] = sum(max(0, each) for each in behind) if known else None
    return found
