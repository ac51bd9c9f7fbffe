"""Mutation testing of the pure core: changes one thing in it at a time, and sees whether some test fails.

    python scripts/mutation.py [--sample 400] [--seed 1] [--only seats.py] [--histories 60]

Works on a copy of the tree in a temporary directory. The tests are collected once; each mutant then lives in a forked
child, in which the code of one function is replaced, and which runs the tests that reach the changed line, fastest
first, up to the first failure. What is not in a function (constants, defaults) needs a child
that imports all anew.
Last comes the model: the core over generated histories of all charge ways, next to `tests/support/reference`.

Survivors that cannot be told from the original are listed in docs/mutation.md, by their keys, and left out of the
score. mutmut and cosmic-ray run pytest anew for each mutant, and do not know namespace packages with several roots.
"""

import argparse
import importlib
import inspect
import json
import os
import pickle
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from mutants import Mutant, mutants_of, sample

ROOT: Final = Path(os.environ.get("MUTATION_TREE") or Path(__file__).resolve().parent.parent)
CORE: Final = ROOT / "metering" / "licmeter" / "metering"
PAGE: Final = ROOT / "docs" / "mutation.md"
SOURCE_ROOTS: Final = ("schemas", "metering", "producers", "stream", "sinks", "analytics", "runtime")
COPIED: Final = (*SOURCE_ROOTS, "tests", "scripts", "docs", "pyproject.toml")
TESTS: Final = ("tests/unit/metering", "tests/unit/runtime/offline")
#: The first starts a process of its own, which would not see a mutant; the others take seconds, to kill what others do.
LEFT_OUT: Final = ("test_the_real_process", "_a_month_of_", "test_example_6_3_", "test_example_6_4_")
#: Below this share of killed mutants the run fails.
WANTED_PERCENT: Final = 85
MEMORY_MAX: Final = 4 * 1024**3

# What kills.


@dataclass(slots=True)
class Model:
    """Histories, and what the reference says of them; made once."""

    cases: list[tuple[dict[str, Any], list[dict[str, Any]], Any]] = field(default_factory=list)

    def prepare(self, number: int) -> None:
        """Draw the same histories each time, and ask the reference, which shares no code with the core."""
        from datetime import datetime, timedelta

        from hypothesis import HealthCheck, Phase, given, seed, settings

        from tests.support import reference
        from tests.support.histories import histories

        def note(history: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
            document, events = json.loads(json.dumps(history))
            until = datetime.fromisoformat(events[-1]["receivedat"]) + timedelta(hours=2)
            self.cases.append((document, events, (until, reference.meter([document], events, until))))

        checks = list(HealthCheck)
        drawn = settings(
            max_examples=number, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=checks
        )(given(histories())(note))
        seed(1)(drawn)()

    def check(self) -> None:
        """Fail where the core does not agree."""
        from tests.property.test_reference import comparable, count

        for document, events, (until, expected) in self.cases:
            ours = comparable(count(document, events, until))
            theirs = comparable(json.loads(json.dumps(expected)))
            for part in ("outcomes", "items", "projects", "breaches", "alerts", "totals"):
                if ours[part] != theirs[part]:
                    raise AssertionError(part)


class Reach:
    """Which lines of the core run, by `sys.settrace`."""

    def __init__(self) -> None:
        self.unseen: dict[CodeType, set[int]] = {}
        self.by_id: dict[int, set[int]] = {}
        self._prefix = str(CORE)

    def lines(self) -> set[tuple[str, int]]:
        """Return what was reached since the last call."""
        reached = set()
        for code, left in self.unseen.items():
            every = {line for *_, line in code.co_lines() if line}
            reached |= {(Path(code.co_filename).name, line) for line in every - left}
        self.unseen.clear()
        self.by_id.clear()
        return reached

    def call(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Trace a call."""
        code = frame.f_code
        left = self.by_id.get(id(code))
        if left is None:
            if not code.co_filename.startswith(self._prefix):
                return None
            left = {line for *_, line in code.co_lines() if line}
            self.unseen[code] = self.by_id[id(code)] = left
        left.discard(frame.f_lineno)
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        left = self.by_id.get(id(frame.f_code))
        if left is not None and event == "line":
            left.discard(frame.f_lineno)
        return self._line


@dataclass(slots=True)
class Fate:
    """What became of a mutant: killed by a test, by the clock, or not at all (`killer` "")."""

    mutant: Mutant
    killer: str
    seconds: float


def in_child(work: Callable[[], str], seconds: float) -> str:
    """Run something in a forked child; return its answer, or "timeout", or "crash"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "crash"
        with suppress(BaseException):
            os.close(reading)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
            answer = work()
        os.write(writing, answer.encode()[:4096])
        os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], seconds)
        return (os.read(reading, 4096).decode() or "crash") if ready else "timeout"
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def exchange(mutant: Mutant) -> None:
    """Give a function the code of the mutant."""
    found: Any = importlib.import_module(f"licmeter.metering.{mutant.module.removesuffix('.py')}")
    code = mutant.code
    for name in mutant.function.split("."):
        found = inspect.getattr_static(found, name)
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
    if isinstance(found, property):
        found = found.fget
    found = inspect.unwrap(getattr(found, "__func__", found))
    found.__code__ = code


