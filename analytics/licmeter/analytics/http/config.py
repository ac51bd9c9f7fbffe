"""What the process that serves the statistics is told."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from clickhouse_connect.driver.asyncclient import AsyncClient

from licmeter.analytics.http.tokens import ApiToken

__all__ = ["ApiConfig", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """The settings of one process. Raises `ValueError` for a host beyond this machine without any token."""

    #: Opens a client of ClickHouse; raises its errors.
    connect: Callable[[], Awaitable[AsyncClient]] = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8081
    #: Who may ask for what. Without any, everybody who reaches the address may ask for everything.
    tokens: tuple[ApiToken, ...] = ()
    #: How long an answer may take, from the first query to the last. ClickHouse stops each query after it, too.
    answer_timeout_s: float = 15.0
    #: Answers that are worked on at one time: all, and of one organization, which cannot take all of them.
    queries_max: int = 8
    organization_queries_max: int = 4
    #: Requests that wait for that; who waits for longer than the time is told to come back.
    waiting_max: int = 64
    organization_waiting_max: int = 32
    wait_timeout_s: float = 5.0
    #: Rows that one query may bring here; a page has fewer.
    rows_max: int = 100_000
    #: Memory that one query may take in ClickHouse.
    query_memory_mb: int = 1_000
    #: How long open requests may take when the process is asked to stop.
    drain_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"without tokens the statistics are served on loopback only, and not on {self.host}: "
                "`licmeter api token create ORGANIZATION` makes one"
            )
