"""Putting rejects back on the real broker: each once, whatever is killed when."""

import asyncio
import random
import secrets

import pytest
from aiokafka import AIOKafkaProducer

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.replays import ReplayMark, replay_headers
from licmeter.schemas.topics import LICENSE_CATALOG, USAGE_EVENTS, USAGE_REJECTED, USAGE_REPLAYS
from licmeter.sinks.replay.errors import RejectsUnavailableError, SupersededError
from licmeter.sinks.replay.run import ReplayBounds, Replayed, Step
from tests.integration.kafka_fixture import require_topics
from tests.integration.rejects_stage import FENCE_S, RejectsStage, killed_at, start_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

TOPICS = [USAGE_EVENTS, USAGE_REJECTED, USAGE_REPLAYS, LICENSE_CATALOG]


@pytest.fixture
async def stage(kafka: EmbeddedKafka) -> RejectsStage:
    await require_topics(kafka, TOPICS, partitions=4)
    return RejectsStage(kafka.bootstrap_servers)


async def test_each_is_put_back_once_untouched_and_in_order(stage: RejectsStage) -> None:
    await stage.reject(range(230), repeats=2)  # a worker that was killed said all of it twice
    assert len(await stage.entries()) == 230
    done = await stage.replay()
    assert (len(done.places), done.recovered) == (230, 0)
    await stage.assert_each_once(230)
    assert (await stage.replay()).places == []
    await stage.assert_each_once(230)


async def test_a_limit_leaves_the_rest_open(stage: RejectsStage) -> None:
    await stage.reject(range(120))
    assert len((await stage.replay(limit=70)).places) == 70
    assert sum(entry.open for entry in await stage.entries()) == 50
    assert len((await stage.replay()).places) == 50
    await stage.assert_each_once(120)


STEPS = [
    (Step.BEGUN, 1, 0),
    ("handed", 2, 75),  # 50 are noted, 25 acknowledged; the other 25 may be there or not
    (Step.SENT, 1, 50),
    (Step.SENT, 3, 150),
    (Step.NOTED, 1, 50),
    (Step.NOTED, 5, 230),
]


@pytest.mark.parametrize(("step", "number", "sent"), STEPS, ids=[f"{step}-{number}" for step, number, _ in STEPS])
async def test_killed_at_any_step_the_next_run_goes_on(
    stage: RejectsStage, step: Step | str, number: int, sent: int
) -> None:
    await stage.reject(range(230))
    await asyncio.to_thread(killed_at, stage, step, number)
    there = len(await stage.events())
    assert sent <= there <= sent + 25
    # What was put back is known before anybody has noted it.
    assert sum(not entry.open for entry in await stage.entries()) == there
    done = await stage.replay()
    assert len(done.places) == 230 - there
    await stage.assert_each_once(230)


async def test_killed_again_in_the_middle_of_a_recovery(stage: RejectsStage) -> None:
    await stage.reject(range(230))
    await asyncio.to_thread(killed_at, stage, Step.SENT, 2)
    await asyncio.to_thread(killed_at, stage, Step.WAITING, 1, 60.0)  # there is no end of waiting
    await asyncio.to_thread(killed_at, stage, Step.RECOVERED, 1)
    await asyncio.to_thread(killed_at, stage, Step.SENT, 2)
    assert len(await stage.events()) == 200
    assert len((await stage.replay()).places) == 30
    await stage.assert_each_once(230)


async def test_killed_at_random_moments_again_and_again(stage: RejectsStage) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    await stage.reject(range(6_000))
    kills = 0
    for _ in range(6):
        before = len(await stage.events())
        if before == 6_000:
            break
        process = start_program(stage, "never", 0)
        for _ in range(2_000):
            if process.poll() is not None or len(await stage.events()) > before:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(moments.uniform(0, 0.1))
        process.kill()
        kills += process.wait() != 0
    print(f"{kills} kills, {len(await stage.events())} in the log")
    assert kills >= 3
    await stage.replay()
    await stage.assert_each_once(6_000)


async def test_a_newer_run_takes_over_from_one_that_still_runs(stage: RejectsStage) -> None:
    await stage.reject(range(300))
    newer: list[asyncio.Task[Replayed]] = []

    def on_step(step: Step) -> None:
        if step is Step.NOTED and not newer:
            newer.append(asyncio.create_task(stage.replay()))

    with pytest.raises(SupersededError, match="another replay began"):
        await stage.replay(on_step=on_step, bounds=ReplayBounds(chunk_records=1, fence_s=FENCE_S))
    await newer[0]
    await stage.assert_each_once(300)


async def test_headers_that_a_sender_forged_hide_nothing(stage: RejectsStage) -> None:
    await stage.reject(range(1))
    (entry,) = await stage.entries()
    forged = replay_headers(ReplayMark(entry.reject.place, secrets.token_hex(16)), [])
    async with AIOKafkaProducer(bootstrap_servers=stage.servers) as producer:
        await producer.send_and_wait(USAGE_EVENTS.name, b"{}", key=b"somebody", headers=forged)
    await asyncio.to_thread(killed_at, stage, Step.BEGUN, 1)  # so that the log is read
    (entry,) = await stage.entries()
    assert entry.open
    assert len((await stage.replay()).places) == 1


async def test_a_replay_that_is_rejected_again_points_back_and_is_open_alone(stage: RejectsStage) -> None:
    await stage.reject(range(1))
    await stage.replay()
    ((value, headers, mark, partition),) = await stage.events()
    (first,) = await stage.entries()
    assert first.replayed_as is not None
    # As the worker does it: the original's headers, which now are the replay's, before its own.
    await reject_again(stage, value, replay_headers(mark, headers), partition, first.replayed_as.offset)
    entries = {entry.reject.place: entry for entry in await stage.entries()}
    again = entries[first.replayed_as]
    assert (again.open, again.replay_of, again.reject.headers) == (True, first.reject.place, headers)
    assert [entry.open for entry in entries.values()].count(True) == 1
    assert len((await stage.replay()).places) == 1


async def reject_again(
    stage: RejectsStage, value: bytes, headers: list[tuple[str, bytes]], partition: int, offset: int
) -> None:
    origin = RejectOrigin(RejectReason.UNKNOWN_PROJECT, "again", USAGE_EVENTS.name, partition, offset, 1)
    async with AIOKafkaProducer(bootstrap_servers=stage.servers) as producer:
        await producer.send_and_wait(
            USAGE_REJECTED.name,
            value,
            key=stage.organization.encode(),
            partition=partition,
            headers=reject_headers(origin, headers),
        )


async def test_without_kafka_there_is_one_error() -> None:
    with pytest.raises(RejectsUnavailableError, match=r"127\.0\.0\.1:1 "):
        await RejectsStage("127.0.0.1:1").entries()
