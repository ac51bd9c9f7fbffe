"""Processes that embed the SDK are killed, forked, and end as they like: every unit arrives, and counts once."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

import pytest

from licmeter.producers import SyncUsageClient
from tests.support.usage_server import KEY, UsageServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

KILLS = 20
THREADS = 2
#: What every program begins with: url, spool, and a client that sends at short intervals.
HEAD = f"""
import gc, mmap, os, random, signal, sys, threading, time
from licmeter.producers import SyncUsageClient
url, spool, *rest = sys.argv[1:]

def client(**options):
    options = dict(license_key="{KEY}", spool=spool, submit_interval_s=0.05, retry_in_session=True) | options
    return SyncUsageClient(url, **options)

def wait_for_exit(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def start(program: str, server: UsageServer, spool: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", HEAD + program, server.url, str(spool), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program: str, server: UsageServer, spool: Path, *arguments: object) -> str:
    process = start(program, server, spool, *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return output


def send_the_rest(server: UsageServer, spool: Path) -> None:
    """Send what is left; then the spool is empty."""
    with SyncUsageClient(server.url, license_key=KEY, spool=spool, retry_in_session=True) as last:
        assert until(lambda: last.flush(30))
        assert last._core.folder is not None
        found = last._core.folder.spool.status()
    assert (found["reports"], found["units_of_open_slots"]) == (0, 0)
    # What a process was making when it was killed is nobody's; it is removed an hour later.
    assert [path.name for path in spool.iterdir() if path.suffix != ".new"] == ["spool.db"]


def until(what: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


KILLED = """
with open(rest[0], "r+b") as file:
    words = memoryview(mmap.mmap(file.fileno(), 64)).cast("Q")
c = client()

def work(number):
    n = 0
    while True:
        c.record(f"f{n % 7}")
        words[number] += 1
        n += 1
        if n % 50 == 0:
            time.sleep(0.001)

def flush():
    while True:  # else a report comes only when its slot is over
        try:
            c.flush(5)
        except TimeoutError:
            pass

for number in range(2):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("up", flush=True)
flush()
"""


def test_kill_9_in_a_loop_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    random = Random(seed)
    ledger = tmp_path / "ledger"
    ledger.write_bytes(bytes(64))
    spool = tmp_path / "spool"
    with UsageServer(seed, cut_share=0.3) as server:
        for _ in range(KILLS):
            process = start(KILLED, server, spool, ledger)
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "up\n", process.stderr.read()
            time.sleep(random.uniform(0, 0.8))  # the moment is what is being tested
            process.send_signal(signal.SIGKILL)
            process.communicate()
        server.cut_share = 0
        send_the_rest(server, spool)
        recorded = sum(memoryview(ledger.read_bytes()).cast("Q"))
        print(recorded, server.units(), len(server.books), server.cuts, max(server.arrivals.values()))
        assert recorded <= server.units() <= recorded + THREADS * KILLS
        assert server.conflicts == []
        assert server.cuts > 0
        assert recorded > KILLS


FORKED = """
how = rest[0]
c = client(submit_interval_s=180)
c.record("parent", 10)
pid = os.fork()
if pid == 0:
    c.record("child", 3)
    if how == "nested":
        grandchild = os.fork()
        c.record("both", 5)
        if grandchild == 0:
            os._exit(0)
        wait_for_exit(grandchild)
    if how == "flush":
        assert c.flush(30)
    if how != "exit":
        os._exit(0)
    sys.exit(0)
c.record("parent", 1)
wait_for_exit(pid)
if how != "without close":
    c.close()
"""


@pytest.mark.parametrize("how", ["_exit", "exit", "nested", "flush", "without close"])
def test_a_fork_counts_on_both_sides(how: str, tmp_path: Path) -> None:
    with UsageServer() as server:
        run(FORKED, server, tmp_path / "spool", how)
        if how == "flush":
            assert server.units("child") == 3
        send_the_rest(server, tmp_path / "spool")
        assert (server.units("parent"), server.units("child")) == (11, 3)
        assert server.units("both") == (10 if how == "nested" else 0)


SILENT_CHILD = """
c = client()
pid = os.fork()
if pid == 0:
    assert c.flush(10)  # before anything was recorded
    c.close()
    c.record("late", 2)
    sys.exit(0)
wait_for_exit(pid)
c.close()
pid = os.fork()
if pid == 0:
    c.record("later", 1)
    sys.exit(0)
wait_for_exit(pid)
"""


def test_a_child_may_flush_and_close_before_it_records(tmp_path: Path) -> None:
    with UsageServer() as server:
        run(SILENT_CHILD, server, tmp_path / "spool")
        send_the_rest(server, tmp_path / "spool")
        assert (server.units("late"), server.units("later")) == (2, 1)


FORKED_BY_THREADS = """
c = client()
stop = threading.Event()
counted = 0

def work():
    global counted
    while not stop.is_set():
        c.record("parent")
        counted += 1

def fork():
    for _ in range(15):
        pid = os.fork()
        if pid == 0:
            c.record("child")
            os._exit(0)
        wait_for_exit(pid)

workers, forkers = threading.Thread(target=work), [threading.Thread(target=fork) for _ in range(3)]
workers.start()
for one in forkers: one.start()
for one in forkers: one.join(40)
stop.set()
workers.join()
c.close()
print(counted)
"""


def test_threads_that_fork_at_once_while_others_record_and_send(tmp_path: Path) -> None:
    with UsageServer() as server:
        counted = int(run(FORKED_BY_THREADS, server, tmp_path / "spool"))
        send_the_rest(server, tmp_path / "spool")
        assert (server.units("parent"), server.units("child")) == (counted, 45)


POOL = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
c = client(submit_interval_s=0.2)

def work(number):
    c.record("page", number)
    return number

if __name__ == "__main__":
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        print(sum(pool.map(work, range(1, 101))))
    print(sum(1 for _ in range(20) if c.record("own") is None))
    c.flush(30)  # takes over what the workers left, without a restart
    print(len([name for name in os.listdir(spool) if name.endswith(".tally")]))
    c.close()
"""


def test_a_pool_of_processes_counts_everything(tmp_path: Path) -> None:
    with UsageServer() as server:
        assert int(run(POOL, server, tmp_path / "spool").split()[-1]) <= 2  # its own, and the next one
        send_the_rest(server, tmp_path / "spool")
        assert (server.units("page"), server.units("own")) == (5050, 20)


TWO = """
c = client()
for n in range(400):
    c.record(rest[0])
    if n % 20 == 0:
        try:
            c.flush(10)
        except TimeoutError:
            pass
c.close()
"""


def test_processes_share_a_spool(tmp_path: Path) -> None:
    with UsageServer(cut_share=0.1) as server:
        processes = [start(TWO, server, tmp_path / "spool", f"p{number}") for number in range(3)]
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0
            assert errors.replace("licmeter: delivery_failed", "").count("licmeter:") == 0, errors
        server.cut_share = 0
        send_the_rest(server, tmp_path / "spool")
        assert [server.units(f"p{number}") for number in range(3)] == [400, 400, 400]
        assert server.conflicts == []


@pytest.mark.parametrize("url", ["served", "nowhere"])
def test_an_exit_without_close_leaves_the_rest_in_the_spool(url: str, tmp_path: Path) -> None:
    program = "" if url == "served" else "url = 'http://127.0.0.1:1'\n"
    program += "c = client(submit_interval_s=180)\nfor n in range(30): c.record('qr')\n"
    with UsageServer() as server:
        process = start(program, server, tmp_path / "spool")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert "Warning" not in errors
        assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["spool.db"]
        send_the_rest(server, tmp_path / "spool")
        assert server.units() == 30


AT_EXIT = """
import atexit
c = client(exit_timeout_s=20)
c.record("qr", 2)
atexit.register(c.close)
atexit.register(c.record, "qr", 5)
"""


def test_a_client_that_is_closed_at_exit(tmp_path: Path) -> None:
    """Then no threads can be started any more; it works all the same."""
    with UsageServer() as server:
        run(AT_EXIT, server, tmp_path / "spool")
        assert server.units() == 7
        assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["spool.db"]


def test_sigterm_that_closes_in_the_middle_of_a_record(tmp_path: Path) -> None:
    program = """
c = client()
def end(*_):
    c.close()
    print(n)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
n = 0
print("up", flush=True)
while True:
    c.record("qr"); n += 1
"""
    with UsageServer() as server:
        for number in range(5):
            process = start(program, server, tmp_path / "spool")
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            time.sleep(0.01 * number)
            process.terminate()
            output, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
            assert errors == ""
            send_the_rest(server, tmp_path / "spool")
            assert int(output) <= server.units() <= int(output) + 1
            server.books.clear()


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del c"])
def test_a_client_that_nobody_closes_sends_at_the_end(end: str, tmp_path: Path) -> None:
    with UsageServer() as server:
        run(f"c = client(submit_interval_s=180)\nc.record('last', 5)\n{end}\n", server, tmp_path / "spool")
        assert server.units("last") == 5
