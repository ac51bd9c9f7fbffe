"""The guardian with small processes in the place of the broker."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from licmeter.runtime.kafka.polling import poll_until
from licmeter.runtime.kafka.process import GuardedProcess
from tests.support.processes import gone

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(300)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(300)",
]


def start(command: list[str], tmp_path: Path) -> GuardedProcess:
    console = tmp_path / "console.log"
    process = GuardedProcess(command, console=console, environment=os.environ)
    assert poll_until(lambda: console.read_text().startswith("up"), timeout_s=10)
    return process


def test_a_process_is_terminated(tmp_path: Path) -> None:
    process = start(SLEEPER, tmp_path)
    assert process.alive
    process.stop(timeout_s=10)
    assert gone(process.pid)
    assert process.wait() == 128 + signal.SIGTERM


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = start(STUBBORN, tmp_path)
    process.stop(timeout_s=0.1)
    assert process.wait() == 128 + signal.SIGKILL
    assert gone(process.pid)


def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    process = start(SLEEPER, tmp_path)
    process.kill()
    process.kill()
    process.stop(timeout_s=1)
    assert process.wait() == 128 + signal.SIGKILL


def test_the_exit_code_is_the_childs(tmp_path: Path) -> None:
    process = start([sys.executable, "-c", "print('up'); raise SystemExit(7)"], tmp_path)
    assert process.wait(10) == 7
    assert not process.alive


def test_a_program_that_is_not_there_is_said_on_the_console(tmp_path: Path) -> None:
    process = GuardedProcess([str(tmp_path / "java")], console=tmp_path / "console.log", environment=os.environ)
    assert process.wait(10) == 127
    assert "cannot run" in (tmp_path / "console.log").read_text()


def test_ctrl_c_does_not_reach_the_child(tmp_path: Path) -> None:
    process = start(SLEEPER, tmp_path)
    assert os.getpgid(process.pid) != os.getpgid(0)
    process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_the_child_ends_with_a_guardian_that_was_killed(tmp_path: Path) -> None:
    process = start(STUBBORN, tmp_path)
    os.kill(psutil.Process(process.pid).ppid(), signal.SIGKILL)
    assert poll_until(lambda: gone(process.pid), timeout_s=10)
    process.kill()


@pytest.mark.parametrize("holds_the_pipe", [False, True], ids=["alone", "with a forked process that holds the pipe"])
def test_the_child_ends_with_a_parent_that_was_killed(tmp_path: Path, holds_the_pipe: bool) -> None:
    """Also when a thread that has ended meanwhile had started it, which alone must not end it."""
    script = textwrap.dedent(
        f"""
        import os, sys, threading, time
        from pathlib import Path
        from licmeter.runtime.kafka.process import GuardedProcess

        def start():
            global process
            console = Path({str(tmp_path / "console.log")!r})
            process = GuardedProcess({SLEEPER!r}, console=console, environment=os.environ)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        if {holds_the_pipe} and os.fork() == 0:
            os.close(1)
            time.sleep(20)
            os._exit(0)
        print(process.pid, flush=True)
        time.sleep(300)
        """
    )
    began = time.monotonic()
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert poll_until(lambda: (tmp_path / "console.log").read_text().startswith("up"), timeout_s=10)
    forked = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    assert poll_until(lambda: gone(pid), timeout_s=10)
    for process in forked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert time.monotonic() - began < 15
