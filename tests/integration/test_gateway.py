"""The gateway on the real parts: what it answers, and that all of it is counted."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from backports.zstd import compress
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from licmeter.schemas.catalog import Organization
from tests.integration.gateway_stage import PASSWORD, GatewayStage, gateway_stage, new_key, slot

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def plain(report_id: str, **fields: Any) -> dict[str, Any]:
    return {"report_id": report_id, "client_uuid": "d1", "slot": slot(), "counts": {"qr": 1}} | fields


def units(stage: GatewayStage, name: str, feature: str) -> int:
    rows = stage.query(
        f"SELECT toInt64(sum(quantity)) FROM usage_attributed WHERE organization_id = '{name}' "
        f"AND feature = '{feature}' AND outcome != 'duplicate'"
    )
    return int(rows[0][0])


def test_a_client_that_nobody_here_wrote_is_counted_in_every_mode(stage: GatewayStage) -> None:
    def event(event_id: str) -> CloudEvent:
        attributes = {
            "specversion": "1.0",
            "type": "license.usage.report.v1",
            "id": event_id,
            "source": "cloud-client",
            "time": datetime.fromisoformat(slot()),
            "datacontenttype": "application/json",
        }
        return CloudEvent(attributes, {"counts": {"sdk": 1}})

    auth = {"Authorization": f"Bearer {stage.keys['A']}"}
    structured = [json.loads(to_structured_event(event(f"b{n}")).body) for n in range(50)]
    for message in (to_structured_event(event("s")), to_binary_event(event("t"))):
        answer = httpx.post(f"{stage.url}/v1/events", content=message.body, headers={**message.headers, **auth})
        assert (answer.status_code, answer.json()["results"][0]["outcome"]) == (202, "accepted")
    batch = {**auth, "Content-Type": "application/cloudevents-batch+json"}
    for coding, pack in (("gzip", gzip.compress), ("zstd", compress), ("identity", bytes)):
        body = pack(json.dumps(structured).encode())  # three times the same: counted once
        answer = httpx.post(f"{stage.url}/v1/events", content=body, headers={**batch, "Content-Encoding": coding})
        assert [result["outcome"] for result in answer.json()["results"]] == ["accepted"] * 50
    stage.until(lambda: units(stage, "a1", "sdk") >= 52, "52 units")
    assert units(stage, "a1", "sdk") == 52


def test_each_accepted_report_tells_how_its_items_stand(stage: GatewayStage) -> None:
    first = stage.post("/v1/events", plain("few-1", counts={"few": 20})).json()["results"][0]
    assert first["items"][0]["item_id"] == "few"

    def state() -> Any:
        return stage.post("/v1/events", plain("few-2", counts={"few": 1})).json()["results"][0]

    stage.until(lambda: state()["items"][0]["state"] == "blocked", "the item is blocked", seconds=20)
    assert state()["code"] == {"number": 120, "slug": "limit_exceeded"}
    nothing = stage.post("/v1/events", plain("none", counts={"nobody": 1})).json()["results"][0]
    assert (nothing["items"], nothing["code"]["number"]) == ([], 104)


@pytest.mark.parametrize(
    ("fields", "status", "reason", "code"),
    [
        ({"counts": {"qr": -1}}, 202, "negative_count", None),
        ({"counts": {"qr": 1_000_001}}, 202, "count_out_of_range", None),
        ({"slot": "2031-03-08T10:00:01Z"}, 202, "slot_misaligned", None),
        ({"slot": "2099-03-08T10:00:00Z"}, 202, "future_slot", 151),
        ({"slot": "2019-03-08T10:00:00Z"}, 202, "too_old", None),
        ({"sent_at": "2019-03-08T10:00:00Z"}, 202, "clock_skew", 151),
        ({"project_id": "a1-nowhere"}, 202, "unknown_project", 101),
        ({"project_id": "a1-gone"}, 202, "project_disabled", 104),
        ({"counts": {"qr": 1.5}}, 422, "invalid_schema", None),
        ({"unheard": 1}, 422, "invalid_schema", None),
        ({"client_uuid": ""}, 422, "invalid_schema", None),
        ({"project_id": "b1-main"}, 403, "key_mismatch", None),
    ],
)
def test_what_is_rejected_says_why_and_ends_with_its_reason_in_the_rejects(
    stage: GatewayStage, fields: dict[str, Any], status: int, reason: str, code: int | None
) -> None:
    where = f"SELECT count() FROM usage_rejected WHERE organization_id = 'a1' AND reason = '{reason}'"
    before = stage.query(where)[0][0]
    answer = stage.post("/v1/events", plain("bad", **fields))
    assert answer.status_code == status, answer.text
    (result,) = answer.json()["results"]
    assert (result["outcome"], result["reason"]) == ("rejected", reason)
    assert (result.get("code") or {}).get("number") == code
    stage.until(lambda: stage.query(where)[0][0] == before + 1, f"one more {reason}", seconds=20)


def test_one_bad_report_keeps_no_other_from_being_counted(stage: GatewayStage) -> None:
    batch = [plain("m1", counts={"mix": 1}), {"nonsense": True}, plain("m2", counts={"mix": 2})]
    answer = stage.post("/v1/events", batch)
    assert answer.status_code == 202
    assert [result["outcome"] for result in answer.json()["results"]] == ["accepted", "rejected", "accepted"]
    stage.until(lambda: units(stage, "a1", "mix") == 3, "3 units", seconds=20)


@pytest.mark.parametrize("kind", ["license.catalog.v1", "license.authorization.v1"])
def test_a_key_changes_no_catalog_and_records_no_answer(stage: GatewayStage, kind: str) -> None:
    events = {
        "license.catalog.v1": {"subject": "a1", "data": {"organization_id": "a1", "name": "taken over"}},
        "license.authorization.v1": {"subject": "a1-main", "data": {"result": "ok"}},
    }
    event = {"specversion": "1.0", "type": kind, "id": "x", "source": "d1", "time": slot()} | events[kind]
    headers = {"Content-Type": "application/cloudevents+json"}
    answer = stage.post("/v1/events", event, **headers)
    assert (answer.status_code, answer.json()["results"][0]["reason"]) == (422, "unknown_event_type")
    assert stage.known("A")


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (None, 401),
        ("lmk_", 401),
        ("lmk_0000000000000000_0000000000000000000000000000000000000000000", 401),
        ("A.rotated", 202),
        ("A.ended", 403),
        ("A.revoked", 403),
    ],
)
def test_a_key_opens_or_does_not(stage: GatewayStage, key: str | None, status: int) -> None:
    answer = stage.post("/v1/events", [], key)
    assert answer.status_code == status
    if status != 202:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["request-id"] == answer.json()["request_id"]
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_right_key_id_with_a_wrong_secret_is_no_key(stage: GatewayStage) -> None:
    key = stage.keys["A"]
    assert stage.post("/v1/events", [], key[:-1] + ("a" if key[-1] != "a" else "b")).status_code == 401


def test_a_beacon_has_its_key_in_the_query_and_no_other_request_has(stage: GatewayStage) -> None:
    body = json.dumps([plain("beacon", counts={"beacon": 1})])
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    answer = stage.http.post("/v1/events", params={"license_key": stage.keys["A"]}, content=body, headers=headers)
    assert answer.status_code == 202
    ask = {"client_uuid": "d1"}
    assert stage.http.post("/v1/authorizations", params={"license_key": stage.keys["A"]}, json=ask).status_code == 401
    assert stage.keys["A"] not in stage.gateway.log.read_text()


@pytest.mark.parametrize(("password", "status"), [(None, 403), ("wrong", 403), (PASSWORD, 202)])
def test_a_session_password_is_asked_for(stage: GatewayStage, password: str | None, status: int) -> None:
    headers = {} if password is None else {"Licmeter-Session-Password": password}
    answer = stage.post("/v1/events", [], "A.password", **headers)
    assert answer.status_code == status
    leave = stage.post("/v1/authorizations", {"client_uuid": "d1"}, "A.password", **headers).json()
    assert leave["granted"] is (status == 202)
    if status != 202:
        assert answer.json()["code"] == leave["code"] == {"number": 102, "slug": "bad_session_password"}


def test_leave_is_given_by_the_stream_and_says_until_when(stage: GatewayStage) -> None:
    def ask(client: str, **fields: Any) -> dict[str, Any]:
        answer = stage.post("/v1/authorizations", {"client_uuid": client, "feature": "seat", **fields})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    first, second, third = ask("s1"), ask("s2"), ask("s3")
    assert (first["granted"], second["granted"], third["granted"]) == (True, True, False)
    assert third["code"] == {"number": 120, "slug": "limit_exceeded"}
    assert ask("s1")["granted"]  # who has a seat keeps it
    ends = datetime.fromisoformat(first["local_expires_at"]) - datetime.fromisoformat(first["at"])
    assert (first["item_id"], ends) == ("seats", timedelta(days=30))
    once, again = ask("s9", auth_id="once", feature="qr"), ask("s9", auth_id="once", feature="qr")
    assert {**once, "request_id": ""} == {**again, "request_id": ""}
    other = stage.post("/v1/authorizations", {"client_uuid": "s9", "auth_id": "once", "feature": "few"})
    assert other.status_code == 409
    where = "SELECT count() FROM authorizations WHERE client_uuid = 's9' AND outcome = 'granted'"
    stage.until(lambda: stage.query(where)[0][0] == 1, "one granted row", seconds=20)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        ({}, 422),
        ({"client_uuid": ""}, 422),
        ({"client_uuid": "d", "unheard": 1}, 422),
        ({"client_uuid": "d", "requested_instances": 0}, 422),
        ({"client_uuid": "d", "at": "2019-01-01T00:00:00"}, 422),
    ],
)
def test_a_request_for_leave_that_is_none(stage: GatewayStage, body: Any, status: int) -> None:
    answer = stage.post("/v1/authorizations", body)
    assert answer.status_code == status, answer.text


def test_a_wrong_clock_gets_no_leave_and_is_said(stage: GatewayStage) -> None:
    answer = stage.post("/v1/authorizations", {"client_uuid": "late-clock", "at": "2019-01-01T00:00:00Z"}).json()
    assert (answer["granted"], answer["code"]) == (False, {"number": 151, "slug": "clone_detected"})
    said = "SELECT count() FROM breaches WHERE kind = 'clock_skew' AND client_uuid = 'late-clock'"
    stage.until(lambda: stage.query(said)[0][0] == 1, "the breach", seconds=20)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/events", {"Content-Type": "application/xml"}, b"<a/>", 415),
        ("/v1/events", {"Content-Encoding": "br"}, b"[]", 415),
        ("/v1/events", {"Content-Encoding": "gzip"}, b"[]", 400),
        ("/v1/events", {}, b"[1]", 400),
        ("/v1/events", {}, b" " * 9_000_000, 413),
        ("/v1/events", {"Content-Encoding": "gzip"}, gzip.compress(b" " * 100_000_000), 413),
        ("/v1/events", {}, b"[" + b"{}," * 1_000 + b"{}]", 413),
        ("/v1/authorizations", {}, b" " * 100_000, 413),
        ("/v1/authorizations", {"Content-Type": "text/plain"}, b"{}", 415),
        ("/v1/nowhere", {}, b"", 404),
    ],
)
def test_a_request_that_is_none_is_a_problem(
    stage: GatewayStage, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = stage.post(path, body, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["status"] == status


def test_any_page_may_call(stage: GatewayStage) -> None:
    asked = {
        "Origin": "https://shop.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,licmeter-session-password,content-encoding",
    }
    preflight = stage.http.options("/v1/events", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "*")
    answer = stage.post("/v1/events", [], Origin="https://shop.example.org")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "request-id" in answer.headers["access-control-expose-headers"]


def test_a_changed_catalog_is_known_at_once(stage: GatewayStage) -> None:
    key, kept = new_key()
    stage.keys["C"] = key
    projects = [{"project_id": "c1-main", "license_keys": [kept.model_dump()]}]
    stage.apply(_without_items("c1", projects))
    stage.until(lambda: stage.known("C"), "the new key opens", seconds=20)
    revoked = [{"project_id": "c1-main", "license_keys": [{**kept.model_dump(), "revoked_at": datetime.now(UTC)}]}]
    stage.apply(_without_items("c1", revoked))
    stage.until(lambda: stage.post("/v1/events", [], "C").status_code == 403, "the key is revoked", seconds=20)


def _without_items(name: str, projects: list[dict[str, Any]]) -> Organization:
    return Organization.model_validate({"organization_id": name, "projects": projects})
