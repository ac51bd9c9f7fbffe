"""`license.verdicts`: the stream answers every request for leave to run, and a repeat gives the same bytes."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import pytest

from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.schemas.authorizations import authorization
from licmeter.schemas.envelope import CLOUD_EVENT_HEADERS
from licmeter.schemas.export import json_schemas
from licmeter.schemas.topics import LICENSE_VERDICTS, USAGE_EVENTS
from licmeter.schemas.verdicts import Verdict, parse_verdict
from licmeter.stream.batch import InputRecord, process_batch
from licmeter.stream.flush import flush
from licmeter.stream.outputs import MemoryOutputs, OutputRecord, output_records
from licmeter.stream.partition import load_partition
from licmeter.stream.store import MemoryStore
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, catalog_record, item, organization, record, report

PARTITION = 3
SEATS = item("41", charge_way="per_device", activity_period="monthly", quota=1)


def ask(auth_id: str = "a1", client: str = "device-1", at: datetime = RECEIVED, **changes: Any) -> dict[str, Any]:
    fields = {"project_id": PROJECT} | changes
    return authorization(auth_id=auth_id, client_uuid=client, at=at, **fields)


def answers(records: Sequence[InputRecord], store: MemoryStore | None = None) -> list[OutputRecord]:
    """Compute a batch as a worker does that has just read its state; nothing is written."""
    state = load_partition(PARTITION, store or MemoryStore(), DEFAULT_LIMITS.duplicate_days)
    result = process_batch(records, state, DEFAULT_LIMITS)
    return dict(output_records(result, USAGE_EVENTS.name)).get(LICENSE_VERDICTS.name, [])


def verdicts(*events: dict[str, Any], catalog: InputRecord | None = None) -> list[Verdict]:
    """Ask after a catalog with one seat was applied; return what was answered."""
    known = catalog or catalog_record(organization(SEATS))
    sent = answers([known, *(record(event, offset) for offset, event in enumerate(events, 1))])
    return [parse_verdict(each.value or b"") for each in sent]


def test_granted() -> None:
    (verdict,) = verdicts(ask())
    assert verdict == Verdict(
        organization_id=ORGANIZATION,
        project_id=PROJECT,
        client_uuid="device-1",
        auth_id="a1",
        at=RECEIVED,
        outcome="granted",
        item_id="41",
        local_expires_at=RECEIVED + timedelta(days=30),
        source_partition=PARTITION,
        source_offset=1,
    )


def test_refused_as_used_up() -> None:
    first, *_, last = verdicts(*(ask(f"a{number}", f"device-{number}") for number in range(4)))
    assert first.outcome == "granted"
    assert (last.outcome, last.code, last.code_number) == ("refused", "limit_exceeded", 120)
    assert (last.project_id, last.item_id, last.local_expires_at) == (PROJECT, None, None)


def test_a_repetition_is_a_duplicate_and_names_no_answer() -> None:
    _, again = verdicts(ask(), ask())
    assert (again.outcome, again.code, again.item_id, again.reason) == ("duplicate", None, None, None)
    assert (again.client_uuid, again.auth_id, again.source_offset) == ("device-1", "a1", 2)


def test_another_request_under_the_same_id_is_a_conflict() -> None:
    _, other = verdicts(ask(), ask(product="another"))
    assert (other.outcome, other.reason, other.code) == ("rejected", "conflict", None)


def test_an_unknown_organization_is_answered_too() -> None:
    (sent,) = answers([record(ask(project_id="nobody-1"), 0, key=b"nobody")])
    verdict = parse_verdict(sent.value or b"")
    assert (sent.key, verdict.organization_id) == (b"nobody", "nobody")
    assert (verdict.outcome, verdict.code, verdict.code_number) == ("refused", "unknown_organization", 121)


def test_an_unknown_project_is_answered_too() -> None:
    (verdict,) = verdicts(ask(project_id=f"{ORGANIZATION}-elsewhere"))
    assert (verdict.outcome, verdict.code_number) == ("refused", 101)


def test_what_the_authorizer_recorded_is_the_answer() -> None:
    """G4: the same answer in the books and for who listens."""
    refused, granted = verdicts(
        ask("a1", result="refused", code="expired"),
        ask("a2", result="ok", item_id="99", local_expires_at="2031-03-09T00:00:00Z"),
    )
    assert (refused.outcome, refused.code_number, refused.item_id) == ("refused", 111, None)
    assert (granted.outcome, granted.item_id) == ("granted", "99")
    assert granted.local_expires_at == datetime.fromisoformat("2031-03-09T00:00:00Z")


def test_reports_and_what_cannot_be_read_have_none() -> None:
    assert verdicts(report(), ask(auth_id=""), ask(at=RECEIVED - timedelta(days=3))) == []


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999-14:00", "9999-12-31T23:59:59.999000+00:00"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999000+00:00"),
    ],
)
def test_an_end_outside_all_years_does_not_end_the_worker(stated: str, said: str) -> None:
    (verdict,) = verdicts(ask(result="ok", item_id="41", local_expires_at=stated))
    assert verdict.local_expires_at is not None
    assert verdict.local_expires_at.isoformat() == said


def test_an_item_without_foreseeable_end_is_granted_until_the_last_instant() -> None:
    host = {"kind": "domain", "value": "example.org"}
    forever = item("41", charge_way="per_domain", quota=1, expires_at="9999-12-31T00:00:00Z", validation_fields=[host])
    (verdict,) = verdicts(ask(validation=host), catalog=catalog_record(organization(forever)))
    assert verdict.local_expires_at is not None
    assert (verdict.outcome, verdict.local_expires_at.year) == ("granted", 9999)


def test_the_record_is_a_cloudevent_of_its_organization() -> None:
    (sent,) = answers([catalog_record(organization(SEATS)), record(ask(), 1)])
    event = json.loads(sent.value or b"")
    assert (sent.key, sent.headers) == (ORGANIZATION.encode(), CLOUD_EVENT_HEADERS)
    assert (event["type"], event["id"], event["source"]) == ("license.verdict.v1", f"{PARTITION}:1", "licmeter")
    assert event["subject"] == ORGANIZATION
    jsonschema.Draft202012Validator(json_schemas()["license.verdict.v1"]).validate(event["data"])


def test_a_repeat_gives_the_same_bytes_in_any_batches() -> None:
    """Killed between outputs and state, and started again."""
    log = [
        catalog_record(organization(SEATS)),
        *(record(ask(f"a{n % 5}", f"device-{n % 3}"), n, received=RECEIVED + n * timedelta(seconds=1))
          for n in range(1, 30)),
    ]  # fmt: skip
    whole = answers(log)
    assert {parse_verdict(each.value or b"").outcome for each in whole} == {"granted", "refused", "duplicate"}
    for cut in range(1, len(log)):
        store, outputs = MemoryStore(), MemoryOutputs()
        state = load_partition(PARTITION, store, DEFAULT_LIMITS.duplicate_days)
        asyncio.run(flush(process_batch(log[:cut], state, DEFAULT_LIMITS), state, outputs, lambda: True))
        before = outputs.sent.get(LICENSE_VERDICTS.name, [])
        lost, again = answers(log[cut:], store), answers(log[cut:], store)
        assert lost == again
        assert before + again == whole
        # What the fence covers is not answered a second time.
        assert answers(log, store) == again
