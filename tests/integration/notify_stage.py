"""Receivers of alerts that fail, hang and lie; and the notifier that tells them."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from aiokafka import AIOKafkaProducer
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings, Settings
from licmeter.runtime.stack import apply_topic_table
from licmeter.schemas.alerts import Breach, Condition, RecipientLists, UsageAlert, alert_event
from licmeter.schemas.outcomes import BreachKind, ChargeWay, ItemState
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.sinks.notify.config import parse_config
from licmeter.sinks.notify.service import NotifierConfig, run_notifier
from tests.support.threaded_server import ThreadedServer, read_message

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LXJlY2VpdmVyLTEyMzQ="
WAIT_S_MAX = 60.0


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self) -> Any:
        """Check the signature as a receiver should; return the document."""
        return Webhook(SECRET).verify(self.body, self.headers)


Behavior = Callable[[asyncio.StreamWriter], Any]


def says(status: int, body: bytes = b"", **headers: str) -> Behavior:
    async def behave(writer: asyncio.StreamWriter) -> bool:
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return True

    return behave


async def drops(writer: asyncio.StreamWriter) -> bool:
    """Close without an answer."""
    return False


async def hangs(writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(3600)
    return False


async def breaks_off(writer: asyncio.StreamWriter) -> bool:
    """Say 200 and a length, and close before the end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly so much")
    await writer.drain()
    return False


async def trickles(writer: asyncio.StreamWriter) -> bool:
    """Say 200, and a byte now and then for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.05)


class Endless:
    """Say 200, and send a body without an end."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            self.sent += 0x10000


class Receiver(ThreadedServer):
    """A real HTTP receiver that behaves as a test tells it to; then it takes everything."""

    def __init__(self, *script: Behavior, then: Behavior | None = None) -> None:
        super().__init__()
        self.script = deque(script)
        self.then = then or says(204)
        #: Behaves for some requests, whatever the script says.
        self.judge: Callable[[Request], Behavior | None] = lambda request: None
        self.requests: list[Request] = []

    @property
    def ids(self) -> Counter[str]:
        return Counter(request.id for request in self.requests)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_message(reader)
            first, *lines = head.decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines if line)
            request = Request(first.split()[1], {name.lower(): value for name, value in pairs}, body)
            self.requests.append(request)
            behave = self.judge(request) or (self.script.popleft() if self.script else self.then)
            if not await behave(writer):
                return


@dataclass
class Mail:
    sender: str
    recipients: list[str]
    message: EmailMessage

    def part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body is not None
        return str(body.get_content())


@dataclass
class Mailbox:
    """A handler of aiosmtpd that keeps mails, and answers some commands as a test tells it to."""

    mails: list[Mail] = field(default_factory=list)
    #: What to say to an address, once each.
    rcpt: dict[str, deque[str]] = field(default_factory=dict)
    data: deque[str] = field(default_factory=deque)
    hang: float = 0.0
    sessions: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.rcpt.get(address):
            return self.rcpt[address].popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.sessions += 1
        if self.hang:
            await asyncio.sleep(self.hang)
        if self.data:
            return self.data.popleft()
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), message))
        return "250 OK"


