"""The process that writes to ClickHouse: consumes a group, inserts, then commits.

What cannot be decoded on any of the other topics goes, whole and with its origin, to `usage.rejected`, before its
offset is committed: a sink that is older than the stream must not lose what it does not understand. It comes back
from there as a row of `usage_rejected`. What stands on `usage.rejected` itself is always stored and never forwarded,
also when it is not ours (`licmeter.sinks.rejected`), so there is no loop.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition

from licmeter.schemas.attribution import BLOCK_ROWS_MAX
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.topics import (
    LICENSE_ALERTS,
    LICENSE_CATALOG,
    LICENSE_COUNTERS,
    REJECT_BYTES_MAX,
    USAGE_ATTRIBUTED,
    USAGE_REJECTED,
)
from licmeter.sinks.conversion import Undecodable
from licmeter.sinks.flushing import Bounds, SinkLoop
from licmeter.sinks.stats import SinkStats, log_event
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter

__all__ = ["TOPICS", "SinkConfig", "run_sink"]

TOPICS: Final = (
    USAGE_ATTRIBUTED.name,
    LICENSE_COUNTERS.name,
    LICENSE_ALERTS.name,
    USAGE_REJECTED.name,
    LICENSE_CATALOG.name,
)

#: While ClickHouse is down nothing is polled, for hours if need be, and leaving the group would only move the same
#: trouble to another member. Membership rests on the heartbeats, which aiokafka sends in the background.
_POLL_INTERVAL_MS_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """Where to read, where to write, and the bounds between."""

    bootstrap_servers: str
    target: ClickHouseTarget
    group_id: str = "licmeter-sink"
    instance_id: str | None = None  # static membership: a restart within the session timeout moves no partitions
    flush_interval_s: float = 1.0
    batch_rows_max: int = 200_000
    batch_bytes_max: int = 64 * 1024 * 1024  # compressed, as blocks are; an insert is some times as large
    retry_wait_s_max: float = 10.0
    session_timeout_s: float = 10.0
    stats_interval_s: float = 60.0

    @property
    def bounds(self) -> Bounds:
        """The bounds of the loop; a poll may bring as many records as there are blocks in a full batch."""
        return Bounds(
            flush_interval_s=self.flush_interval_s,
            rows_max=self.batch_rows_max,
            bytes_max=self.batch_bytes_max,
            poll_records_max=max(1, self.batch_rows_max // BLOCK_ROWS_MAX),
            retry_wait_s_max=self.retry_wait_s_max,
        )


async def run_sink(config: SinkConfig, stop: asyncio.Event, stats: SinkStats | None = None) -> None:
    """Write to ClickHouse until `stop` is set; raises `aiokafka.errors.KafkaError` when Kafka cannot be used."""
    stats = stats if stats is not None else SinkStats()
    async with AsyncExitStack() as stack:
        writer = ClickHouseWriter(config.target)
        stack.push_async_callback(writer.close)
        consumer = _consumer(config)
        stack.push_async_callback(consumer.stop)
        forwarder = _Forwarder(config)
        stack.push_async_callback(forwarder.close)
        loop = SinkLoop(consumer, writer, forwarder.forward, bounds=config.bounds, stop=stop, stats=stats)
        consumer.subscribe(TOPICS, listener=_Listener(loop))
        await consumer.start()
        log_event(logging.INFO, "sink_started", group=config.group_id, database=config.target.database)
        reporting = asyncio.create_task(_report(stats, config.stats_interval_s))
        try:
            await loop.run()
        finally:
            reporting.cancel()
    log_event(logging.INFO, "sink_stopped", **stats.fields())


def _consumer(config: SinkConfig) -> Any:
    return AIOKafkaConsumer(
        bootstrap_servers=config.bootstrap_servers,
        client_id=config.group_id,
        group_id=config.group_id,
        group_instance_id=config.instance_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=int(config.session_timeout_s * 1000),
        heartbeat_interval_ms=int(config.session_timeout_s * 1000 / 3),
        max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        max_partition_fetch_bytes=REJECT_BYTES_MAX,  # the largest record that any of the topics may hold
    )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Tells the loop that its partitions are taken away."""

    def __init__(self, loop: SinkLoop) -> None:
        self._loop = loop

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Return when the loop has committed or dropped everything."""
        await self._loop.on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Say what is ours now."""
        partitions = ",".join(sorted(f"{partition.topic}/{partition.partition}" for partition in assigned))
        log_event(logging.INFO, "sink_assigned", partitions=partitions)


class _Forwarder:
    """Puts undecodable records on `usage.rejected`; connects when there is one."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._producer: Any = None

    async def forward(self, records: Sequence[Undecodable]) -> None:
        """Return when the brokers have all of them."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._config.bootstrap_servers, acks="all", max_request_size=REJECT_BYTES_MAX
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        sent = [await self._send(undecodable) for undecodable in records]
        await asyncio.gather(*sent)
        log_event(logging.ERROR, "sink_undecodable", records=len(records), first=records[0].detail)

    async def _send(self, undecodable: Undecodable) -> Any:
        record = undecodable.record
        origin = RejectOrigin(
            reason=RejectReason.INVALID_SCHEMA,
            detail=undecodable.detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            received_at_ms=max(record.timestamp, 0),
        )
        headers = reject_headers(origin, [(name, value or b"") for name, value in record.headers])
        # aiokafka refuses to send neither key nor value, which other clients can.
        key = b"" if record.key is None and record.value is None else record.key
        return await self._producer.send(USAGE_REJECTED.name, key=key, value=record.value, headers=headers)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._producer is not None:
            await self._producer.stop()


async def _report(stats: SinkStats, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        log_event(logging.INFO, "sink_stats", **stats.fields())
