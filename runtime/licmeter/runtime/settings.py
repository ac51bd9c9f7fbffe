"""All settings of a licmeter process, checked as a whole.

Environment variables are `LICMETER_` plus the path with two underscores between its parts, such as
`LICMETER_KAFKA__BOOTSTRAP_SERVERS`. Nothing else in the product reads the environment.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from licmeter.runtime.errors import SettingsError

__all__ = [
    "ApiSettings",
    "ApiTokenSettings",
    "ClickHouseSettings",
    "GatewaySettings",
    "KafkaSettings",
    "NotifySettings",
    "Settings",
    "SinkSettings",
    "StreamSettings",
    "load_settings",
]

Port = Annotated[int, Field(ge=0, le=65535, description="0 = any free port")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Which Kafka is used: another cluster, or the embedded one."""

    bootstrap_servers: str | None = Field(None, description="host:port[,host:port]; unset = the embedded broker")
    port: Port = Field(9092, description="of the embedded broker")
    heap_mb: Annotated[int, Field(ge=128)] = Field(512, description="heap of the embedded broker")
    start_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    partitions: Annotated[int, Field(ge=1, le=65535)] = Field(4, description="of usage.events and all that follow it")
    replication_factor: Annotated[int, Field(ge=1, le=32767)] = 1


class ClickHouseSettings(_Section):
    """Which ClickHouse is used: a server, or chDB behind ClickHouse's HTTP interface."""

    url: str | None = Field(None, description="http(s)://host:port of a server; unset = chDB on loopback")
    port: Port = Field(8123, description="of the chDB endpoint")
    database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "licmeter"
    username: str = "default"
    password: SecretStr = SecretStr("")
    replicated: bool = Field(False, description="Replicated engines (docs/clickhouse.md); needs a server with Keeper")
    cluster: str | None = Field(None, description="create tables ON CLUSTER")
    distributed: bool = Field(False, description="tables of each shard, and Distributed tables over all of the cluster")
    max_memory_mb: Annotated[int, Field(ge=256)] = Field(2000, description="memory of the chDB engine")
    start_timeout_s: Annotated[float, Field(gt=0)] = 60.0


class StreamSettings(_Section):
    """The worker that counts."""

    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "worker-1", description="static membership; each worker needs its own"
    )
    session_timeout_s: Annotated[float, Field(ge=6)] = 10.0  # the broker's group.min.session.timeout.ms is 6 s
    poll_records_max: Annotated[int, Field(ge=1)] = 5_000
    standby_replicas: Annotated[int, Field(ge=0)] = 1


class SinkSettings(_Section):
    """The process that writes to ClickHouse."""

    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "sink-1", description="static membership; each sink needs its own"
    )
    flush_interval_s: Annotated[float, Field(gt=0)] = 0.5  # a sixth of what accepted -> queryable may take
    batch_rows_max: Annotated[int, Field(ge=1)] = 200_000
    retry_wait_s_max: Annotated[float, Field(gt=0)] = 10.0
    rollup_interval_s: Annotated[float, Field(ge=0)] = Field(
        60.0, description="how often the rollups of the statistics are brought up to date; 0 = never by this sink"
    )


class GatewaySettings(_Section):
    """The HTTP gateway (`licmeter.producers.gateway.config` has the reasons)."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 = all")
    port: Port = 8080
    body_bytes_max: Annotated[int, Field(ge=64 * 1024)] = 8 * 1024 * 1024
    events_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    in_flight_bytes_max: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    rate_events_per_s: Annotated[float, Field(gt=0)] = Field(10_000.0, description="of one license key, on average")
    burst_events: Annotated[int, Field(ge=1)] = Field(50_000, description="of one license key, at once")
    ack_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    verdict_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    drain_timeout_s: Annotated[float, Field(ge=0)] = 15.0  # below what a supervisor waits before it kills
    cors_origins: tuple[str, ...] = ("*",)


class NotifySettings(_Section):
    """The process that tells people and other systems of alerts."""

    config: Path | None = Field(None, description="the document of targets (docs/notify.md), YAML or JSON")
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "notify-1", description="static membership; each process needs its own"
    )
    session_timeout_s: Annotated[float, Field(ge=6)] = 10.0  # the broker's group.min.session.timeout.ms is 6 s
    stats_interval_s: Annotated[float, Field(gt=0)] = 60.0


class ApiTokenSettings(_Section):
    """Who may ask for statistics: what is kept of a token (`licmeter api token create` makes one)."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    organization: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.]{1,64}|\*)$", description="* = every organization")]
    label: Annotated[str, Field(max_length=128, description="names the token in the log")] = ""
    expires_at: AwareDatetime | None = None


class ApiSettings(_Section):
    """The statistics over HTTP (`licmeter.analytics.http.config` has the reasons)."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 = all, with tokens only")
    port: Port = 8081
    tokens: tuple[ApiTokenSettings, ...] = Field((), description="a JSON list; none = this machine may ask for all")
    answer_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    queries_max: Annotated[int, Field(ge=1, le=1_000)] = 8
    organization_queries_max: Annotated[int, Field(ge=1)] = 4
    waiting_max: Annotated[int, Field(ge=0)] = 64
    organization_waiting_max: Annotated[int, Field(ge=0)] = 32
    wait_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    rows_max: Annotated[int, Field(ge=10_001)] = Field(100_000, description="of one query; a page has up to 10,000")
    query_memory_mb: Annotated[int, Field(ge=16)] = 1_000
    drain_timeout_s: Annotated[float, Field(ge=0)] = 15.0  # below what a supervisor waits before it kills


class Settings(BaseSettings):
    """The settings of one process, read once where it starts."""

    model_config = SettingsConfigDict(
        env_prefix="LICMETER_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    data_dir: Path = Field(Path(".licmeter"), description="data of the embedded parts and state of the worker")
    cache_dir: Path | None = Field(None, description="downloaded jars; unset = the user's cache folder")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    stream: StreamSettings = StreamSettings()
    sink: SinkSettings = SinkSettings()
    notify: NotifySettings = NotifySettings()
    gateway: GatewaySettings = GatewaySettings()
    api: ApiSettings = ApiSettings()

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find Kafka."""
        return self.kafka.bootstrap_servers or f"127.0.0.1:{self.kafka.port}"

    @property
    def clickhouse_url(self) -> str:
        """Where clients find ClickHouse."""
        return self.clickhouse.url or f"http://127.0.0.1:{self.clickhouse.port}"

    @property
    def gateway_url(self) -> str:
        """Where clients on this machine find the gateway."""
        return _local_url(self.gateway.host, self.gateway.port)

    @property
    def api_url(self) -> str:
        """Where clients on this machine find the statistics."""
        return _local_url(self.api.host, self.api.port)


def _local_url(host: str, port: int) -> str:
    """Return how this machine reaches an address that is listened on."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def load_settings() -> Settings:
    """Read the settings from the environment; raises `SettingsError` that names all mistakes at once."""
    try:
        return Settings()
    except ValidationError as error:
        mistakes = [
            f"LICMETER_{'__'.join(str(part) for part in mistake['loc']).upper()}: {mistake['msg']}"
            for mistake in error.errors()
        ]
        raise SettingsError(mistakes) from error
