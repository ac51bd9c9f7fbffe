"""Whatever is recorded, moved, sent and killed, at any line: every unit is exactly once at the server or in the spool.

Each life of the program is a process of its own, which kills itself by SIGKILL when a number of lines of the SDK have
run. The next life finds what the kernel and SQLite kept. The ledger is memory that all lives share. One test has random
lives; the other kills in turn at one line in some of a life that does everything, as the lines that matter are few.
"""

import json
import mmap
import os
import signal
import sys
import tempfile
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from types import FrameType
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.producers.client import tally
from licmeter.producers.client.core import Core
from licmeter.producers.client.folder import DATABASE, new_report_id
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.spool import Spool

SDK = str(Path("producers", "client"))
FEATURES = 3
START = 1_930_000_000
#: Room for four or five entries, so that tallies are full now and then.
TALLY_BYTES = 256
#: More than a life has.
LINES_MAX = 6_000
#: Of the lines one in so many, from a random one on: all of them take minutes.
STRIDE = 9
CHECK_EVERY = 20


class Step(NamedTuple):
    """One thing that a program does; `number` says how much."""

    name: str
    number: int
    feature: int = 0


class Life(NamedTuple):
    """What a process does until it is killed, so many lines after it has opened its spool; None = it ends well."""

    steps: list[Step]
    kill_at_line: int | None


class Ledger:
    """Units begun and done, by feature, in memory that forks share."""

    def __init__(self, features: int) -> None:
        self._words = memoryview(mmap.mmap(-1, 16 * features)).cast("Q")
        self.features = range(features)

    def begin(self, feature: int, count: int) -> None:
        self._words[2 * feature] += count

    def done(self, feature: int, count: int) -> None:
        self._words[2 * feature + 1] += count

    def bounds(self, feature: int) -> tuple[int, int]:
        return self._words[2 * feature + 1], self._words[2 * feature]


class World:
    """What outlives a process: its folder, the server's log, and the ledger."""

    def __init__(self, folder: Path, features: int = FEATURES) -> None:
        self.folder = folder / "spool"
        self.server = folder / "server"
        self.server.touch()
        self.ledger = Ledger(features)
        self.now = float(START)

    def core(self) -> Core:
        options = ClientOptions(kafka="k:9092", project_id="1-x", spool=self.folder, product="p")
        return Core(options, lambda: self.now)

    def live(self, life: Life) -> None:
        """Be a process."""
        core = self.core()
        core.open()
        if life.kill_at_line is not None:
            kill_at(life.kill_at_line)
        for step in life.steps:
            getattr(self, step.name)(core, step)
        core.rest()

    def counted(self) -> Counter[str]:
        """Return the units at the server and in the spool, each report once."""
        waiting = Spool(self.folder / DATABASE, new_report_id).pending(2**40, 2**40)
        reports: dict[str, bytes] = {}
        for event in [*self.server.read_bytes().splitlines(), *(report.event for report in waiting)]:
            assert reports.setdefault(json.loads(event)["id"], event) == event, "a report changed after an attempt"
        units: Counter[str] = Counter()
        for event in reports.values():
            counts = json.loads(event)["data"]["counts"]
            assert len(counts) <= 64
            assert all(0 < count <= 1_000_000 for count in counts.values())
            units.update(counts)
        return units

    def record(self, core: Core, step: Step) -> None:
        self.ledger.begin(step.feature, step.number)
        core.recorder.record(f"f{step.feature}", step.number)
        self.ledger.done(step.feature, step.number)

    def record_past(self, core: Core, step: Step) -> None:
        self.ledger.begin(step.feature, 1)
        core.recorder.record(f"f{step.feature}", 1, at=datetime.fromtimestamp(START - 180 * step.number, UTC))
        self.ledger.done(step.feature, 1)

    def tick(self, core: Core, _: Step) -> None:
        core.tick()

    def collect(self, core: Core, step: Step) -> None:
        core.collect(all_slots=bool(step.number % 2))

    def advance(self, _: Core, step: Step) -> None:
        self.now += 60 * step.number

    def instances(self, core: Core, step: Step) -> None:
        core.recorder.set_instances(step.number)

    def send(self, core: Core, step: Step) -> None:
        """Deliver; the confirmation may not arrive."""
        assert core.folder is not None
        core.session = f"{core.session}+"
        batch = core.folder.spool.pending(step.number, 10_000, not_in_session=core.session)
        core.folder.spool.attempted(batch, core.session)
        with self.server.open("ab", buffering=0) as log:
            log.write(b"".join(report.event + b"\n" for report in batch))
        if step.feature:
            core.folder.spool.settle([report.report_id for report in batch])


