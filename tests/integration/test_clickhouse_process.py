"""The endpoint's process: it outlives crashes without loss, says why it cannot start, and leaves nothing behind."""

import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import clickhouse_connect
import psutil
import pyarrow as pa
import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.clickhouse.foreground import run_foreground
from licmeter.runtime.errors import ServiceError
from licmeter.runtime.settings import ClickHouseSettings, Settings
from tests.support.processes import gone

pytest.importorskip("chdb", reason="the extra `embedded` is not installed")
pytestmark = pytest.mark.integration

ANY_PORT = ClickHouseSettings(port=0)


def poll_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def python(code: str, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *arguments], **options)  # type: ignore[call-overload,no-any-return]


def test_acknowledged_rows_outlive_a_kill(tmp_path: Path) -> None:
    clickhouse = EmbeddedClickHouse(ANY_PORT, tmp_path)
    clickhouse.start()
    url = clickhouse.url
    client = clickhouse_connect.get_client(dsn=url)
    client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    for start in range(0, 50_000, 10_000):
        client.insert_arrow("t", pa.table({"x": list(range(start, start + 10_000))}))
    clickhouse.kill()
    assert not clickhouse.alive
    clickhouse.start()
    assert clickhouse.url == url
    assert client.command("SELECT uniqExact(x) FROM t") == 50_000
    client.close()
    clickhouse.stop()
    clickhouse.stop()


PARENT = """
    import sys, time
    from pathlib import Path
    from licmeter.runtime.clickhouse import EmbeddedClickHouse
    from licmeter.runtime.settings import ClickHouseSettings
    clickhouse = EmbeddedClickHouse(ClickHouseSettings(port=0), Path(sys.argv[1]))
    clickhouse.start()
    print(clickhouse.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    parent = python(PARENT, str(tmp_path), stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert poll_until(lambda: gone(child))


def test_a_taken_port_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ClickHouseSettings(port=taken.getsockname()[1])
        with pytest.raises(ServiceError) as caught:
            EmbeddedClickHouse(settings, tmp_path).start()
    assert "is taken" in caught.value.message
    assert "LICMETER_CLICKHOUSE__PORT" in caught.value.hint


def test_a_used_data_directory_is_named(tmp_path: Path) -> None:
    with EmbeddedClickHouse(ANY_PORT, tmp_path), pytest.raises(ServiceError) as caught:
        EmbeddedClickHouse(ANY_PORT, tmp_path).start()
    assert str(tmp_path) in caught.value.message
    assert "LICMETER_DATA_DIR" in caught.value.hint


def test_an_engine_that_cannot_start_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "engine" / "status").mkdir(parents=True)  # where its lock file must be
    clickhouse = EmbeddedClickHouse(ANY_PORT, tmp_path)
    with pytest.raises(ServiceError) as caught:
        clickhouse.start()
    assert "Code: " in caught.value.message
    assert not clickhouse.alive


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError) as caught:
        EmbeddedClickHouse(ANY_PORT, tmp_path / "file").start()
    assert str(tmp_path / "file") in caught.value.message
    assert "LICMETER_DATA_DIR" in caught.value.hint


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "chdb" else object())
    with pytest.raises(ServiceError) as caught:
        EmbeddedClickHouse(ANY_PORT, tmp_path).start()
    assert "chdb" in caught.value.message
    assert "pip install licmeter[embedded]" in caught.value.hint


FOREGROUND = """
    import sys
    from pathlib import Path
    from licmeter.runtime.clickhouse.foreground import run_foreground
    from licmeter.runtime.settings import Settings
    sys.exit(run_foreground(Settings(data_dir=Path(sys.argv[1]), clickhouse={"port": 0})))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    process = python(FOREGROUND, str(tmp_path), stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        assert b"listens on http://127.0.0.1:" in process.stderr.readline()
        children = psutil.Process(process.pid).children()
        process.send_signal(number)
        assert process.wait(20) == 0
    assert len(children) == 1
    assert not children[0].is_running()


def test_in_the_foreground_there_is_nothing_to_run_beside_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(clickhouse=ClickHouseSettings(url="http://db:8123"))
    assert run_foreground(settings) == 2
    assert "http://db:8123" in capsys.readouterr().err
