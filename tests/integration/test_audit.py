"""`licmeter audit` on the real parts: an honest system has no difference, and whatever is tampered with is found."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from licmeter.runtime.compacted import read_compacted
from licmeter.schemas.alerts import BREACH_TYPE
from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_COUNTERS
from tests.integration.audit_stage import EVENTS, NOW, AuditStage, counted_stage
from tests.support import fleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

#: A row of a report with several units, by the part of its identity that a statement needs.
ROW = "(source_partition, source_offset, line)"
CHOSEN = f"""{ROW} IN (SELECT source_partition, source_offset, line FROM kept
    WHERE outcome = 'charged' AND quantity > 1 ORDER BY source_partition, source_offset, line LIMIT 1)"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditStage]:
    with counted_stage(tmp_path_factory.mktemp("audit")) as stage:
        yield stage


def one(found: list[dict[str, Any]], **fields: str) -> dict[str, Any]:
    """Return the one difference whose fields have these words in them."""
    fitting = [each for each in found if all(words in each[name] for name, words in fields.items())]
    assert len(fitting) == 1, found
    return fitting[0]


def test_a8_an_honest_system_with_repeats_rejects_and_late_data_has_no_difference(stage: AuditStage) -> None:
    told = stage.audit()
    assert (told["differences"], told["pending"], told["notes"]) == (0, 0, [])
    by_name = {each["organization_id"]: each for each in told["organizations"]}
    assert by_name.keys() == {"2000", "2001", "2002", "1000", "1001", ""}
    for each in by_name.values():
        assert sum(each["outcomes"].values()) == each["records"] > 0
        assert each["counters"] > 0
    assert sum(each["records"] for each in by_name.values()) == 2 * EVENTS + 6
    assert by_name["2000"]["outcomes"]["granted"] > 0
    assert by_name["1000"]["outcomes"]["duplicate"] > 0
    assert by_name[""]["outcomes"]["rejected"] > 500


def test_a_table_for_people(stage: AuditStage) -> None:
    said = stage.cli("audit")
    assert "the books agree with the log" in said.stdout
    assert "(nobody known)" in said.stdout


def test_one_organization(stage: AuditStage) -> None:
    told = stage.audit("--organization", "1001")
    (only,) = told["organizations"]
    assert (only["organization_id"], only["partition"] is not None) == ("1001", True)
    told = stage.audit("--organization", "nosuch")
    assert told["organizations"] == []


def test_a_deleted_row_is_missed(stage: AuditStage) -> None:
    with stage.tampered("usage_attributed", f"ALTER TABLE usage_attributed DELETE WHERE {CHOSEN}"):
        found = stage.listed()
    assert "rows" in one(found, what="units")["what"]
    row = one(found, what="missing in ClickHouse")
    assert row["place"].count(":") == 2
    assert "report_id" in row["what"]
    assert len(found) == 2


@pytest.mark.parametrize("change", ["quantity = quantity + 1", "client_uuid = 'other'", "tier = 'over'"])
def test_a_changed_row_is_found_with_its_column(stage: AuditStage, change: str) -> None:
    with stage.tampered("usage_attributed", f"ALTER TABLE usage_attributed UPDATE {change} WHERE {CHOSEN}"):
        row = one(stage.listed(), what="differs: ")
    assert row["what"].startswith(f"differs: {change.split()[0]} ")
    assert row["what"].endswith(" of the log")


@pytest.mark.parametrize("added", ["500 AS line", "'nosuch' AS organization_id", "slot - 86400 AS slot"])
def test_an_added_row_is_not_in_the_log(stage: AuditStage, added: str) -> None:
    insert = f"INSERT INTO usage_attributed SELECT * REPLACE({added}) FROM (SELECT * FROM kept WHERE {CHOSEN})"
    with stage.tampered("usage_attributed", insert):
        row = next(each for each in stage.listed() if each["place"])
    assert "in ClickHouse, not in the log" in row["what"] or "differs: slot" in row["what"]


@pytest.mark.parametrize("place", ["source_offset + 1000000 AS source_offset", "99 AS source_partition"])
def test_a_row_of_an_offset_that_is_not_there_is_found(stage: AuditStage, place: str) -> None:
    insert = f"INSERT INTO usage_attributed SELECT * REPLACE({place}) FROM (SELECT * FROM kept WHERE {CHOSEN})"
    with stage.tampered("usage_attributed", insert):
        one(stage.listed(), what="at an offset that the log has not reached")


def test_many_differences_are_bounded_and_counted(stage: AuditStage) -> None:
    delete = "ALTER TABLE usage_attributed DELETE WHERE organization_id = '1000'"
    with stage.tampered("usage_attributed", delete):
        told = stage.audit(code=1)
    (lost,) = (each for each in told["organizations"] if each["differences"])
    assert lost["organization_id"] == "1000"
    assert lost["differences"] > 500
    assert len(lost["listed"]) <= 200
    assert any(each["what"].startswith("… and ") for each in lost["listed"])


def test_changed_authorizations_rejects_and_breaches_are_found(stage: AuditStage) -> None:
    first = "(source_partition, source_offset) IN (SELECT source_partition, source_offset FROM kept LIMIT 1)"
    with stage.tampered("authorizations", f"ALTER TABLE authorizations UPDATE code = 'clone' WHERE {first}"):
        one(stage.listed(), where="authorizations", what="differs: code")
    with stage.tampered("usage_rejected", f"ALTER TABLE usage_rejected DELETE WHERE {first}"):
        one(stage.listed(), where="usage_rejected", what="missing in ClickHouse: ")
    breach = "breach_id IN (SELECT breach_id FROM kept LIMIT 1)"
    with stage.tampered("breaches", f"ALTER TABLE breaches DELETE WHERE {breach}"):
        one(stage.listed(), where="breaches", what="missing in ClickHouse: kind")
    with stage.tampered("breaches", f"ALTER TABLE breaches UPDATE value = 4711 WHERE {breach}"):
        one(stage.listed(), where="breaches", what="differs: value '4711'")


