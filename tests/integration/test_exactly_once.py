"""The promise on the real parts: processes are killed at random moments, and every number is exact."""

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

import pytest

from licmeter.runtime.children import Child, monotonic
from licmeter.runtime.stack import Stack
from tests.integration.stage import Stage, make_settings
from tests.support import load

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

REPORTS = 300_000
SLICES = 30
ORGANIZATIONS = 20
KILLS = 5


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path)) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


@pytest.fixture
def seed() -> int:
    value = random.SystemRandom().randrange(2**32)
    print(f"seed {value}")
    return value


class Feeding:
    """Sends a load from a thread, slice by slice, as fast as the broker takes it."""

    def __init__(self, stage: Stage, seed: int, pause_s: float) -> None:
        self._stage, self._seed, self._pause_s = stage, seed, pause_s
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        now, size = datetime.now(UTC), REPORTS // SLICES
        try:
            for number in range(SLICES):
                pairs = load.reports(size, ORGANIZATIONS, now, self._seed, first=number * size)
                self._stage.send(pairs)
                sleep(self._pause_s)  # spreads the load over the kills
        except BaseException as error:
            self._error = error

    def __enter__(self) -> "Feeding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()


def rows(stage: Stage) -> int:
    return stage.stored()


def test_worker_and_sink_are_killed_again_and_again(stage: Stage, seed: int) -> None:
    moments = random.Random(seed)
    stage.send(load.catalogs(ORGANIZATIONS, 2_000, datetime.now(UTC)))
    kills = {"stream": 0, "sink": 0}
    with Feeding(stage, seed, pause_s=1.0) as feeding:
        while feeding.running or min(kills.values()) < KILLS:
            victim: Child = moments.choice((stage.worker, stage.sink))
            before = rows(stage)
            # Both parts work again, then a random while longer: the kill falls anywhere in a batch.
            stage.until(lambda before=before: rows(stage) > before or not feeding.running, "progress")
            sleep(moments.uniform(0, 1.5))
            victim.kill()
            victim.start()
            kills[victim.name] += 1
    print(f"killed {kills}")
    assert min(kills.values()) >= KILLS
    expected = stage.assert_exact()
    assert sum(found["charged"] for found in expected.outcomes.values()) > REPORTS / 2


def test_one_of_two_workers_is_killed_and_comes_back(stage: Stage, seed: int) -> None:
    moments = random.Random(seed)
    settings = stage.stack.settings
    environment = stage.worker._environment | {"LICMETER_STREAM__INSTANCE_ID": "worker-2"}
    second = Child(["stream"], log=settings.data_dir / "logs/stream-2.log", environment=environment, clock=monotonic)
    second.start()
    try:
        stage.send(load.catalogs(ORGANIZATIONS, 2_000, datetime.now(UTC)))
        with Feeding(stage, seed, pause_s=1.0) as feeding:
            for _ in range(3):
                before = rows(stage)
                stage.until(lambda before=before: rows(stage) > before, "progress with both")
                sleep(moments.uniform(0, 1.5))
                second.kill()
                before = rows(stage)
                stage.until(lambda before=before: rows(stage) > before, "progress with one")
                second.start()
            assert feeding.running or moments
        stage.assert_exact()
    finally:
        second.stop()
