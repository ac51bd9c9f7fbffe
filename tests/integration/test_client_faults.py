"""What disks, clocks and handlers do to a client: recording goes on, nothing raises, and nothing is lost."""

import contextlib
import gc
import logging
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import FrameType

import pytest

from licmeter.producers import SyncUsageClient
from licmeter.producers.client.core import Core
from licmeter.producers.client.options import ClientOptions
from tests.support.usage_server import KEY, UsageServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SLOT = 180
START = 1_930_000_140.0


@pytest.fixture
def server() -> Iterator[UsageServer]:
    with UsageServer() as running:
        yield running


def client(server: UsageServer, spool: Path | None, **options: object) -> SyncUsageClient:
    more = {"license_key": KEY, "spool": spool, "retry_in_session": True} | options
    return SyncUsageClient(server.url, **more)


def said(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the events that were logged."""
    return [str(record.args[0]) for record in log.records if record.name == "licmeter.client" and record.args]


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that a disk has."""
    path = disk / "ballast"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_full_disk_loses_nothing(
    from_the_start: bool, tmpfs: Path, server: UsageServer, caplog: pytest.LogCaptureFixture
) -> None:
    ballast = fill(tmpfs) if from_the_start else None
    subject = client(server, tmpfs / "spool")
    subject.record("before", 2)
    ballast = ballast or fill(tmpfs)
    for number in range(5_000):  # more than a tally holds
        subject.record(f"feature-{number}")
    subject._core.tick()
    subject.flush(20)
    subject.record("during")
    assert subject.stats.misused == {}
    assert set(said(caplog)) & {"tally_in_memory", "spool_failed"}
    ballast.unlink()
    assert subject.flush(20)
    subject.record("after")
    subject.close()
    assert subject.stats.misused == {}
    assert (server.units(), server.units("before"), server.units("during")) == (5_004, 2, 1)
    assert sorted(path.name for path in (tmpfs / "spool").iterdir()) == ["spool.db"]


def test_files_that_cannot_grow(tmp_path: Path, server: UsageServer) -> None:
    """A limit on the size of files is what a quota looks like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    subject = client(server, tmp_path / "spool")
    subject.record("qr")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        for number in range(3_000):
            subject.record(f"feature-{number}")
        subject.flush(20)
        subject._core.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert subject.flush(20)
    subject.close()
    assert server.units() == 3_001


@pytest.mark.parametrize("where", ["below a file", "/proc/licmeter"])
def test_a_folder_that_cannot_be_written_is_said_once_and_reports_are_sent(
    where: str, tmp_path: Path, server: UsageServer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with client(server, tmp_path / "file" / "spool" if where == "below a file" else Path(where)) as subject:
        subject.record("qr", 3)
        assert subject.flush(20)
        assert subject.stats.in_memory
        subject.record("qr", 4)
        subject._core.tick()
        subject._core.collect()
    assert server.units() == 7
    assert said(caplog) == ["spool_in_memory"]


def leave_reports(spool: Path, count: int = 300) -> str:
    """Leave reports that nobody sent; return the identity of the device."""
    options = ClientOptions(url="http://127.0.0.1:1", license_key=KEY, spool=spool)
    now = [START]
    core = Core(options, clock=lambda: now[0])
    core.open()
    for _ in range(count):
        core.recorder.record("old")
        now[0] += SLOT
    core.rest()
    return core.client_uuid


def overwrite(database: Path, start: float, end: float) -> None:
    content = bytearray(database.read_bytes())
    first, last = int(start * len(content)), int(end * len(content))
    content[first:last] = Random(7).randbytes(last - first)
    database.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], None], int]] = {
    "its head": (lambda database: overwrite(database, 0, 0.01), 0),
    "its middle": (lambda database: overwrite(database, 0.5, 0.55), 100),
    "its end": (lambda database: overwrite(database, 0.9, 1), 100),
    "truncated": (lambda database: os.truncate(database, database.stat().st_size // 2 + 100), 10),
    "no database": (lambda database: database.write_bytes(b"not a database" * 1_000) and None, 0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_broken_spool_is_put_aside_and_what_can_be_read_is_saved(
    kind: str, tmp_path: Path, server: UsageServer, caplog: pytest.LogCaptureFixture
) -> None:
    device = leave_reports(tmp_path)
    damage, least = DAMAGE[kind]
    damage(tmp_path / "spool.db")
    with client(server, tmp_path, clock=lambda: START + 400 * SLOT) as subject:
        subject.record("new", 5)
        deadline = time.monotonic() + 20
        while not subject.flush(20):
            assert time.monotonic() < deadline
        if least:
            assert subject.client_uuid == device
    assert (server.units("new"), said(caplog).count("spool_replaced")) == (5, 1)
    assert least <= server.units("old") <= 300
    assert list(tmp_path.glob("spool.db.unreadable-*"))


def test_a_spool_that_breaks_while_the_client_runs(
    tmp_path: Path, server: UsageServer, caplog: pytest.LogCaptureFixture
) -> None:
    with client(server, tmp_path) as subject:
        device = subject.client_uuid
        (tmp_path / "spool.db").write_bytes(b"not a database" * 1_000)
        subject.record("qr", 2)
        subject.flush(20)
        assert subject.flush(20)
        assert subject.client_uuid == device
    assert server.units() == 2
    assert "spool_replaced" in said(caplog)
    with client(server, tmp_path) as again:
        assert again.client_uuid == device


def test_a_spool_that_is_removed_while_the_client_runs(tmp_path: Path, server: UsageServer) -> None:
    with client(server, tmp_path / "spool") as subject:
        subject.record("qr", 2)
        while (tmp_path / "spool").exists():  # the client may be making a file
            shutil.rmtree(tmp_path / "spool", ignore_errors=True)
        deadline = time.monotonic() + 20
        while not subject.flush(20):
            subject._core.tick()
            assert time.monotonic() < deadline
    assert server.units() == 2


def test_a_clock_that_jumps_over_slots(tmp_path: Path, server: UsageServer) -> None:
    seed = 20310308
    random, now, recorded = Random(seed), [START], 0
    with client(server, tmp_path, clock=lambda: now[0]) as subject:
        for _ in range(500):
            now[0] += random.choice([0, 0, 0.5, 1, -1, 179, -179, 180, -180, 3_600, -3_600])
            subject.record("qr")
            recorded += 1
            if random.random() < 0.05:
                subject._core.collect()
        assert subject.flush(20)
    assert server.units() == recorded, f"seed {seed}"


@pytest.mark.parametrize("clock", [lambda: float("nan"), lambda: 1e300, lambda: -1.0, lambda: 1 / 0, lambda: None])
def test_a_clock_that_tells_no_time(clock: Callable[[], float], tmp_path: Path, server: UsageServer) -> None:
    with client(server, tmp_path, clock=clock) as subject:
        subject.record("qr")
        assert subject.flush(20)
        assert sum(subject.stats.misused.values()) == 1


def test_handlers_that_interrupt_records(tmp_path: Path, server: UsageServer) -> None:
    """At some thousand signals a second, one comes between any two bytecodes of `record`."""
    subject = client(server, tmp_path, submit_interval_s=0.02)
    handled = 0

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        subject.record("handler")
        subject.instances = 1

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    main, end = 0, time.monotonic() + 4
    try:
        while time.monotonic() < end:
            subject.record("main")
            main += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    subject.close()
    assert handled > 500
    assert (server.units("main"), server.units("handler"), subject.stats.misused) == (main, handled, {})


class Recording:
    """Records when it is collected, as a finalizer may."""

    def __init__(self, subject: SyncUsageClient) -> None:
        self.subject, self.me = subject, self

    def __del__(self) -> None:
        self.subject.record("finalizer")


def test_finalizers_that_record(tmp_path: Path, server: UsageServer) -> None:
    subject = client(server, tmp_path)
    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(3_000):
            Recording(subject)
            subject.record(f"main-{number % 1_000}")
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    subject.close()
    assert (server.units("finalizer"), server.units()) == (3_000, 6_000)


class Loud(logging.Handler):
    """Records what it logs, as one that counts warnings does."""

    def __init__(self, subject: SyncUsageClient) -> None:
        super().__init__()
        self.subject = subject

    def emit(self, record: logging.LogRecord) -> None:
        self.subject.record("logged")


def test_a_log_handler_that_records(tmp_path: Path, server: UsageServer) -> None:
    subject = client(server, tmp_path)
    log, handler = logging.getLogger("licmeter.client"), Loud(subject)
    log.addHandler(handler)
    try:
        subject.record("", 1)
        subject.record("qr", -1)
        subject.close()
    finally:
        log.removeHandler(handler)
    assert (subject.stats.misused, server.units("logged")) == ({"feature": 1, "count": 1}, 2)
