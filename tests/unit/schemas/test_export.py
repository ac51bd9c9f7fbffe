import re
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError

from licmeter.schemas.catalog import ItemId, ProjectId
from licmeter.schemas.export import json_schemas
from licmeter.schemas.outcomes import AuthOutcome, RefusalCode
from licmeter.schemas.reports import encode_event, parse_report
from licmeter.schemas.verdicts import Verdict, verdict_event
from tests.support.build import RECEIVED, catalog_record, item, organization, report

SCHEMAS = json_schemas()


def decoded(event: object) -> object:
    from pydantic_core import from_json

    return from_json(event if isinstance(event, bytes) else encode_event(event))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_good_events_fit_and_bad_ones_do_not() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS["license.usage.report.v1"])
    assert validator.is_valid(decoded(report()))
    for change in ({"id": ""}, {"source": 5}, {"subject": "kiosk"}, {"data": {}}, {"specversion": "0.3"}):
        assert not validator.is_valid(decoded({**report(), **change}))
    catalog = jsonschema.Draft202012Validator(SCHEMAS["license.catalog.v1"])
    assert catalog.is_valid(decoded(catalog_record(organization(item())).value or b""))


def test_a_verdict_fits_and_what_lacks_its_answer_does_not() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS["license.verdict.v1"])
    verdict = Verdict(
        organization_id="300417",
        client_uuid="device-1",
        auth_id="a1",
        at=RECEIVED,
        outcome=AuthOutcome.REFUSED,
        code=RefusalCode.LIMIT_EXCEEDED,
        code_number=120,
        source_partition=0,
        source_offset=7,
    )
    data = verdict_event(verdict)["data"]
    assert validator.is_valid(data)
    for change in ({"outcome": "perhaps"}, {"at": 5}, {"code": "nonsense"}, {"source_offset": "7"}):
        assert not validator.is_valid(data | change)
    for name in ("organization_id", "client_uuid", "auth_id", "at", "outcome", "source_partition", "source_offset"):
        assert not validator.is_valid({key: value for key, value in data.items() if key != name})


def test_the_cloudevents_sdk_reads_a_report() -> None:
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    value = encode_event(report("r7"))
    event = JSONFormat().read(CloudEvent, value)
    parsed = parse_report(value)
    assert (event.get_id(), event.get_source(), event.get_type()) == (parsed["id"], parsed["source"], parsed["type"])
    assert event.get_subject() == parsed["subject"]


@pytest.mark.parametrize("contract", [ProjectId, ItemId], ids=["project", "item"])
def test_the_published_pattern_and_the_contract_mean_the_same_by_a_space(contract: Any) -> None:
    """Engines differ in what `\\s` is, so the published pattern names each character."""
    adapter = TypeAdapter(contract)
    published = re.compile(adapter.json_schema()["pattern"])
    for code in (*range(0xD800), *range(0xE000, 0x10000)):
        text = f"a-{chr(code)}b" if contract is ProjectId else f"{chr(code)}b"
        try:
            adapter.validate_python(text)
            taken = True
        except ValidationError:
            taken = False
        assert (published.search(text) is not None) is taken, hex(code)