class _AnyPort(Controller):
    """Takes a free port; the original only knows one that is told."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def smtp_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    controller = _AnyPort(mailbox, hostname="127.0.0.1", port=0, enable_SMTPUTF8=True, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate of 127.0.0.1; return the file for those who trust it, and the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "licmeter test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def breach(number: int, organization: str, kind: BreachKind = BreachKind.UNLICENSED_USE, **changes: Any) -> Breach:
    values = {
        "breach_id": f"{organization}-{kind}-{number}",
        "kind": kind,
        "organization_id": organization,
        "project_id": f"{organization}-kiosk",
        "client_uuid": f"device-{number}",
        "slot": datetime(2031, 3, 8, 10, 0, tzinfo=UTC),
        "at": datetime(2031, 3, 8, 10, 1, tzinfo=UTC),
    }
    return Breach.model_validate(values | changes)


def usage_alert(number: int, organization: str, recipients: RecipientLists, **changes: Any) -> UsageAlert:
    condition = {
        "scope": "item",
        "item_id": "41",
        "project_ids": (f"{organization}-kiosk",),
        "charge_way": ChargeWay.PER_PAGE,
        "metric": "used",
        "value": 1610,
        "quota": 2000,
        "percent": "80.50",
        "level": 80,
        "crossed": (60, 80),
        "state": ItemState.ACTIVE,
    }
    return UsageAlert(
        alert_id=f"{organization}-alert-{number}",
        organization_id=organization,
        checked_at=datetime(2031, 3, 8, 10, 20, tzinfo=UTC),
        conditions=(Condition.model_validate(condition | changes),),
        recipients=recipients,
    )


def publish(bootstrap: str, messages: Iterable[Breach | UsageAlert | bytes], timestamp_ms: int | None = None) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
        await producer.start()
        try:
            sent = []
            for message in messages:
                value = message if isinstance(message, bytes) else encode_event(alert_event(message))
                key = b"nobody" if isinstance(message, bytes) else message.organization_id.encode()
                sent.append(await producer.send(LICENSE_ALERTS.name, key=key, value=value, timestamp_ms=timestamp_ms))
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    asyncio.run(send())


def hook(receiver: Receiver, organization: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"hook-{organization}",
        "kind": "webhook",
        "url": f"{receiver.url}/hooks/very-secret-path",
        "secret": SECRET,
        "organizations": [organization],
        "timeout_s": 2,
        "retry_wait_s_max": 1,
        "circuit_open_s": 0.5,
    } | changes


def mail(port: int, organization: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"mail-{organization}",
        "kind": "email",
        "smtp": {"host": "127.0.0.1", "port": port, "security": "none"},
        "from": "licmeter <licmeter@example.org>",
        "organizations": [organization],
        "timeout_s": 3,
        "digest_s": 1,
        "retry_wait_s_max": 1,
        "circuit_open_s": 0.5,
    } | changes


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S_MAX) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        sleep(0.02)


class Notifier:
    """`run_notifier` in this process: `with` starts it in a thread and stops it."""

    def __init__(self, bootstrap: str, *targets: dict[str, Any]) -> None:
        config = parse_config({"targets": list(targets)}, {}, Path())
        self._config = NotifierConfig(bootstrap, config.targets, "test", 6.0, 0.5)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> "Notifier":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        async def run() -> None:
            self._stop = asyncio.Event()
            await run_notifier(self._config, self._stop)

        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(run())
        except BaseException as error:
            self._failure = error

    def __exit__(self, *_: object) -> None:
        until(lambda: self._stop is not None or self._failure is not None, "the notifier began")
        if self._stop is not None and self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the notifier did not stop"
        if self._failure is not None:
            raise self._failure


class NotifierProcess:
    """A real `licmeter notify`, with its log."""

    def __init__(self, folder: Path, bootstrap: str, *targets: dict[str, Any], **environment: str) -> None:
        self.log = folder / "notify.log"
        config = folder / "notify.json"
        config.write_text(json.dumps({"targets": list(targets)}))
        self.environment = os.environ | {
            "LICMETER_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "LICMETER_NOTIFY__CONFIG": str(config),
            "LICMETER_NOTIFY__SESSION_TIMEOUT_S": "6",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "licmeter.runtime.cli", "notify"], env=self.environment, stdout=log, stderr=log
            )

    def __enter__(self) -> "NotifierProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(10) == -signal.SIGKILL

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()[-3_000:]

    def command(self, *arguments: str, code: int = 0) -> Any:
        """Run another command of `licmeter notify` with --json; return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "licmeter.runtime.cli", "notify", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


def prepared(kafka: EmbeddedKafka) -> str:
    """Make the topics; return where the broker is."""
    apply_topic_table(Settings(kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)))
    return kafka.bootstrap_servers
