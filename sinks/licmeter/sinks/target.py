"""Which ClickHouse to write to."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client

__all__ = ["ClickHouseTarget"]

_PORTS = {"http": 8123, "https": 8443}
_CONNECT_TIMEOUT_S = 5
#: An insert of 200,000 rows takes a second; one that hangs is tried again, which is harmless.
_ANSWER_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class ClickHouseTarget:
    """A server's HTTP interface, a database on it, and who we are there.

    `answer_timeout_s` is how long nothing may come from a server that has a request.
    """

    url: str
    database: str = "licmeter"
    username: str = "default"
    password: str = field(default="", repr=False)
    answer_timeout_s: int = _ANSWER_TIMEOUT_S

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        """The server's name; raises `ValueError` when the URL has none."""
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"not a URL of ClickHouse's HTTP interface: {self.url!r}")
        return parts.hostname

    @property
    def port(self) -> int:
        """The port, or ClickHouse's own for the scheme."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    def connect(self, *, answer_timeout_s: int | None = None, **settings: object) -> Client:
        """Open a blocking client; raises `clickhouse_connect`'s errors."""
        return clickhouse_connect.get_client(
            host=self.host,
            port=self.port,
            secure=self.secure,
            username=self.username,
            password=self.password,
            database=self.database,
            connect_timeout=_CONNECT_TIMEOUT_S,
            send_receive_timeout=self.answer_timeout_s if answer_timeout_s is None else answer_timeout_s,
            autogenerate_session_id=False,
            settings=settings,
        )

    async def connect_async(self, **settings: object) -> AsyncClient:
        """Open an async client; raises `clickhouse_connect`'s errors."""
        return await clickhouse_connect.get_async_client(
            host=self.host,
            port=self.port,
            secure=self.secure,
            username=self.username,
            password=self.password,
            database=self.database,
            connect_timeout=_CONNECT_TIMEOUT_S,
            send_receive_timeout=self.answer_timeout_s,
            autogenerate_session_id=False,  # the server runs one statement of a session at a time
            settings=settings,
        )