def kill_at(line_number: int) -> None:
    left = [line_number]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and SDK not in frame.f_code.co_filename:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def run(world: World, life: Life, *, small_tallies: bool = True) -> bool:
    """Run a life in a process; tell whether it was killed."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if small_tallies:
                tally.TALLY_BYTES = TALLY_BYTES  # type: ignore[misc]
            world.live(life)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return killed


def assert_each_unit_once(world: World) -> None:
    """Let the next life take over what was left, and compare. What a kill interrupted was recorded or not."""
    assert not run(world, Life([], None))
    counted = world.counted()
    for number in world.ledger.features:
        done, begun = world.ledger.bounds(number)
        assert done <= counted[f"f{number}"] <= begun, f"f{number}"
    assert not list(world.folder.glob("*.tally"))


steps = st.one_of(
    st.builds(Step, st.just("record"), st.integers(1, 1_000_000), st.integers(0, 2)),
    st.builds(Step, st.just("record"), st.just(1), st.integers(0, 2)),
    st.builds(Step, st.just("record_past"), st.integers(1, 12), st.integers(0, 2)),
    st.builds(Step, st.sampled_from(["tick", "collect", "advance", "instances"]), st.integers(1, 4)),
    st.builds(Step, st.just("send"), st.integers(1, 8), st.integers(0, 1)),
)
lives = st.lists(st.builds(Life, st.lists(steps, max_size=12), st.none() | st.integers(1, 900)), min_size=1, max_size=4)


@settings(max_examples=60)
@given(lives)
def test_every_unit_is_exactly_once_at_the_server_or_in_the_spool(program: list[Life]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        killed = [run(world, life, small_tallies=False) for life in program]
        assert_each_unit_once(world)
        counted = world.counted()
        if not any(killed):
            assert all(counted[f"f{number}"] == world.ledger.bounds(number)[1] for number in world.ledger.features)


def whole_life(feature: int) -> list[Step]:
    """Everything that a life may hold, with tallies that are full, a spare one always at hand, and deliveries."""
    past = [Step("record_past", number, feature) for number in range(1, 7)]
    tick = Step("tick", 1)
    return [
        tick,
        Step("record", 3, feature),
        *past[:3],
        tick,
        *past[3:],
        tick,
        Step("collect", 1),
        Step("record", 2, feature),
        Step("send", 3, 1),
        Step("send", 5, 0),
        Step("instances", 2),
        Step("collect", 2),
        Step("record", 1, feature),
        Step("send", 100, 1),
        Step("record", 1, feature),
    ]


def test_a_life_that_is_killed_at_any_line_loses_and_doubles_nothing(tmp_path: Path) -> None:
    first = SystemRandom().randrange(1, STRIDE + 1)
    print(f"lines from {first} on, one in {STRIDE}")
    world = World(tmp_path, LINES_MAX)
    kills = 0
    for line in range(first, LINES_MAX, STRIDE):
        if not run(world, Life(whole_life(line), line)):
            break  # it ended before that line
        kills += 1
        if kills % CHECK_EVERY == 0:
            assert_each_unit_once(world)
    else:
        raise AssertionError("a life has more lines than that")
    assert_each_unit_once(world)
    assert kills > 30
