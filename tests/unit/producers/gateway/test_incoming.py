import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.conversion import to_binary, to_json, to_structured
from cloudevents.v1.http import CloudEvent as OldCloudEvent

from licmeter.producers.gateway.incoming import read_request
from licmeter.producers.gateway.problems import BadRequest, Problem, TooLarge, UnsupportedMedia

PLAIN: dict[str, Any] = {
    "report_id": "r-1",
    "slot": "2031-03-08T10:00:00Z",
    "client_uuid": "device-1",
    "counts": {"qr": 3},
    "product": "reader",
}
ATTRIBUTES = {
    "type": "license.usage.report.v1",
    "id": "r-1",
    "source": "device-1",
    "time": "2031-03-08T10:00:00Z",
    "datacontenttype": "application/json",
}
DATA = {"counts": {"qr": 3}, "product": "reader"}
EVENT = {"specversion": "1.0", **ATTRIBUTES, "data": DATA}
MAX = 3


def read(content_type: str, body: Any, **headers: str) -> list[Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = read_request(content_type, {"content-type": content_type, **headers}, raw, MAX)
    assert [event.mistake for event in request.events] == [""] * len(request.events)
    return [json.loads(event.value) for event in request.events]


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_all_ways_say_the_same() -> None:
    event = CloudEvent({**ATTRIBUTES, "specversion": "1.0", "time": datetime(2031, 3, 8, 10, tzinfo=UTC)}, DATA)
    old = OldCloudEvent(ATTRIBUTES, DATA)
    messages = [(m.headers, m.body) for m in (to_structured_event(event), to_binary_event(event))]
    messages += [to_structured(old), to_binary(old)]
    found = []
    for given, body in messages:
        headers = lower(given)
        found.append(read(headers.pop("content-type"), body, **headers))
    found += [
        read("application/cloudevents-batch+json; charset=utf-8", b"[" + to_json(old) + b"]"),
        read("application/json", PLAIN),
        read("APPLICATION/JSON;charset=utf-8", [PLAIN]),
        read("text/plain;charset=UTF-8", [EVENT]),
    ]
    assert found == [[EVENT]] * len(found)


def test_what_is_complete_goes_on_byte_for_byte() -> None:
    odd = b'{ "data" : {"counts":{"qr":3}},"specversion":"1.0",\n"unknown":[1.50, 1e5] , "id":"\\u0041"}'
    for content_type, body in (
        ("application/cloudevents+json", b"  " + odd + b"\n"),
        ("application/cloudevents-batch+json", b"[ " + odd + b" ]"),
        ("application/json", b" [" + odd + b"]"),
    ):
        assert [event.value for event in read_request(content_type, {}, body, MAX).events] == [odd]


def test_a_batch_is_told_from_a_single_event() -> None:
    assert read_request("application/json", {}, b"[]", MAX).batch
    assert not read_request("application/json", {}, json.dumps(PLAIN).encode(), MAX).batch


def test_binary_attributes_are_percent_decoded() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "a%20b%E2%82%AC", "ce-source": "d", "ce-type": "t", "ce-other": "x"}
    (event,) = read("application/json", {"counts": {}}, **headers)
    assert event == {
        "specversion": "1.0",
        "id": "a b€",
        "source": "d",
        "type": "t",
        "datacontenttype": "application/json",
        "data": {"counts": {}},
    }


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"report_id": None}, "report_id: is missing"),
        ({"colour": "red"}, "colour: is no field of a report"),
        ({"counts": {"qr": 1.5}}, "counts.qr: "),
        ({"total": 4}, "total: is not the sum of counts"),
        ({"slot": "2031-03-08T10:00:00"}, "slot: "),
    ],
)
def test_a_wrong_plain_report_has_its_mistakes_named_and_goes_on_as_it_came(plain: dict[str, Any], words: str) -> None:
    body = json.dumps(PLAIN | plain).encode()
    (event,) = read_request("application/json", {}, body, MAX).events
    assert words in event.mistake
    assert event.value == body


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("application/cloudevents-batch+json", b"{}", BadRequest),
        ("application/cloudevents-batch+json", b"[1]", BadRequest),
        ("application/cloudevents-batch+json", b"[{}", BadRequest),
        ("application/cloudevents-batch+json", b"[{},{},{},{}]", TooLarge),
        ("application/cloudevents-batch+json", b"[" * 100_000, BadRequest),
        ("application/cloudevents+json", b"[]", BadRequest),
        ("application/cloudevents+json", b"", BadRequest),
        ("application/cloudevents+json", b"\xff", BadRequest),
        ("application/json", b"7", BadRequest),
        ("application/json", b"null", BadRequest),
        ("application/xml", b"<a/>", UnsupportedMedia),
        ("", b"{}", UnsupportedMedia),
    ],
)
def test_a_body_that_is_none_is_refused_as_a_whole(content_type: str, body: bytes, error: type[Problem]) -> None:
    with pytest.raises(error):
        read_request(content_type, {}, body, MAX)
