"""Whatever comes as a body, the gateway's parser answers with events or with a problem, and loses nothing."""

import contextlib
import gzip
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from licmeter.producers.gateway.bodies import decompress
from licmeter.producers.gateway.incoming import read_request
from licmeter.producers.gateway.problems import BadRequest, Problem, TooLarge, UnsupportedMedia

TYPES = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json",
    "text/plain",
    "application/xml",
    "",
    "; charset",
)
EVENTS_MAX = 20
BODY_MAX = 100_000

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
names = st.sampled_from(
    [
        *("specversion", "type", "id", "source", "subject", "time", "organizationid", "data"),
        *("report_id", "client_uuid", "slot", "counts", "total", "project_id", "organization_id", "product"),
        *("instances", "usage_kind", "validation", "sent_at", "attempt", "dropped_units"),
    ]
)
objects = st.dictionaries(names | st.text(max_size=5), values, max_size=10)
bodies = (
    st.binary(max_size=300)
    | values.map(lambda value: json.dumps(value).encode())
    | objects.map(lambda value: json.dumps(value).encode())
    | st.lists(objects, max_size=5).map(lambda value: json.dumps(value).encode())
)
headers = st.dictionaries(
    st.sampled_from(["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject"]),
    st.text(st.characters(max_codepoint=255), max_size=20),
    max_size=4,
)


@given(st.sampled_from(TYPES), headers, bodies)
@settings(max_examples=2_000)
@example("application/json", {}, b"[" * 10_000)
@example("application/cloudevents-batch+json", {}, b'[{"a":' + b"[" * 10_000)
@example("application/json", {}, b'{"counts":' + b'{"a":' * 5_000)
@example("application/json", {}, b'{"counts":1' + b"0" * 10_000 + b"}")
@example("application/json", {}, b'[{"report_id":"\\ud800","client_uuid":"","slot":"","counts":{}}]')
def test_any_body_gives_events_or_a_problem(content_type: str, given_headers: dict[str, str], body: bytes) -> None:
    try:
        request = read_request(content_type, given_headers, body, EVENTS_MAX)
    except (BadRequest, TooLarge, UnsupportedMedia):
        return
    assert request.batch or len(request.events) == 1
    assert all(event.value.startswith(b"{") for event in request.events)


@given(st.lists(objects, max_size=EVENTS_MAX), st.sampled_from(TYPES[:4]))
@settings(max_examples=500)
def test_a_batch_has_as_many_events_as_entries(entries: list[dict[str, Any]], content_type: str) -> None:
    if content_type == TYPES[0]:
        return
    body = json.dumps(entries).encode()
    assert len(read_request(content_type, {}, body, EVENTS_MAX).events) == len(entries)


@given(st.binary(max_size=500), st.sampled_from(["gzip", "zstd"]))
@settings(max_examples=1_000)
@example(gzip.compress(b"x") * 3 + b"\0", "gzip")
def test_any_bytes_are_unpacked_or_a_problem(body: bytes, coding: str) -> None:
    with contextlib.suppress(BadRequest, TooLarge):
        assert len(decompress(body, coding, BODY_MAX)) <= BODY_MAX


@pytest.mark.parametrize("coding", ["gzip"])
@given(st.binary(max_size=2_000), st.integers(0, 2_000))
@settings(max_examples=300)
def test_what_is_cut_off_is_never_taken_for_whole(coding: str, body: bytes, cut: int) -> None:
    packed = gzip.compress(body)
    if cut >= len(packed) or not cut:
        return
    with pytest.raises(Problem):
        decompress(packed[:-cut], coding, BODY_MAX)
