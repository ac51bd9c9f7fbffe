"""The Faust application: wiring, and nothing else."""

import time
from collections.abc import AsyncIterator
from typing import Any

import faust

from licmeter.schemas.topics import STREAM_APP_ID, USAGE_EVENTS
from licmeter.stream import transport
from licmeter.stream.config import StreamConfig
from licmeter.stream.counting import Counting
from licmeter.stream.kafka import KafkaWriter
from licmeter.stream.recovery import BulkTable
from licmeter.stream.tables import make_tables

__all__ = ["make_app"]

#: Batches waiting in the worker, over all its partitions: what is fetched and not yet counted has a bound.
WAITING_BATCHES_MAX = 4
PROGRESS_INTERVAL_S = 2.0
#: How often is looked whether a ten-minute check is due.
CHECK_TICK_S = 1.0


def make_app(config: StreamConfig) -> faust.App:
    """Build the application. Nothing is opened before it starts."""
    transport.register()
    app = faust.App(
        STREAM_APP_ID,
        broker=transport.addresses(config.bootstrap_servers),
        ConsumerScheduler=transport.BatchScheduler,
        datadir=config.data_dir,
        store="rocksdb://",
        Table=BulkTable,
        broker_max_poll_records=config.poll_records_max,
        consumer_max_fetch_size=config.fetch_bytes_max,
        consumer_auto_offset_reset="earliest",  # explicit: "latest" would skip what came before the first start
        consumer_group_instance_id=config.instance_id,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=config.session_timeout_s / 4,
        broker_commit_interval=1.0,
        stream_buffer_maxsize=WAITING_BATCHES_MAX,
        stream_wait_empty=False,  # a batch in hand at a rebalance is abandoned; the fence makes its repeat harmless
        stream_recovery_delay=0.0,
        table_standby_replicas=config.standby_replicas,
        topic_partitions=config.partitions,
        topic_replication_factor=config.replication_factor,
        topic_disable_leader=True,
        topic_allow_declare=False,  # `licmeter topics apply` makes topics, and says what it makes
        web_enabled=False,
        worker_redirect_stdouts=False,
        processing_guarantee="at_least_once",
    )
    writer = KafkaWriter(config.bootstrap_servers, client_id=f"{STREAM_APP_ID}-{config.instance_id}")
    counting = Counting(app, make_tables(app, config.partitions), writer, config)
    events = app.topic(
        USAGE_EVENTS.name,
        partitions=config.partitions,
        key_serializer="raw",
        value_serializer=transport.PassThrough(),
        acks=True,
    )

    @app.service
    class _Writer(faust.Service):  # type: ignore[misc]
        async def on_stop(self) -> None:
            await writer.stop()

    @app.agent(events, name="counting", concurrency=1)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        batches: AsyncIterator[Any] = stream.noack().events()
        async for event in batches:
            await counting.on_batch(event.message)

    @app.timer(interval=PROGRESS_INTERVAL_S)  # type: ignore[untyped-decorator]
    async def check_progress() -> None:
        await counting.check_progress()

    @app.timer(interval=CHECK_TICK_S)  # type: ignore[untyped-decorator]
    async def check_alerts() -> None:
        await counting.check_alerts(int(time.time() * 1000))

    return app
