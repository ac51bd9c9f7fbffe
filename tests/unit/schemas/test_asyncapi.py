"""The AsyncAPI document: valid by the official schema, complete, and committed as it is generated."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from licmeter.schemas import topics
from licmeter.schemas.alerts import alert_event
from licmeter.schemas.asyncapi import PUBLIC_TOPICS, asyncapi_document
from licmeter.schemas.reports import encode_event, usage_report
from tests.support.build import SLOT
from tests.unit.sinks.records import breach, item_counters, usage_alert

ROOT = Path(__file__).parents[3]
#: Of the package @asyncapi/specs 6.11.1 (Apache-2.0), without its examples.
OFFICIAL = Path(__file__).parent / "official" / "asyncapi-3.0.0.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi_document()


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def at(document: dict[str, Any], reference: str) -> Any:
    part: Any = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def test_it_is_valid_by_the_official_schema(document: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text())).validate(document)


def test_the_official_schema_can_fail(document: dict[str, Any]) -> None:
    broken = document | {"asyncapi": "2.6.0"}
    assert not jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text())).is_valid(broken)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        assert isinstance(at(document, reference), dict), reference


def test_every_public_topic_is_a_channel_with_messages_and_an_operation(document: dict[str, Any]) -> None:
    channels = {channel["address"]: name for name, channel in document["channels"].items()}
    assert set(channels) == {spec.name for spec in PUBLIC_TOPICS}
    assert {topics.USAGE_EVENTS.name, topics.LICENSE_ALERTS.name, topics.USAGE_REJECTED.name} <= set(channels)
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in channels.values()}
    assert all(channel["messages"] for channel in document["channels"].values())


def test_what_is_sent_fits_the_payload_that_is_promised(document: dict[str, Any]) -> None:
    report = usage_report(report_id="r", client_uuid="c", slot=SLOT, counts={"qr": 1}, project_id="300417-kiosk")
    samples = {
        "usageReport": encode_event(report),
        "breach": encode_event(alert_event(breach())),
        "usageAlert": encode_event(alert_event(usage_alert())),
        "itemCounters": item_counters().model_dump_json().encode(),
    }
    for name, value in samples.items():
        schema = document["components"]["messages"][name]["payload"]["schema"]
        whole = schema | {"components": {"schemas": document["components"]["schemas"]}}
        validator = jsonschema.Draft202012Validator(whole)
        validator.validate(json.loads(value))
        assert not validator.is_valid({"type": "other"})


def test_the_committed_document_is_the_generated_one(document: dict[str, Any]) -> None:
    committed = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    assert committed == document, "run `licmeter schemas --asyncapi --out docs`"
