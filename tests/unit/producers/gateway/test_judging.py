import json
from typing import Any

import pytest

from licmeter.producers.gateway.directory import Access, Tenant
from licmeter.producers.gateway.incoming import Incoming
from licmeter.producers.gateway.judging import Judgment, judge
from licmeter.producers.gateway.published_schema import follows_schema
from licmeter.schemas.reports import encode_event, usage_report
from tests.support.build import PROJECT, RECEIVED, SLOT, item, ms, organization

ACCESS = Access("300417", PROJECT, "k", True, None)


def event(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"report_id": "r", "client_uuid": "c", "slot": SLOT, "counts": {"qr": 1}}
    return usage_report(**fields | changes)


def tenant() -> Tenant:
    wide, narrow = item("41", modules=["qr"]), item("42", modules=["few", "qr"])
    return Tenant(organization(wide, narrow, project={"usage_order": ["42", "41"]}))


def decide(*values: Any) -> tuple[Judgment, list[dict[str, Any]]]:
    events = [Incoming(value if isinstance(value, bytes) else encode_event(value)) for value in values]
    judgment = judge(events, ACCESS, tenant(), ms(RECEIVED))
    return judgment, [json.loads(result) for result in judgment.results]


def test_a_report_that_names_nobody_is_of_the_keys_project() -> None:
    judgment, (result,) = decide(event())
    assert json.loads(judgment.values[0]) == json.loads(encode_event(event(project_id=PROJECT)))
    assert result["outcome"] == "accepted"


@pytest.mark.parametrize("counts", [{"subject": 1}, {"organizationid": 1}, {'"subject"': 1}])
def test_a_feature_that_is_called_like_an_attribute_does_not_matter(counts: dict[str, int]) -> None:
    judgment, (result,) = decide(event(counts=counts))
    assert (result["outcome"], json.loads(judgment.values[0])["subject"]) == ("accepted", PROJECT)


def test_what_names_somebody_goes_on_byte_for_byte() -> None:
    given = [encode_event(event(project_id=PROJECT)), encode_event(event(organization_id="300417"))]
    judgment, _ = decide(*given)
    assert judgment.values == given


def test_the_items_come_in_consumption_order() -> None:
    _, (result,) = decide(event(counts={"qr": 1}))
    assert [entry["item_id"] for entry in result["items"]] == ["42", "41"]
    _, (result,) = decide(event(counts={"few": 1}))
    assert [entry["item_id"] for entry in result["items"]] == ["42"]
    _, (result,) = decide(event(counts={"other": 1}))
    assert (result["items"], result["code"]["number"]) == ([], 104)


@pytest.mark.parametrize(
    "value",
    [
        event(project_id="300418-kiosk"),
        event(organization_id="300418"),
        event(project_id=PROJECT, organization_id="300418"),
        event(project_id="300418-kiosk", counts={"qr": "many"}),
        b'{"organization_id":"300418"}',
    ],
)
def test_what_names_another_organization_is_foreign_also_when_it_is_malformed(value: Any) -> None:
    judgment, (result,) = decide(value)
    assert (result["outcome"], judgment.foreign, judgment.accepted) == ("rejected", 1, 0)
    assert b"300418" not in judgment.results[0]


@pytest.mark.parametrize("kind", ["license.catalog.v1", "license.authorization.v1"])
def test_what_the_stream_would_take_and_this_door_must_not_goes_nowhere(kind: str) -> None:
    data = {"organization_id": "300417"} if "catalog" in kind else {}
    subject = "300417" if "catalog" in kind else PROJECT
    value = event() | {"type": kind, "subject": subject, "data": data}
    judgment, (result,) = decide(value, event())[0], decide(value)[1]
    assert (len(judgment.values), judgment.withheld, judgment.accepted) == (1, 1, 1)
    assert result["reason"] == "unknown_event_type"


def test_what_the_rules_refuse_goes_to_the_log_all_the_same() -> None:
    judgment, results = decide(event(counts={"qr": -1}), b'{"a":1}', event(project_id="300417-none"))
    assert [result["reason"] for result in results] == ["negative_count", "invalid_schema", "unknown_project"]
    assert len(judgment.values) == 3


def test_what_clients_dropped_is_added_up() -> None:
    judgment, _ = decide(event(dropped_reports=2, dropped_units=7), event(dropped_reports=1), event(dropped_units=None))
    assert (judgment.dropped_reports, judgment.dropped_units) == (3, 7)


@pytest.mark.parametrize(
    ("value", "follows"),
    [
        (event(counts={"qr": 1.0}), True),
        (event(counts={"qr": 1.5}), False),
        (event(counts={"qr": 1}, total=4), True),
        (event(slot="0001-01-01T00:00:00+14:00"), True),
        (event(report_id=""), False),
        ({"report_id": "r", "client_uuid": "c", "slot": "2031-03-08T10:00:00Z", "counts": {"a": 2.0}}, True),
        ({"report_id": "r", "client_uuid": "c", "slot": "2031-03-08T10:00:00Z", "counts": {"a": 2}, "total": 3}, True),
        ({"report_id": "r"}, False),
        (b"[]", False),
        (b"{", False),
    ],
)
def test_what_is_refused_may_follow_the_schema_all_the_same(value: Any, follows: bool) -> None:
    assert follows_schema(value if isinstance(value, bytes) else encode_event(value)) is follows
