"""Every bound of one answer and of all: hit, said, counted, and nothing is left hanging."""

import concurrent.futures
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import httpx
import pytest

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.rows import (
    DAY,
    KIOSK,
    attribution_blocks,
    counted,
    example_day,
    seat,
    seat_blocks,
    usage,
    write,
)
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

ORGANIZATION = "300417"
LARGE = "700001"
FEATURES = 12_000
SOON_S = 5.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """An engine of its own: it is stopped, and killed."""
    folder = Path(tmp_path_factory.mktemp("engine"))
    with EmbeddedClickHouse(ClickHouseSettings(port=0), folder) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def target(engine: EmbeddedClickHouse) -> ClickHouseTarget:
    """The example, and an organization with more features than an answer may have rows."""
    target = ClickHouseTarget(engine.url, database="bounds")
    migrate(target)
    write(target, example_day())
    rows = [usage(LARGE, f"{LARGE}-a", "1", "c", DAY, 1, feature=f"f{number}") for number in range(FEATURES)]
    seats = [
        seat(LARGE, f"item-{number}", "c", f"{LARGE}-a", DAY, DAY, DAY + timedelta(days=300)) for number in range(9)
    ]
    write(target, [*attribution_blocks(rows), *seat_blocks(seats), counted(LARGE, DAY)])
    return target


@contextmanager
def frozen(engine: EmbeddedClickHouse) -> Iterator[None]:
    """ClickHouse takes connections, and answers none."""
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(engine.pid, signal.SIGCONT)


def idle(stage: ApiStage) -> bool:
    return stage.metric("licmeter_api_running") == stage.metric("licmeter_api_waiting") == 0


def assert_refused(stage: ApiStage, answer: httpx.Response, bound: str, status: int = 503) -> None:
    assert answer.status_code == status, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert stage.metric("licmeter_api_bounds_hit_total", bound=bound) >= 1
    assert "bound_hit" in stage.log()


def test_more_rows_than_an_answer_may_have(target: ClickHouseTarget, tmp_path: Path) -> None:
    with api_stage(target, tmp_path, rows_max=10_001) as stage:
        assert_refused(stage, stage.get(LARGE, "shares"), "rows")
        page = stage.get(LARGE, "series?split=feature&limit=10000")
        assert (len(page.json()["data"]), page.status_code) == (10_000, 200)
        assert sum(len(each["data"]) for each in stage.walk(LARGE, "series?split=feature", 5_000)) == FEATURES


def test_more_memory_than_a_question_may_take(target: ClickHouseTarget, tmp_path: Path) -> None:
    with api_stage(target, tmp_path, query_memory_mb=16) as stage:
        path = "series?measure=active_devices&bucket=slot&from=2031-01-01&to=2031-12-31&split=item"
        assert_refused(stage, stage.get(LARGE, path), "memory")
        assert stage.get(ORGANIZATION, path).status_code == 200


