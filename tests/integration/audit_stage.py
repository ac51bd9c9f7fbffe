"""A system that counted a fleet and broken records, for the tests of audit and proof; and ways to tamper with it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from typer.testing import CliRunner, Result

from licmeter.runtime.cli.main import app
from licmeter.runtime.errors import LicmeterError
from licmeter.runtime.stack import Stack
from licmeter.runtime.wiring import clickhouse_target
from licmeter.schemas.reports import encode_event, usage_report
from tests.integration.stage import Stage, make_settings
from tests.support import fleet, load

__all__ = ["EVENTS", "AuditStage", "counted_stage"]

EVENTS = 2_000
NOW = datetime.now(UTC)


class AuditStage(Stage):
    """A stage with the command line beside it."""

    @property
    def environment(self) -> dict[str, str]:
        settings = self.stack.settings
        return {
            "LICMETER_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "LICMETER_CLICKHOUSE__URL": settings.clickhouse_url,
        }

    def cli(self, *arguments: object, code: int | None = 0) -> Result:
        """Run a command; None = whatever it exits with."""
        done = CliRunner().invoke(app, list(map(str, arguments)), env=self.environment)
        error = done.exception
        if isinstance(error, LicmeterError):
            assert error.exit_code == code, error.message
        elif error is not None and not isinstance(error, SystemExit):
            raise error
        else:
            assert code in (None, done.exit_code), done.output
        return done

    def audit(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.cli("audit", "--json", *arguments, code=code).stdout)
        return document

    def listed(self, *arguments: object) -> list[dict[str, Any]]:
        """Return the differences that an audit of something tampered with lists."""
        told = self.audit(*arguments, code=1)
        return [each | {"organization": o["organization_id"]} for o in told["organizations"] for each in o["listed"]]

    def command(self, sql: str) -> None:
        client = clickhouse_target(self.stack.settings).connect(mutations_sync=2, final=1)
        try:
            client.command(sql)
        finally:
            client.close()

    @contextmanager
    def tampered(self, table: str, *commands: str) -> Iterator[None]:
        """Run commands on a table, and bring its rows back in the end."""
        self.command(f"CREATE TABLE kept AS {table}")
        self.command(f"INSERT INTO kept SELECT * FROM {table}")
        try:
            for command in commands:
                self.command(command)
            yield
        finally:
            self.command(f"TRUNCATE TABLE {table}")
            self.command(f"INSERT INTO {table} SELECT * FROM kept")
            self.command("DROP TABLE kept SYNC")

    def publish(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.stack.settings.bootstrap_servers, acks="all")
            await producer.start()
            try:
                await producer.send_and_wait(topic, value, key, partition)
            finally:
                await producer.stop()

        asyncio.run(send())

    def forget(self, topic: str, partition: int, offset: int) -> None:
        """Let the broker drop the records below an offset, as retention does."""

        async def delete() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.settings.bootstrap_servers)
            await admin.start()
            try:
                await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(offset)})
            finally:
                await admin.close()

        asyncio.run(delete())


@contextmanager
def counted_stage(folder: Path, events: int = EVENTS) -> Iterator[AuditStage]:
    """Start everything, send all charge ways and all kinds of bad records, and wait until they are stored."""
    with Stack(make_settings(folder)) as stack:
        stack.start(lambda _: None)
        stage = AuditStage(stack)
        stage.send(fleet.catalogs(3, NOW))
        stage.send(load.catalogs(2, 300, NOW))
        stage.send(fleet.events(events, 3, NOW, 7))
        stage.send(load.reports(events, 3, NOW, 7))  # one organization more than there are catalogs
        stage.send([(b"2000", None), (None, b"{}"), (b"\xff", b"x"), (b"", b"")])
        stage.send(odd_words())
        stage.until(lambda: stored(stage) >= 2 * events + 6, "all records in ClickHouse")
        yield stage


def odd_words() -> Iterator[tuple[bytes, bytes]]:
    """Yield reports whose words have what might be taken for a divider, or has more bytes than characters."""
    for number, word in enumerate(("größe|3,1:", "a\x00b\n'\"\\ 🔑")):
        slot = datetime.fromtimestamp(int(NOW.timestamp()) // 180 * 180, UTC)
        fields: dict[str, Any] = {"client_uuid": f"{word}{number}", "slot": slot, "project_id": "1000-one"}
        yield b"1000", encode_event(usage_report(report_id=word, counts={word: 2, "qr": 1}, **fields))


def stored(stage: Stage) -> int:
    ((authorizations,),) = stage.query("SELECT count() FROM authorizations")
    return stage.stored() + int(authorizations)
