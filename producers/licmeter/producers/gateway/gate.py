"""What all requests share: the parts of one gateway, and who is let in."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from starlette.requests import Request

from licmeter.producers.gateway.admission import InFlight, RateLimiter
from licmeter.producers.gateway.authorizing import Authorizer
from licmeter.producers.gateway.config import GatewayConfig
from licmeter.producers.gateway.directory import Access, Directory, Tenant
from licmeter.producers.gateway.following import Follower
from licmeter.producers.gateway.metrics import Metrics
from licmeter.producers.gateway.passwords import Passwords
from licmeter.producers.gateway.problems import Forbidden, TooMany, Unauthorized, Unavailable
from licmeter.producers.gateway.publishing import Publisher
from licmeter.schemas.outcomes import RefusalCode

__all__ = ["PASSWORD_HEADER", "Gate"]

PASSWORD_HEADER = "licmeter-session-password"  # noqa: S105 - the name of a header
START_RETRY_S = 2.0

_log = structlog.get_logger("licmeter.gateway")


@dataclass
class Gate:
    """The parts of a gateway, wired in one place; `start` and `stop` them with the process."""

    config: GatewayConfig
    directory: Directory = field(default_factory=Directory)
    metrics: Metrics = field(default_factory=Metrics)
    passwords: Passwords = field(default_factory=Passwords)
    stopping: bool = False
    started: bool = False

    def __post_init__(self) -> None:
        config = self.config
        self.in_flight = InFlight(config.in_flight_bytes_max)
        self.metrics.in_flight.set_function(lambda: self.in_flight.bytes)
        self.metrics.organizations.set_function(lambda: len(self.directory.tenants))
        self.rates = RateLimiter(rate_per_s=config.rate_events_per_s, burst=config.burst_events)
        self.publisher = Publisher(config.bootstrap_servers, ack_timeout_s=config.ack_timeout_s)
        self.authorizer = Authorizer(self.publisher.publish, timeout_s=config.verdict_timeout_s)
        self.follower = Follower(config.bootstrap_servers, self.directory, self.authorizer.note)

    async def start(self) -> None:
        """Connect to Kafka and read what must be known. Raises `SendError`."""
        await self.publisher.start()
        await self.follower.start()
        self.started = True
        _log.info("gateway_ready", organizations=len(self.directory.tenants))

    async def stop(self) -> None:
        """Disconnect, the last first."""
        await self.follower.stop()
        await self.publisher.stop()

    @property
    def ready(self) -> bool:
        """Whether clients should be sent here: all is known, Kafka acknowledges, and this is not the end."""
        return self.started and self.follower.alive and not (self.stopping or self.publisher.failing)

    async def admit(self, request: Request, *, key_in_query: bool = False) -> Access:
        """Return whom the request's license key stands for; raises the problem otherwise."""
        if not self.started or self.stopping:
            raise Unavailable(
                "the gateway starts or stops", code=RefusalCode.UNDER_CONSTRUCTION, retry_after_s=START_RETRY_S
            )
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            text = request.query_params.get("license_key", "") if key_in_query and not scheme else ""
        access = self.directory.access(text.strip(), datetime.now(UTC))
        if access is None:
            raise Unauthorized
        if not access.usable:
            _log.warning("key_not_usable", key_id=access.key_id, organization_id=access.organization_id)
            raise Forbidden("this license key was revoked, or its time is over")
        return access

    async def password_ok(self, request: Request, access: Access) -> bool | None:
        """Return whether the session password is right; None = the project has none."""
        return await self.passwords.check(request.headers.get(PASSWORD_HEADER), access.password_hash)

    async def check_password(self, request: Request, access: Access) -> None:
        """Let only those pass who have the session password, if the project has one."""
        if access.password_hash is not None and not await self.password_ok(request, access):
            _log.warning("bad_session_password", key_id=access.key_id, organization_id=access.organization_id)
            raise Forbidden(
                f"the project has a session password: send it as {PASSWORD_HEADER}",
                code=RefusalCode.BAD_SESSION_PASSWORD,
            )

    def take_rate(self, access: Access, events: int) -> None:
        """Count events against the key's rate; raises `TooMany`."""
        wait_s = self.rates.take(access.key_id, max(1, events), time.monotonic())
        if wait_s:
            raise TooMany(
                f"a key may send {self.config.rate_events_per_s:g} events/s, and {self.config.burst_events} at once",
                retry_after_s=wait_s,
            )

    def tenant(self, access: Access) -> Tenant:
        """Return the organization of a key; it may be gone since the key was looked at."""
        tenant = self.directory.tenants.get(access.organization_id)
        if tenant is None:
            raise Unauthorized
        return tenant
