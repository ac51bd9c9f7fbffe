"""Whatever happens between any two steps of a client, each unit is in exactly one place, or was delivered once.

Rules are the steps of `Core` and `Courier`; a crash is a copy of the folder as it stands in the middle of a step,
opened by a new `Core`, as the kernel would leave it after `kill -9`.
"""

import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from licmeter.producers.client.core import Core
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.recorder import SLOT_SECONDS
from licmeter.producers.client.spool import Pending, Spool
from licmeter.producers.client.tally import FileTally, MemoryTally, read_tally

START = 1_930_000_140.0
#: What changes the disk, or comes between two things that do.
CHANGES = ("execute", "executemany", "close", "mmap", "posix_fallocate", "unlink", "rename", "replace", "touch")
FEATURES = st.sampled_from(["qr", "ean", "page"])


class ClientMachine(RuleBasedStateMachine):
    """One folder, the processes on it one after another, and the server's books."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.turn = 0
        self.now = START
        self.recorded: Counter[str] = Counter()
        self.books: dict[str, dict[str, int]] = {}
        self.batch: list[Pending] = []
        self.core: Core

    @initialize()
    def begin(self) -> None:
        self.core = self.start()

    def start(self) -> Core:
        options = ClientOptions(kafka="nowhere:1", project_id="300417-kiosk", spool=self.folder)
        core = Core(options, clock=lambda: self.now)
        core.open()
        return core

    @property
    def folder(self) -> Path:
        return self.home / str(self.turn)

    @rule(feature=FEATURES, count=st.integers(1, 1_000_000), late=st.integers(-3, 0))
    def record(self, feature: str, count: int, late: int) -> None:
        at = None if late == 0 else datetime.fromtimestamp(self.now + late * SLOT_SECONDS, UTC)
        self.core.recorder.record(feature, count, at)
        self.recorded[feature] += count

    @rule(many=st.integers(1_400, 2_500))
    def fill_the_tally(self, many: int) -> None:
        for number in range(many):
            self.core.recorder.record(f"feature-{number}-of-many")
            self.recorded[f"feature-{number}-of-many"] += 1

    @rule(seconds=st.sampled_from([1, 100, 180, 500, -170, -400]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def tick(self) -> None:
        self.core.tick()

    @rule(all_slots=st.booleans())
    def collect(self, all_slots: bool) -> None:
        self.core.collect(all_slots=all_slots)

    @rule(limit=st.integers(1, 5))
    def attempt(self, limit: int) -> None:
        self.batch = self.spool.pending(limit, 100_000)
        self.spool.attempted(self.batch, self.core.session)

    @precondition(lambda self: self.batch)
    @rule()
    def deliver(self) -> None:
        """The server has them; the answer may never arrive."""
        for report in self.batch:
            counts = json.loads(report.event)["data"]["counts"]
            assert self.books.setdefault(report.report_id, counts) == counts

    @precondition(lambda self: self.batch)
    @rule()
    def settle(self) -> None:
        self.spool.settle([report.report_id for report in self.batch if report.report_id in self.books])
        self.batch = []

    @rule()
    def close_and_restart(self) -> None:
        self.core.rest()
        assert not list(self.folder.glob("*.tally"))
        self.core = self.start()

    @rule()
    def restart_without_close(self) -> None:
        self.abandon(self.core)
        self.core = self.start()

    @precondition(lambda self: not self.holds_in_memory)
    @rule(step=st.sampled_from(["tick", "collect", "rest", "settle"]), point=st.integers(0, 1_000))
    def crash_within(self, step: str, point: int) -> None:
        """Copy the folder before each thing that a step does to the disk, count, and go on with one of the copies."""
        crashed = self.core
        steps: dict[str, Callable[[], object]] = {
            "tick": crashed.tick,
            "collect": lambda: crashed.collect(all_slots=True),
            "rest": crashed.rest,
            "settle": lambda: self.spool.settle([r.report_id for r in self.batch if r.report_id in self.books]),
        }
        copies: list[Path] = []

        def snapshot() -> None:
            copies.append(self.home / f"{self.turn + 1}-{len(copies)}")
            copy(self.folder, copies[-1])

        with before_changes(snapshot):
            steps[step]()
        snapshot()
        for one in copies:
            assert +self.with_books(in_folder(one, set(self.books))) == +self.recorded
        self.abandon(crashed)
        self.turn += 1
        copies[point % len(copies)].rename(self.folder)
        self.core = self.start()

    @property
    def holds_in_memory(self) -> bool:
        tallies = [self.core.recorder.tally, *self.core.recorder.full, *self.core._done]
        return any(isinstance(tally, MemoryTally) for tally in tallies)

    @property
    def spool(self) -> Spool:
        assert self.core.folder is not None
        return self.core.folder.spool

    def abandon(self, core: Core) -> None:
        """Let go of the locks, as the kernel does when a process ends; forget what was in memory only.

        That is what went beyond tally and spare since the last tick: `record` makes no files.
        """
        recorder = core.recorder
        for tally in [recorder.tally, recorder.spare, *recorder.full, *core._done]:
            if isinstance(tally, FileTally):
                tally.close()
            elif tally is not None:
                self.recorded.subtract(memory_of(tally))
        self.batch = []

    def with_books(self, found: Counter[str]) -> Counter[str]:
        for counts in self.books.values():
            found.update(counts)
        return found

    @invariant()
    def every_unit_is_in_one_place(self) -> None:
        if not hasattr(self, "core"):
            return
        found = self.with_books(in_folder(self.folder, set(self.books)))
        recorder = self.core.recorder
        for tally in [recorder.tally, *recorder.full, *self.core._done]:
            if not isinstance(tally, FileTally):
                found.update(memory_of(tally))
        assert +found == +self.recorded

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.abandon(self.core)
        shutil.rmtree(self.home)


def memory_of(tally: MemoryTally) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in tally.entries():
        found[entry.feature] += entry.units
    return found


def in_folder(folder: Path, delivered: set[str]) -> Counter[str]:
    """Count what is in a folder and not delivered."""
    found: Counter[str] = Counter()
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as db:
        found.update(dict(db.execute("SELECT feature, sum(count) FROM counts GROUP BY feature")))
        taken_in = {name for (name,) in db.execute("SELECT name FROM ingested")}
        for report_id, event in db.execute("SELECT report_id, event FROM reports"):
            if report_id not in delivered:
                found.update(json.loads(event)["data"]["counts"])
    for path in folder.glob("*.tally"):
        if path.name not in taken_in:
            for entry in read_tally(path.read_bytes()):
                found[entry.feature] += entry.units
    return found


def copy(source: Path, target: Path) -> None:
    """Copy what the kernel has, which is what a killed process leaves."""
    target.mkdir()
    for path in source.iterdir():
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, target / path.name)


@contextlib.contextmanager
def before_changes(act: Callable[[], None]) -> Iterator[None]:
    """Act before each call by the client of something that changes the disk."""

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event == "c_call":
            name, caller = getattr(argument, "__name__", ""), frame
        elif event == "call" and frame.f_back is not None:
            name, caller = frame.f_code.co_name, frame.f_back
        else:
            return
        if name in CHANGES and "producers/client" in caller.f_code.co_filename:
            act()

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


TestClientMachine = ClientMachine.TestCase
TestClientMachine.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