def import_mutated(mutant: Mutant) -> None:
    """Make the coming import of the module give the mutant."""
    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        return mutant.code if loader.path == str(CORE / mutant.module) else read(loader, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


class Run:
    """A pytest plugin that runs mutants in place of the test loop."""

    def __init__(self, mutants: list[Mutant], model: Model, seconds: float) -> None:
        self.mutants, self.model, self.seconds = mutants, model, seconds
        self.fates: list[Fate] = []
        self.tests_s: dict[str, float] = {}
        self.reached: dict[tuple[str, int], list[str]] = defaultdict(list)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the mutants."""
        items = {item.nodeid: item for item in session.items if not is_left_out(item)}
        self._baseline(items)
        for mutant in self.mutants:
            lines = range(mutant.line, mutant.end_line + 1)
            names = {name for line in lines for name in self.reached[mutant.module, line]}
            ordered = [items[name] for name in sorted(names, key=self.tests_s.__getitem__)]

            def work(mutant: Mutant = mutant, ordered: list[Any] = ordered) -> str:
                exchange(mutant)
                return first_failure(ordered, self.model)

            note_fate(self.fates, mutant, work, self.seconds)
        return True

    def _baseline(self, items: dict[str, Any]) -> None:
        """All tests must pass; note how long each takes, and what it reaches."""
        with tempfile.NamedTemporaryFile() as file:

            def work() -> str:
                reach, notes = Reach(), []
                for item in items.values():
                    begun = time.monotonic()
                    sys.settrace(reach.call)
                    failed = fails(item)
                    sys.settrace(None)
                    if failed:
                        return f"fails without a mutant: {item.nodeid}"
                    notes.append((item.nodeid, time.monotonic() - begun, reach.lines()))
                Path(file.name).write_bytes(pickle.dumps(notes))
                begun = time.monotonic()
                self.model.check()
                return f"ok, {len(notes)} tests, model {time.monotonic() - begun:.1f} s"

            said = in_child(work, 600)
            say(f"unchanged: {said}")
            if not said.startswith("ok"):
                raise SystemExit(said)
            for name, seconds, lines in pickle.loads(Path(file.name).read_bytes()):  # noqa: S301
                self.tests_s[name] = seconds
                for place in lines:
                    self.reached[place].append(name)


class Anew:
    """A pytest plugin for a child that imported a mutant: all tests, the slow files last, then the model."""

    def __init__(self, model: Model) -> None:
        self.model, self.killer = model, "import"

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests on the only mutant."""
        items = [item for item in session.items if not is_left_out(item)]
        self.killer = first_failure(sorted(items, key=lambda item: "runtime/offline" in item.nodeid), self.model)
        return True


def is_left_out(item: Any) -> bool:
    """Tell whether a test is none for mutants."""
    return any(name in item.nodeid for name in LEFT_OUT)


def fails(item: Any) -> bool:
    """Run one test."""
    from _pytest.runner import runtestprotocol

    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def first_failure(items: list[Any], model: Model) -> str:
    """Return the name of the first test that fails; "survived" if none does."""
    for item in items:
        if fails(item):
            return str(item.nodeid)
    try:
        model.check()
    except Exception:
        return "model"
    return "survived"


def note_fate(fates: list[Fate], mutant: Mutant, work: Callable[[], str], seconds: float) -> None:
    """Run one mutant."""
    begun = time.monotonic()
    killer = in_child(work, seconds)
    fates.append(Fate(mutant, "" if killer == "survived" else killer, time.monotonic() - begun))
    if killer == "survived":
        say(f"survived: {mutant.module}:{mutant.line} {mutant.key}")


# The run.


def run(options: argparse.Namespace) -> int:
    """Run all mutants, in the copy."""
    every = [mutant for path in sorted(CORE.glob("*.py")) for mutant in mutants_of(path)]
    chosen = [each for each in sample(every, options.sample, options.seed) if options.only in each.key]
    if options.keys:
        wanted = set(Path(options.keys).read_text("utf-8").splitlines())
        chosen = [each for each in every if each.key in wanted]
    say(f"{len(every)} mutants, {len(chosen)} of them tried")
    import pytest
    from hypothesis import Phase, settings

    # What no mutant touches need not be imported by each.
    for name in ["idna", "msgspec", "numpy", "publicsuffixlist", *_schemas()]:
        importlib.import_module(name)
    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
    model = Model()
    model.prepare(options.histories)
    flags = ["-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-o", "addopts=--import-mode=importlib"]
    # Hypothesis is in use already, for the model.
    flags += ["-p", "no:hypothesispytest", "-W", "ignore::pytest.PytestAssertRewriteWarning"]

    def anew() -> str:
        plugin = Anew(model)
        pytest.main([*flags, *TESTS], plugins=[plugin])
        return plugin.killer

    if (said := in_child(anew, 600)) != "survived":
        raise SystemExit(f"fails without a mutant: {said}")
    runs = Run([mutant for mutant in chosen if mutant.function], model, options.timeout)
    for mutant in chosen:
        if mutant.function:
            continue

        def work(mutant: Mutant = mutant) -> str:
            import_mutated(mutant)
            return anew()

        note_fate(runs.fates, mutant, work, 3 * options.timeout)
    pytest.main([*flags, *TESTS], plugins=[runs])
    if len(runs.fates) != len(chosen):
        raise SystemExit("the run broke off")
    return summarize(runs.fates, options)


def _schemas() -> list[str]:
    return [f"licmeter.schemas.{path.stem}" for path in sorted((ROOT / "schemas/licmeter/schemas").glob("[a-z]*.py"))]


def equivalents() -> set[str]:
    """Return the keys that docs/mutation.md explains."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    return set(re.findall(r"^- `(.+?)`:\s", text, flags=re.MULTILINE))


def summarize(fates: list[Fate], options: argparse.Namespace) -> int:
    """Say the score; return 1 if it is too low."""
    explained, table = equivalents(), defaultdict[str, Counter[str]](Counter)
    for fate in fates:
        if fate.killer:
            kind = fate.killer if fate.killer in ("model", "timeout") else "tests"
        else:
            kind = "equivalent" if fate.mutant.key in explained else "survived"
        table[fate.mutant.module][kind] += 1
    total = sum(table.values(), Counter())
    kinds = ("tests", "model", "timeout", "survived", "equivalent")
    say("\n| module | killed by tests | by the model | by the clock | survived | equivalent |")
    say("|---|---|---|---|---|---|")
    for name, counts in [*sorted(table.items()), ("all", total)]:
        say(f"| {name} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    killed = total["tests"] + total["model"] + total["timeout"]
    alive = total["survived"]
    raw = 100 * killed / max(1, len(fates))
    score = 100 * killed / max(1, killed + alive)
    say(f"\nscore {score:.1f} % of those that differ; {raw:.1f} % with the equivalent ones")
    for fate in fates:
        if not fate.killer and fate.mutant.key not in explained:
            say(f"- {fate.mutant.key}  ({fate.mutant.module}:{fate.mutant.line})")
    if options.out:
        lines = [{"key": f.mutant.key, "line": f.mutant.line, "killer": f.killer, "seconds": f.seconds} for f in fates]
        Path(options.out).write_text(json.dumps(lines, indent=1, ensure_ascii=False), "utf-8")
    return 0 if score >= WANTED_PERCENT else 1


def say(text: str) -> None:
    """Tell the user."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Copy the tree, and run there."""
    parser = argparse.ArgumentParser(description="Mutation testing of the core.")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants to try; 0 = all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--histories", type=int, default=300, help="histories that the model looks at")
    parser.add_argument("--timeout", type=float, default=40, help="seconds a mutant may live")
    parser.add_argument("--only", default="", help="only mutants with this in their key")
    parser.add_argument("--keys", default="", help="a file with the keys of the mutants to try")
    parser.add_argument("--out", default="", help="where to write what became of each, as JSON")
    options = parser.parse_args()
    if "MUTATION_TREE" in os.environ:
        os.chdir(ROOT)
        return run(options)
    with tempfile.TemporaryDirectory(prefix="licmeter-mutation-") as directory:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(directory) / name)
        roots = [str(Path(directory) / name) for name in SOURCE_ROOTS]
        path = os.pathsep.join([directory, *roots])
        child = os.fork()
        if child == 0:
            environment = os.environ | {"MUTATION_TREE": directory, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
            os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
