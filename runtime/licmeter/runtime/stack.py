"""Everything in one go: broker, database, topics, tables, worker, sink; stopped in reverse order."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, Self

from licmeter.runtime.children import Child, monotonic
from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.errors import ServiceError
from licmeter.runtime.http import answers
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.kafka.ports import free_port
from licmeter.runtime.kafka.progress import OnProgress, ignore_progress
from licmeter.runtime.settings import Settings
from licmeter.runtime.topics import TopicReport, apply_topics
from licmeter.runtime.wiring import clickhouse_target, clickhouse_variant
from licmeter.schemas.topics import ALL_TOPICS
from licmeter.sinks.migrate import MigrationError, MigrationReport, check, migrate

__all__ = ["ALL_SERVICES", "GATEWAY_SERVICES", "Stack", "apply_migrations", "apply_topic_table"]

GATEWAY: Final = "gateway"
API: Final = "api"
#: What counts and stores.
SERVICES: Final = ("stream", "sink")
#: And what lets applications in; and what answers people.
GATEWAY_SERVICES: Final = (*SERVICES, GATEWAY)
ALL_SERVICES: Final = (*GATEWAY_SERVICES, API)
READY_TIMEOUT_S: Final = 60.0
READY_POLL_S: Final = 0.1


def apply_topic_table(settings: Settings, *, dry_run: bool = False) -> list[TopicReport]:
    """Create the topics that are missing."""
    return asyncio.run(
        apply_topics(
            settings.bootstrap_servers,
            ALL_TOPICS,
            partitions=settings.kafka.partitions,
            replication_factor=settings.kafka.replication_factor,
            dry_run=dry_run,
        )
    )


def apply_migrations(settings: Settings, *, dry_run: bool = False, check_only: bool = False) -> MigrationReport:
    """Bring the database to the current schema; with `check_only` tell where it stands, also if that cannot be."""
    target, variant = clickhouse_target(settings), clickhouse_variant(settings)
    try:
        return check(target, variant=variant) if check_only else migrate(target, dry_run=dry_run, variant=variant)
    except MigrationError as error:
        raise ServiceError(
            str(error),
            service="clickhouse",
            hint="is ClickHouse running? `licmeter clickhouse` starts the embedded one",
        ) from error


class Stack:
    """The whole system on this machine; parts that the settings name elsewhere are not started."""

    def __init__(self, settings: Settings, services: Sequence[str] = SERVICES) -> None:
        """Prepare; `services` are the commands that run beside broker and database."""
        self.settings = settings
        self._services = services
        self.kafka: EmbeddedKafka | None = None
        self.clickhouse: EmbeddedClickHouse | None = None
        self.children: list[Child] = []
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, on_step: Callable[[str], None], on_kafka: OnProgress = ignore_progress) -> None:
        """Start what is needed, in order; `on_step` is told of each. What was started is stopped on failure."""
        try:
            self._start(on_step, on_kafka)
        except BaseException:
            self.stop()
            raise

    def _start(self, on_step: Callable[[str], None], on_kafka: OnProgress) -> None:
        settings = self.settings
        if settings.kafka.bootstrap_servers is None:
            on_step("starting Kafka")
            self.kafka = EmbeddedKafka(settings.kafka, settings.data_dir / "kafka", settings.cache_dir)
            self.kafka.start(on_kafka)
            self._running.callback(self.kafka.stop)
        if settings.clickhouse.url is None:
            on_step("starting ClickHouse")
            self.clickhouse = EmbeddedClickHouse(settings.clickhouse, settings.data_dir / "clickhouse")
            self.clickhouse.start()
            self._running.callback(self.clickhouse.stop)
        self.settings = self._resolved()
        on_step("creating topics")
        apply_topic_table(self.settings)
        on_step("creating tables")
        apply_migrations(self.settings)
        for command in self._services:
            on_step(f"starting {command}")
            self.children.append(self._child(command))
        for service, url in ((GATEWAY, self.settings.gateway_url), (API, self.settings.api_url)):
            if service in self._services:
                self._await_ready(service, url)

    def _await_ready(self, service: str, url: str) -> None:
        """Return when a service answers; who was told that everything runs should find it."""
        deadline = monotonic() + READY_TIMEOUT_S
        while not answers(f"{url}/readyz"):
            self.check()
            if monotonic() > deadline:
                raise ServiceError(
                    f"`licmeter {service}` did not answer within {READY_TIMEOUT_S:.0f} s; its last words:\n"
                    + next(child.last_words() for child in self.children if child.name == service),
                    service=service,
                )
            time.sleep(READY_POLL_S)

    def _resolved(self) -> Settings:
        """Return the settings with the addresses that the parts really have."""
        kafka, clickhouse = self.settings.kafka, self.settings.clickhouse
        if self.kafka is not None:
            kafka = kafka.model_copy(update={"bootstrap_servers": self.kafka.bootstrap_servers})
        if self.clickhouse is not None:
            clickhouse = clickhouse.model_copy(update={"url": self.clickhouse.url})
        gateway, api = self.settings.gateway, self.settings.api
        if gateway.port == 0:
            gateway = gateway.model_copy(update={"port": free_port()})
        if api.port == 0:
            api = api.model_copy(update={"port": free_port()})
        return self.settings.model_copy(
            update={"kafka": kafka, "clickhouse": clickhouse, "gateway": gateway, "api": api}
        )

    def _child(self, command: str) -> Child:
        settings = self.settings
        environment = os.environ | {
            "LICMETER_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "LICMETER_CLICKHOUSE__URL": settings.clickhouse_url,
            "LICMETER_DATA_DIR": str(settings.data_dir.absolute()),
            "LICMETER_CLICKHOUSE__DATABASE": settings.clickhouse.database,
            "LICMETER_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "LICMETER_GATEWAY__PORT": str(settings.gateway.port),
            "LICMETER_API__PORT": str(settings.api.port),
        }
        log = settings.data_dir / "logs" / f"{command}.log"
        child = Child([command], log=log, environment=environment, clock=monotonic)
        child.start()
        self._running.callback(child.stop)
        return child

    def check(self) -> list[str]:
        """Start again what died; return sentences on what happened. Raises `ServiceError` when that is no use."""
        for service, part in (("kafka", self.kafka), ("clickhouse", self.clickhouse)):
            if part is not None and not part.alive:
                raise ServiceError(f"{service} has ended; its log is in {self.settings.data_dir}", service=service)
        return [f"`licmeter {child.name}` died and was started again" for child in self.children if child.check()]

    def stop(self) -> None:
        """Stop what was started, the last first."""
        self._running.close()