def test_more_time_than_an_answer_may_take(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with api_stage(target, tmp_path, answer_timeout_s=1.0) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == 200
        with frozen(engine):
            began = monotonic()
            answer = stage.get(ORGANIZATION, "shares")
            assert monotonic() - began < SOON_S
            assert_refused(stage, answer, "time")
            assert idle(stage)
            assert stage.http.get("/readyz").status_code == 503
            assert stage.http.get("/livez").status_code == 200
        stage.until(lambda: stage.get(ORGANIZATION, "shares").status_code == 200, "it answers again")


def test_clients_that_go_leave_nothing_behind(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    """Those whose question runs, and those that wait: all places are free at once, while ClickHouse still hangs."""
    with api_stage(target, tmp_path, answer_timeout_s=60, wait_timeout_s=60, organization_queries_max=2) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == 200
        with frozen(engine):
            clients = [socket.create_connection(("127.0.0.1", stage.port), timeout=10) for _ in range(5)]
            for client in clients:
                client.sendall(
                    f"GET /v1/organizations/{ORGANIZATION}/statistics/shares HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Bearer {stage.tokens['all']}\r\n\r\n".encode()
                )
            stage.until(lambda: stage.metric("licmeter_api_running") == 2, "two run", 10)
            stage.until(lambda: stage.metric("licmeter_api_waiting") == 3, "three wait", 10)
            for client in clients:
                client.close()
            stage.until(lambda: idle(stage), "nothing runs and nothing waits", SOON_S)
            assert stage.metric("licmeter_api_disconnected_total") == 5
        stage.until(lambda: stage.get(ORGANIZATION, "shares").status_code == 200, "it answers again")
        assert "request_failed" not in stage.log()


def test_more_questions_than_may_run_and_wait(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    bounds = {"queries_max": 3, "organization_queries_max": 2, "organization_waiting_max": 1, "waiting_max": 1}
    with api_stage(target, tmp_path, answer_timeout_s=8, wait_timeout_s=8, **bounds) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == stage.get(LARGE, "denials").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(4) as pool, frozen(engine):
            hanging = [pool.submit(stage.get, ORGANIZATION, "shares") for _ in range(3)]
            stage.until(lambda: stage.metric("licmeter_api_waiting") == 1, "one of three waits", 5)
            assert_refused(stage, stage.get(ORGANIZATION, "trend"), "organization", 429)
            hanging.append(pool.submit(stage.get, LARGE, "denials"))
            stage.until(lambda: stage.metric("licmeter_api_running") == 3, "the other organization has its place", 5)
            assert_refused(stage, stage.get(LARGE, "series"), "queries")
        assert {answer.result().status_code for answer in hanging} <= {200, 503}
        assert idle(stage)


def test_who_waits_for_too_long_comes_back(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with api_stage(target, tmp_path, queries_max=1, wait_timeout_s=0.5, answer_timeout_s=10) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(1) as pool, frozen(engine):
            hanging = pool.submit(stage.get, ORGANIZATION, "shares")
            stage.until(lambda: stage.metric("licmeter_api_running") == 1, "one runs", 5)
            assert_refused(stage, stage.get(LARGE, "denials"), "wait")
        assert hanging.result().status_code == 200


def test_many_at_once_are_all_answered(target: ClickHouseTarget, tmp_path: Path) -> None:
    with api_stage(target, tmp_path, wait_timeout_s=60) as stage:
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: stage.get(ORGANIZATION, "shares"), range(72)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.headers["etag"] for answer in answers}) == 1


def test_open_requests_end_when_the_process_is_asked_to_stop(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with api_stage(target, tmp_path, answer_timeout_s=30) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with frozen(engine):
                open_one = pool.submit(stage.get, ORGANIZATION, f"series?project={KIOSK}")
                stage.until(lambda: stage.metric("licmeter_api_running") == 1, "one runs", 5)
                os.kill(stage.process.pid, signal.SIGTERM)
            assert open_one.result().status_code == 200
        stage.until(lambda: not stage.process.alive, "the process ends", 10)


def test_what_hangs_does_not_keep_the_process_from_stopping(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with api_stage(target, tmp_path, answer_timeout_s=60, drain_timeout_s=1) as stage:
        assert stage.get(ORGANIZATION, "shares").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(1) as pool, frozen(engine):
            hanging = pool.submit(stage.get, ORGANIZATION, "shares")
            stage.until(lambda: stage.metric("licmeter_api_running") == 1, "one runs", 5)
            os.kill(stage.process.pid, signal.SIGTERM)
            stage.until(lambda: not stage.process.alive, "the process ends", 10)
            assert hanging.exception() is not None or hanging.result().status_code >= 500


def test_clickhouse_that_is_away_is_said_and_comes_back(
    target: ClickHouseTarget, engine: EmbeddedClickHouse, tmp_path: Path
) -> None:
    with api_stage(target, tmp_path) as stage:
        engine.kill()
        try:
            answer = stage.get(ORGANIZATION, "shares")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:licmeter:problem:unavailable")
            assert "127.0.0.1" not in answer.text
            stage.until(lambda: stage.http.get("/readyz").status_code == 503, "it is not ready", 5)
            assert stage.metric("licmeter_api_database_failures_total") >= 1
        finally:
            engine.start()
        stage.until(stage.ready, "it is ready again")
        assert stage.get(ORGANIZATION, "shares").status_code == 200


def test_a_database_without_tables_is_not_ready(engine: EmbeddedClickHouse, tmp_path: Path) -> None:
    stage = ApiStage(
        ClickHouseTarget(engine.url, database="nothing"), tmp_path, [{"label": "all", "organization": "*"}]
    )
    stage.process.start()
    try:
        stage.until(lambda: "api_listens" in stage.log(), "it listens")
        assert stage.http.get("/readyz").status_code == 503
        assert stage.get(ORGANIZATION, "shares").status_code == 503
    finally:
        stage.stop()
