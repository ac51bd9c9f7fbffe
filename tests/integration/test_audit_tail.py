"""An audit of a log whose head is gone: it says so, compares what is comparable, and still finds what is wrong."""

from collections.abc import Iterator
from typing import Any

import pytest

from licmeter.schemas.topics import USAGE_EVENTS
from tests.integration.audit_stage import AuditStage, counted_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EVENTS = 1_500


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditStage]:
    with counted_stage(tmp_path_factory.mktemp("tail"), EVENTS) as stage:
        partitions = stage.query("SELECT DISTINCT source_partition FROM organization_counters WHERE charged > 0")
        for (partition,) in partitions:
            stage.forget(USAGE_EVENTS.name, partition, 200)
        yield stage


#: A report that the log still has, accepted or not.
LEFT = "(source_partition, source_offset) IN (SELECT source_partition, source_offset FROM kept WHERE {} LIMIT 1)"
RECENT = "source_offset > 250 AND outcome = 'charged' AND quantity > 1"


def only(found: list[dict[str, Any]], words: str) -> dict[str, Any]:
    fitting = [each for each in found if words in each["what"]]
    assert len(fitting) == 1, found
    return fitting[0]


def test_an_honest_system_has_no_difference_and_the_audit_says_what_it_cannot_tell(stage: AuditStage) -> None:
    told = stage.audit()
    assert (told["differences"], told["pending"]) == (0, 0)
    assert told["notes"]
    assert all("the log begins at offset 200" in note for note in told["notes"])
    lost = [each for each in told["organizations"] if not each["whole"]]
    assert lost
    assert all(each["rows"] > 0 and each["counters"] > 0 for each in lost if each["organization_id"])
    assert {each["partition"] for each in told["partitions"]} == {0, 1, 2, 3}


def test_a_deleted_report_is_missed(stage: AuditStage) -> None:
    with stage.tampered("usage_attributed", f"ALTER TABLE usage_attributed DELETE WHERE {LEFT.format(RECENT)}"):
        found = stage.listed()
    only(found, "no row says what became of it")
    # Neither do the counters agree with the sums of the rows any more.
    assert any("in all rows up to offset" in each["what"] for each in found)


def test_changed_units_and_another_client_are_found(stage: AuditStage) -> None:
    change = "ALTER TABLE usage_attributed UPDATE client_uuid = 'other' WHERE "
    with stage.tampered("usage_attributed", change + LEFT.format(RECENT)):
        assert all("client_uuid 'other'" in each["what"] for each in stage.listed() if each["place"])
    change = "ALTER TABLE usage_attributed UPDATE quantity = quantity + 1 WHERE "
    with stage.tampered("usage_attributed", change + LEFT.format(RECENT)):
        assert any("differs: quantity" in each["what"] for each in stage.listed())


def test_a_row_without_a_record_and_another_reason_are_found(stage: AuditStage) -> None:
    chosen = f"(SELECT * FROM kept WHERE {RECENT} AND line = 0 LIMIT 1)"
    insert = f"INSERT INTO usage_rejected SELECT * REPLACE('too_old' AS reason) FROM {chosen}"
    left = LEFT.format("source_offset > 250 AND reason = 'not_json'")
    with stage.tampered("usage_rejected", f"ALTER TABLE usage_rejected UPDATE reason = 'too_old' WHERE {left}"):
        only(stage.listed(), "it is stored as rejected too_old ≠ rejected not_json")
    twice = "SELECT * REPLACE(source_offset + 100000 AS source_offset) FROM"
    insert = f"INSERT INTO usage_attributed {twice} {chosen}"
    with stage.tampered("usage_attributed", insert):
        assert any("the log has not reached" in each["what"] for each in stage.listed())


def test_counters_that_are_not_the_sums_of_the_rows_are_found(stage: AuditStage) -> None:
    """A row from before the head of the log is gone: nothing but the counters knows of it."""
    old = "source_offset < 150 AND outcome = 'charged' AND in_quota > 0"
    with stage.tampered("usage_attributed", f"ALTER TABLE usage_attributed DELETE WHERE {LEFT.format(old)}"):
        found = stage.listed()
    assert {each["where"] for each in found} <= {"license.counters", "ClickHouse counters"}
    assert any("in_quota" in each["what"] for each in found)
    assert any("charged" in each["what"] for each in found)