def test_a_forged_counter_in_clickhouse_is_found(stage: AuditStage) -> None:
    forge = "ALTER TABLE license_counters UPDATE over = over + 1 WHERE organization_id = '1000' AND item_id = 'A'"
    with stage.tampered("license_counters", forge):
        found = one(stage.listed(), where="ClickHouse counters")
    assert (found["organization"], found["place"]) == ("1000", "item A")
    assert found["what"].startswith("over ")
    with stage.tampered(
        "organization_counters", "ALTER TABLE organization_counters DELETE WHERE organization_id = '1000'"
    ):
        assert one(stage.listed(), where="ClickHouse counters")["what"] == "there is no state of it"


def test_an_audit_of_a_running_system_finds_nothing_but_how_far_it_is(stage: AuditStage) -> None:
    sending = threading.Thread(target=lambda: [stage.send(fleet.events(500, 3, NOW, 8 + n)) for n in range(10)])
    sending.start()
    try:
        while sending.is_alive():
            told = stage.audit(code=None)
            assert told["differences"] == 0, told
    finally:
        sending.join()


def test_what_no_worker_has_counted_is_no_difference_and_is_said(stage: AuditStage) -> None:
    stage.audit()
    stage.worker.stop()
    try:
        stage.send(fleet.events(300, 3, NOW, 99))
        told = stage.audit()
    finally:
        stage.worker.start()
    assert sum(each["uncounted"] for each in told["partitions"]) == 300
    assert sum(each["uncounted"] for each in told["organizations"]) == 300
    stage.until(lambda: sum(p["uncounted"] for p in stage.audit(code=None)["partitions"]) == 0, "all counted")


def test_rows_that_the_sink_has_still_to_write_are_pending(stage: AuditStage) -> None:
    stage.audit()
    stage.sink.stop()
    try:
        before = dict(counted_to(stage))
        stage.send(fleet.events(300, 3, NOW, 100))
        stage.until(lambda: sum(dict(counted_to(stage)).values()) >= sum(before.values()) + 300, "all counted")
        told = stage.audit("--wait", 0, code=3)
    finally:
        stage.sink.start()
    assert told["differences"] == 0
    assert told["pending"] > 0
    assert any("still to write" in note for note in told["notes"])
    assert stage.audit("--wait", 60)["pending"] == 0


def counted_to(stage: AuditStage) -> list[tuple[int, int]]:
    """Return the offsets that the published states include, by partition."""
    latest = asyncio.run(read_compacted(stage.stack.settings.bootstrap_servers, LICENSE_COUNTERS.name))
    found: dict[int, int] = {}
    for value in latest.values():
        state = json.loads(value)
        partition = state["source_partition"]
        found[partition] = max(found.get(partition, -1), state["applied_offset"])
    return list(found.items())


def published(stage: AuditStage, key: bytes) -> bytes:
    return asyncio.run(read_compacted(stage.stack.settings.bootstrap_servers, LICENSE_COUNTERS.name))[key]


def test_a_forged_or_rolled_back_counter_on_the_topic_is_found(stage: AuditStage) -> None:
    key = b"1000/A"
    honest = published(stage, key)
    state = json.loads(honest)
    partition = state["source_partition"]
    try:
        stage.publish(LICENSE_COUNTERS.name, partition, key, json.dumps(state | {"used": state["used"] - 1}).encode())
        told = stage.listed()
        assert f"used {state['used'] - 1} ≠ {state['used']} of the log" in one(told, where="license.counters")["what"]
        stage.publish(LICENSE_COUNTERS.name, partition, key, json.dumps(state | {"applied_offset": 10**9}).encode())
        assert one(stage.listed(), where="license.counters", what="and the log ends before")
        stage.publish(LICENSE_COUNTERS.name, partition, key, b"{")
        found = stage.listed()
        one(found, what="a record that is no state")
        one(found, what="there is no state of it")
    finally:
        stage.publish(LICENSE_COUNTERS.name, partition, key, honest)
        # The sink has taken the forged states, too, and of them the highest offset stays.
        stage.command("ALTER TABLE license_counters DELETE WHERE applied_offset = 1000000000")
    assert stage.audit()["differences"] == 0


def test_a_missing_and_an_invented_breach_on_the_topic_are_found(stage: AuditStage) -> None:
    """Last, as what is gone from a topic does not come back."""
    ((name, value),) = stage.query(
        "SELECT organization_id, concat(breach_id, ' ', kind) FROM breaches ORDER BY at DESC LIMIT 1"
    )
    breach_id, kind = value.split()
    event = {
        "type": BREACH_TYPE,
        "data": {
            "breach_id": breach_id[::-1],
            "kind": kind,
            "organization_id": name,
            "slot": "2026-01-01T00:00:00Z",
            "at": "2026-01-01T00:00:00Z",
        },
    }
    ((partition,),) = stage.query(
        f"SELECT source_partition FROM organization_counters WHERE organization_id = '{name}'"
    )
    stage.publish(LICENSE_ALERTS.name, partition, name.encode(), json.dumps(event).encode())
    one(stage.listed(), where="license.alerts", what="in license.alerts, not in the log")
    stage.forget(LICENSE_ALERTS.name, partition, 1)
    one(stage.listed(), where="license.alerts", what="missing in license.alerts")
