"""A worker that lost its disk reads its state back from the changelogs, also when it is killed while it does."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

import pytest

from licmeter.runtime.stack import Stack
from licmeter.schemas.topics import USAGE_EVENTS
from tests.integration.books import assert_counters, read_topic, recount, stored
from tests.integration.stage import Stage, make_settings
from tests.support import fleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

EVENTS = 20_000
ORGANIZATIONS = 4
KILLS = 4


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path)) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


def test_what_was_counted_is_known_after_the_disk_is_lost(stage: Stage) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments, now = random.Random(seed), datetime.now(UTC)
    stage.send(fleet.catalogs(ORGANIZATIONS, now))
    events = list(fleet.events(EVENTS, ORGANIZATIONS, now, seed))
    stage.send(events)
    stage.until(lambda: stored(stage) >= EVENTS, f"{EVENTS} records in ClickHouse")
    stage.worker.stop()
    shutil.rmtree(stage.stack.settings.data_dir / "stream")
    for _ in range(KILLS):
        stage.worker.start()
        # Anywhere between the start of the process and the end of the recovery; what is read so far stays on disk.
        sleep(moments.uniform(0.5, 5.0))
        stage.worker.kill()
    # All of it once more, in another order, and something new: seats, slots and remembered reports must all be there.
    again = moments.sample(events, EVENTS)
    new = list(fleet.events(2_000, ORGANIZATIONS, now, seed, first=EVENTS))
    stage.send([*again, *new])
    stage.worker.start()
    total = EVENTS + len(again) + len(new)
    stage.until(lambda: stored(stage) >= total, f"{total} records in ClickHouse")
    books, _ = recount(asyncio.run(read_topic(stage, USAGE_EVENTS.name)))
    assert books.totals["duplicate"] > EVENTS * 3 / 4
    assert_counters(stage, books)
    assert "bulk_recovery_failed" not in stage.worker.log.read_text()
