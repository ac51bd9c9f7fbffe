"""A key of A, bodies that name B: every address refuses, logs it, and says the same whether B exists or not."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from aiokafka import ConsumerRecord
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from licmeter.schemas.topics import USAGE_EVENTS
from tests.integration.books import read_topic
from tests.integration.gateway_stage import GatewayStage, gateway_stage, slot

pytestmark = pytest.mark.integration

#: `b1` exists; the other one does not, and must look the same.
OTHERS = {"exists": "b1", "does not exist": "z9"}
NAMED = {
    "project": lambda name: {"project_id": f"{name}-main"},
    "organization": lambda name: {"organization_id": name},
    "project of B, organization of A": lambda name: {"project_id": f"{name}-main", "organization_id": "a1"},
    "project of A, organization of B": lambda name: {"project_id": "a1-main", "organization_id": name},
}
ENVELOPE = {"report_id": "id", "client_uuid": "source", "slot": "time", "project_id": "subject"}
ENVELOPE |= {"organization_id": "organizationid"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("isolation")) as running:
        yield running


def event(plain: dict[str, Any]) -> dict[str, Any]:
    attributes = {ENVELOPE[name]: value for name, value in plain.items() if name in ENVELOPE}
    return {
        "specversion": "1.0",
        "type": "license.usage.report.v1",
        **attributes,
        "data": {"counts": plain["counts"]},
    }


def ways(plain: dict[str, Any]) -> dict[str, tuple[str, dict[str, str], Any]]:
    """All ways in which a body may name somebody."""
    cloud = event(plain)
    binary = {f"ce-{name}": str(value) for name, value in cloud.items() if name != "data"}
    ask = {name: value for name, value in plain.items() if name in ("client_uuid", "project_id", "organization_id")}
    return {
        "plain": ("/v1/events", {}, plain),
        "plain batch": ("/v1/events", {}, [plain, plain]),
        "structured": ("/v1/events", {"Content-Type": "application/cloudevents+json"}, cloud),
        "batch": ("/v1/events", {"Content-Type": "application/cloudevents-batch+json"}, [cloud]),
        "binary": ("/v1/events", binary, cloud["data"]),
        "beacon": ("/v1/events?beacon", {"Content-Type": "text/plain"}, [plain]),
        "leave": ("/v1/authorizations", {}, ask),
    }


WAYS = list(ways({"report_id": "", "client_uuid": "", "slot": "", "counts": {}}))


def ask(stage: GatewayStage, way: str, named: str, other: str) -> httpx.Response:
    plain = {"report_id": "foreign", "client_uuid": "spy", "slot": slot(), "counts": {"qr": 7}} | NAMED[named](other)
    path, headers, body = ways(plain)[way]
    if path.endswith("?beacon"):
        return stage.http.post(
            "/v1/events", params={"license_key": stage.keys["A"]}, content=json.dumps(body), headers=headers
        )
    return stage.post(path, body, **headers)


def forgetful(answer: httpx.Response, other: str) -> str:
    """The answer without what differs by itself."""
    document = answer.json()
    for name in ("request_id", "received_at", "at", "auth_id"):
        document.pop(name, None)
    return json.dumps(document, sort_keys=True).replace(other, "OTHER")


@pytest.mark.parametrize(("way", "named"), [*itertools.product(WAYS, NAMED)])
def test_a_key_of_a_reaches_nothing_of_b(stage: GatewayStage, way: str, named: str) -> None:
    answers = {}
    for existence, other in OTHERS.items():
        answer = ask(stage, way, named, other)
        assert answer.status_code == 403, answer.text
        answers[existence] = forgetful(answer, other)
        request_id = answer.json()["request_id"]
        stage.until(lambda request_id=request_id: request_id in stage.gateway.log.read_text(), "it is logged", 5)
        if "results" in answer.json():
            assert {result["reason"] for result in answer.json()["results"]} == {"key_mismatch"}
    assert answers["exists"] == answers["does not exist"]


def test_nothing_of_all_that_reached_b(stage: GatewayStage) -> None:
    for way, named in itertools.product(WAYS, NAMED):
        ask(stage, way, named, "b1")
    marker = {"report_id": "last", "client_uuid": "own", "slot": slot(), "counts": {"qr": 1}}
    assert stage.post("/v1/events", marker, "B").status_code == 202
    counted = "SELECT count() FROM usage_attributed WHERE organization_id = 'b1' AND client_uuid = 'own'"
    stage.until(lambda: stage.query(counted)[0][0] == 1, "what came last is counted")
    for table in ("usage_attributed", "authorizations", "breaches", "usage_rejected"):
        where = "organization_id = 'b1'" + (" AND client_uuid != 'own'" if table == "usage_attributed" else "")
        assert stage.query(f"SELECT count() FROM {table} WHERE {where}")[0][0] == 0, table
    for record in asyncio.run(read_topic(stage, USAGE_EVENTS.name)):
        assert record.key == b"a1" or b"spy" not in record.value


def test_who_may_send_for_all_projects_of_an_organization_still_sends_for_its_own(stage: GatewayStage) -> None:
    other_project = {"report_id": "o", "client_uuid": "c", "slot": slot(), "counts": {"qr": 1}}
    answer = stage.post("/v1/events", other_project | {"project_id": "a1-secret"})
    assert answer.json()["results"][0]["outcome"] == "accepted"


def test_what_is_in_kafka_is_read_by_the_cloudevents_binding(stage: GatewayStage) -> None:
    sent = {"report_id": "bound", "client_uuid": "kafka-client", "slot": slot(), "counts": {"qr": 2}}
    for body, headers in ((sent, {}), (event(sent), {"Content-Type": "application/cloudevents+json"})):
        assert stage.post("/v1/events", body, **headers).status_code == 202

    def read(record: ConsumerRecord) -> Any:
        return from_kafka_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value))

    found = [r for r in asyncio.run(read_topic(stage, USAGE_EVENTS.name)) if b'"kafka-client"' in r.value]
    assert len(found) == 2
    for record in found:
        cloud = read(record)
        assert (cloud.get_id(), cloud.get_source(), cloud.get_type()) == (
            "bound",
            "kafka-client",
            "license.usage.report.v1",
        )
        assert (cloud.get_subject(), cloud.get_time()) == ("a1-main", datetime.fromisoformat(slot()))
        assert cloud.get_data() == {"counts": {"qr": 2}}
