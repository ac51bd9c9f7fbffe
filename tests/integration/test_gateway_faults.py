"""The gateway when something is wrong: it says so, loses nothing, and is there again."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from licmeter.runtime.children import Child, monotonic
from licmeter.runtime.http import answers
from licmeter.runtime.kafka.ports import free_port
from tests.integration.gateway_stage import GatewayStage, gateway_stage, slot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("faults")) as running:
        yield running


@contextmanager
def another(stage: GatewayStage, folder: Path, **settings: str) -> Iterator[tuple[Child, str]]:
    """A second gateway beside the first, with settings of its own."""
    port = free_port()
    environment = os.environ | {
        "LICMETER_KAFKA__BOOTSTRAP_SERVERS": stage.stack.settings.bootstrap_servers,
        "LICMETER_GATEWAY__PORT": str(port),
        **{f"LICMETER_GATEWAY__{name.upper()}": value for name, value in settings.items()},
    }
    child = Child(["gateway"], log=folder / "another.log", environment=environment, clock=monotonic)
    child.start()
    url = f"http://127.0.0.1:{port}"
    try:
        stage.until(lambda: answers(f"{url}/readyz"), "the other gateway is ready", seconds=60)
        yield child, url
    finally:
        child.stop()


def report(report_id: str, feature: str = "qr") -> dict[str, Any]:
    return {"report_id": report_id, "client_uuid": "f1", "slot": slot(), "counts": {feature: 1}}


def units(stage: GatewayStage, feature: str) -> int:
    where = f"feature = '{feature}' AND outcome != 'duplicate'"
    return int(stage.query(f"SELECT toInt64(sum(quantity)) FROM usage_attributed WHERE {where}")[0][0])


def test_kafka_stands_still_and_goes_on(stage: GatewayStage, tmp_path: Path) -> None:
    assert stage.stack.kafka is not None
    with another(stage, tmp_path, ack_timeout_s="1.5") as (_, url):
        headers = {"Authorization": f"Bearer {stage.keys['A']}"}

        def post(name: str) -> httpx.Response:
            return httpx.post(f"{url}/v1/events", json=report(name, "halt"), headers=headers, timeout=30)

        assert post("before").status_code == 202
        os.kill(stage.stack.kafka.pid, signal.SIGSTOP)
        try:
            answer = post("during")
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
            assert not answers(f"{url}/readyz")
            assert answers(f"{url}/healthz")
        finally:
            os.kill(stage.stack.kafka.pid, signal.SIGCONT)
        stage.until(lambda: post("during").status_code == 202, "it is taken", seconds=60)
        stage.until(lambda: answers(f"{url}/readyz"), "it is ready again", seconds=60)
    stage.until(lambda: units(stage, "halt") >= 2, "both are counted", seconds=60)
    assert units(stage, "halt") == 2


def test_no_worker_gives_no_leave_and_the_answer_comes_with_the_worker(stage: GatewayStage, tmp_path: Path) -> None:
    ask = {"client_uuid": "patient", "auth_id": "wait", "feature": "qr"}
    headers = {"Authorization": f"Bearer {stage.keys['A']}"}
    with another(stage, tmp_path, verdict_timeout_s="1") as (_, url):
        stage.worker.kill()
        answer = httpx.post(f"{url}/v1/authorizations", json=ask, headers=headers, timeout=30)
        assert answer.status_code == 503
        assert answer.json()["code"] == {"number": 100, "slug": "under_construction"}
        stage.worker.start()

        found: list[httpx.Response] = []

        def answered() -> bool:
            found.append(httpx.post(f"{url}/v1/authorizations", json=ask, headers=headers, timeout=30))
            return found[-1].status_code == 200

        stage.until(answered, "the answer", seconds=60)
        assert found[-1].json()["granted"]
    granted = "SELECT count() FROM authorizations WHERE client_uuid = 'patient' AND outcome = 'granted'"
    stage.until(lambda: stage.query(granted)[0][0] == 1, "one granted row", seconds=30)


def test_who_sends_too_much_waits(stage: GatewayStage, tmp_path: Path) -> None:
    with another(stage, tmp_path, rate_events_per_s="1", burst_events="3") as (_, url):
        keys = {name: {"Authorization": f"Bearer {stage.keys[name]}"} for name in "AB"}
        body = [report(f"rate-{number}") for number in range(5)]
        assert httpx.post(f"{url}/v1/events", json=body, headers=keys["A"]).status_code == 202
        answer = httpx.post(f"{url}/v1/events", json=body, headers=keys["A"])
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.headers["content-type"] == "application/problem+json"
        assert httpx.post(f"{url}/v1/events", json=body, headers=keys["B"]).status_code == 202


def test_too_much_on_its_way_is_refused_and_nothing_else(stage: GatewayStage, tmp_path: Path) -> None:
    assert stage.stack.kafka is not None
    with another(stage, tmp_path, in_flight_bytes_max=str(1024 * 1024), ack_timeout_s="20") as (_, url):
        headers = {"Authorization": f"Bearer {stage.keys['A']}"}
        big = [report(f"flight-{number}", "flight") | {"product": "x" * 1_000} for number in range(400)]

        def post(_: int) -> int:
            return httpx.post(f"{url}/v1/events", json=big, headers=headers, timeout=60).status_code

        os.kill(stage.stack.kafka.pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(8) as pool:
                sent = [pool.submit(post, number) for number in range(8)]
                stage.until(lambda: sum(each.done() for each in sent) >= 6, "most are refused", seconds=30)
                assert {each.result() for each in sent if each.done()} == {503}
                os.kill(stage.stack.kafka.pid, signal.SIGCONT)
                assert sorted({each.result() for each in sent}) == [202, 503]
        finally:
            os.kill(stage.stack.kafka.pid, signal.SIGCONT)
        assert post(0) == 202
    stage.until(lambda: units(stage, "flight") >= 400, "400 units", seconds=60)
    assert units(stage, "flight") == 400


def test_a_gateway_that_is_stopped_answers_what_it_has(stage: GatewayStage, tmp_path: Path) -> None:
    """Kafka stands still, so that all requests are on their way when the gateway is told to stop."""
    assert stage.stack.kafka is not None
    requests = 8
    with another(stage, tmp_path) as (child, url), ThreadPoolExecutor(requests) as pool:
        headers = {"Authorization": f"Bearer {stage.keys['A']}"}
        headers["Content-Type"] = "application/json"
        events = 50
        bodies = [
            json.dumps([report(f"drain-{number}-{event}", "drain") for event in range(events)]).encode()
            for number in range(requests)
        ]

        def post(body: bytes) -> int:
            return httpx.post(f"{url}/v1/events", content=body, headers=headers, timeout=60).status_code

        def on_their_way() -> float:
            lines = httpx.get(f"{url}/metrics").text.splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith("licmeter_gateway_in_flight_bytes"))

        os.kill(stage.stack.kafka.pid, signal.SIGSTOP)
        try:
            sent = [pool.submit(post, body) for body in bodies]
            all_of_them = 2 * sum(map(len, bodies))  # what came, and the events made of it
            stage.until(lambda: on_their_way() == all_of_them, "all requests are on their way", seconds=30)
            assert child._process is not None
            child._process.send_signal(signal.SIGTERM)
            stage.until(lambda: not answers(f"{url}/readyz"), "it takes no more", seconds=30)
            assert not any(each.done() for each in sent)
        finally:
            os.kill(stage.stack.kafka.pid, signal.SIGCONT)
        assert [each.result() for each in sent] == [202] * requests
        assert child._process.wait(30) == 0
    stage.until(lambda: units(stage, "drain") >= requests * events, "all of it is counted", seconds=60)
    assert units(stage, "drain") == requests * events


def test_a_gateway_without_kafka_says_so_and_ends(tmp_path: Path) -> None:
    environment = os.environ | {
        "LICMETER_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "LICMETER_GATEWAY__PORT": "0",
    }
    child = Child(["gateway"], log=tmp_path / "gateway.log", environment=environment, clock=monotonic)
    child.start()
    deadline = time.monotonic() + 60
    while child.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    assert child._process is not None
    assert child._process.returncode == 3
    assert "Kafka at" in child.last_words()
