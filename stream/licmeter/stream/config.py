"""What the worker is told when it is started."""

from dataclasses import dataclass, field
from pathlib import Path

from licmeter.metering.limits import DEFAULT_LIMITS, Limits

__all__ = ["StreamConfig"]


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Plain values; `instance_id` is the worker's own and stays the same over restarts (static membership)."""

    bootstrap_servers: str
    partitions: int
    data_dir: Path
    instance_id: str = "worker-1"
    session_timeout_s: float = 10.0
    poll_records_max: int = 5_000
    #: Of each partition, as it comes from the broker. A full batch of reports, also when they compress badly; an event
    #: that is larger comes all the same (KIP-74). With 16 MiB, 60 to 110 MiB of 4 partitions waited in memory.
    fetch_bytes_max: int = 4 * 1024 * 1024
    standby_replicas: int = 1
    replication_factor: int = 1
    limits: Limits = field(default=DEFAULT_LIMITS)
    log_level: str = "INFO"
