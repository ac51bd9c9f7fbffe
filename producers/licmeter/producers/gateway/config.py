"""What a gateway is told."""

from dataclasses import dataclass
from typing import Final

__all__ = ["GatewayConfig"]

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """The settings of one gateway process."""

    bootstrap_servers: str
    host: str = "127.0.0.1"
    port: int = 8080
    #: A body, before and after decompression. 1,000 reports of 64 features have about 6 MB.
    body_bytes_max: int = 8 * _MIB
    #: A month of one client is 14,400 reports; it comes in several requests.
    events_max: int = 1_000
    #: Bodies that wait for Kafka, all requests together; beyond it clients are told to come back.
    in_flight_bytes_max: int = 64 * _MIB
    #: What one key may send on average, and at once. A key stands for a whole fleet.
    rate_events_per_s: float = 10_000.0
    burst_events: int = 50_000
    #: How long Kafka may take to acknowledge; then the client is told to send again.
    ack_timeout_s: float = 15.0
    #: How long the stream may take to answer a request for leave.
    verdict_timeout_s: float = 5.0
    #: How long open requests may take when the gateway is asked to stop.
    drain_timeout_s: float = 20.0
    cors_origins: tuple[str, ...] = ("*",)
