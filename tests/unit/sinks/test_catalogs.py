"""An organization's document as a row: without secrets and addresses, the latest offset wins."""

import json

import pytest
from pydantic import ValidationError

from licmeter.schemas.catalog import Organization
from licmeter.schemas.topics import LICENSE_CATALOG
from licmeter.sinks.catalogs import catalog_row
from licmeter.sinks.conversion import RowBatch
from tests.support.build import item, organization
from tests.unit.sinks.records import FakeRecord

SECRET = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing


def document() -> Organization:
    key = {"key_id": "A" * 16, "secret_sha256": SECRET, "created_at": "2031-01-01T00:00:00Z"}
    return organization(
        item(),
        project={"session_password_hash": "scrypt$of-something", "license_keys": [key]},
        alerts={"preset": "legacy", "recipients": {"to": "ops@example.org"}},
    )


def test_secrets_and_addresses_are_left_on_the_topic() -> None:
    row = catalog_row(document().model_dump_json().encode(), 7)
    for word in (SECRET, "of-something", "license_keys", "ops@example.org"):
        assert word not in row["document"]


def test_what_is_stored_is_a_document_again() -> None:
    row = catalog_row(document().model_dump_json().encode(), 7)
    again = Organization.model_validate_json(row["document"])
    assert again.items == document().items
    assert again.alerts.preset == "legacy"
    assert (row["organization_id"], row["version"]) == (document().organization_id, 7)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"organization_id": "a-b"}', b"\xff"])
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(ValidationError):
        catalog_row(value, 0)


def test_a_tombstone_is_skipped_and_the_rest_goes_on() -> None:
    batch = RowBatch()
    value = document().model_dump_json().encode()
    for number, each in enumerate((value, None, b"no document", value)):
        batch.add(FakeRecord(each, topic=LICENSE_CATALOG.name, offset=number))
    assert batch.skipped == 1
    assert [undecodable.record.offset for undecodable in batch.undecodable] == [2]
    rows = batch.tables()["catalogs"].to_pylist()
    assert [row["version"] for row in rows] == [0, 3]
    assert json.loads(rows[0]["document"])["organization_id"] == document().organization_id
