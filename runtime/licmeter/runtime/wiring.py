"""From the settings of the process to what each part wants to know: the one place where both are named."""

from pathlib import Path

from licmeter.analytics.http.config import ApiConfig
from licmeter.analytics.http.tokens import ApiToken
from licmeter.producers.gateway.config import GatewayConfig
from licmeter.runtime.errors import SettingsError
from licmeter.runtime.settings import Settings
from licmeter.sinks.sink import SinkConfig
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.variants import Variant
from licmeter.stream.config import StreamConfig

__all__ = ["api_config", "clickhouse_target", "clickhouse_variant", "gateway_config", "sink_config", "stream_config"]


def clickhouse_target(settings: Settings) -> ClickHouseTarget:
    """Return which database to use."""
    clickhouse = settings.clickhouse
    return ClickHouseTarget(
        url=settings.clickhouse_url,
        database=clickhouse.database,
        username=clickhouse.username,
        password=clickhouse.password.get_secret_value(),
    )


def clickhouse_variant(settings: Settings) -> Variant:
    """Return how the tables lie on servers; raises `SettingsError`."""
    clickhouse = settings.clickhouse
    try:
        return Variant(clickhouse.replicated, clickhouse.cluster, clickhouse.distributed)
    except ValueError as error:
        raise SettingsError([f"LICMETER_CLICKHOUSE__CLUSTER: {error}"]) from error


def stream_config(settings: Settings) -> StreamConfig:
    """Return what a worker is told."""
    stream = settings.stream
    return StreamConfig(
        bootstrap_servers=settings.bootstrap_servers,
        partitions=settings.kafka.partitions,
        replication_factor=settings.kafka.replication_factor,
        data_dir=Path(settings.data_dir).absolute() / "stream" / stream.instance_id,
        instance_id=stream.instance_id,
        session_timeout_s=stream.session_timeout_s,
        poll_records_max=stream.poll_records_max,
        standby_replicas=stream.standby_replicas,
        log_level=settings.log_level,
    )


def sink_config(settings: Settings) -> SinkConfig:
    """Return what a sink is told."""
    sink = settings.sink
    return SinkConfig(
        bootstrap_servers=settings.bootstrap_servers,
        target=clickhouse_target(settings),
        instance_id=sink.instance_id,
        flush_interval_s=sink.flush_interval_s,
        batch_rows_max=sink.batch_rows_max,
        retry_wait_s_max=sink.retry_wait_s_max,
    )


def gateway_config(settings: Settings) -> GatewayConfig:
    """Return what a gateway is told."""
    return GatewayConfig(bootstrap_servers=settings.bootstrap_servers, **settings.gateway.model_dump())


def api_config(settings: Settings) -> ApiConfig:
    """Return what the process that serves the statistics is told; raises `SettingsError`."""
    tokens = [
        ApiToken(each.sha256, each.organization, label=each.label, expires_at=each.expires_at)
        for each in settings.api.tokens
    ]
    others = settings.api.model_dump(exclude={"tokens"})
    try:
        return ApiConfig(connect=clickhouse_target(settings).connect_async, tokens=tuple(tokens), **others)
    except ValueError as error:
        raise SettingsError([f"LICMETER_API__TOKENS: {error}"]) from error
