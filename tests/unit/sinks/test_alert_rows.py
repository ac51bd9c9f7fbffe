import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from licmeter.schemas.alerts import Breach, UsageAlert, alert_event
from licmeter.schemas.outcomes import BreachKind
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_ALERTS
from licmeter.sinks.alert_rows import ALERTS_TABLE, BREACHES_TABLE
from licmeter.sinks.conversion import RowBatch
from tests.unit.sinks.records import (
    FakeRecord,
    alert_record,
    breach,
    item_condition,
    project_condition,
    usage_alert,
)


def batch_of(*records: FakeRecord) -> RowBatch:
    batch = RowBatch()
    for record in records:
        batch.add(record)
    return batch


def test_every_column_of_a_breach_arrives() -> None:
    batch = batch_of(alert_record(breach()))
    (row,) = batch.tables()[BREACHES_TABLE.name].to_pylist()
    assert row == breach().model_dump() | {"percent": Decimal("105.00")}
    assert batch.rows == 1


@pytest.mark.parametrize("kind", BreachKind)
def test_a_breach_of_any_kind_needs_no_more_than_its_identity_and_instants(kind: BreachKind) -> None:
    optional = [name for name, field in Breach.model_fields.items() if not field.is_required()]
    message = Breach.model_validate(breach(kind=kind).model_dump(exclude={*optional}))
    (row,) = batch_of(alert_record(message)).tables()[BREACHES_TABLE.name].to_pylist()
    assert row["kind"] == kind
    texts = [row[name] for name in ("project_id", "item_id", "client_uuid", "detail")]
    numbers = [row[name] for name in ("quota", "limit", "value", "percent")]
    assert (texts, numbers, row["late"]) == ([""] * 4, [None] * 4, False)


def test_an_alert_is_one_row_with_its_conditions_in_their_order() -> None:
    batch = batch_of(alert_record(usage_alert()))
    assert batch.rows == 1
    (row,) = batch.tables()[ALERTS_TABLE.name].to_pylist()
    assert row == {
        "organization_id": "acme",
        "checked_at": dt.datetime(2031, 3, 8, 10, 20, tzinfo=dt.UTC),
        "alert_id": "fedcba9876543210" * 2,
        "conditions.scope": ["item", "project"],
        "conditions.item_id": ["L1-1", ""],
        "conditions.project_id": ["", "acme-web"],
        "conditions.project_ids": [["acme-web", "acme-kiosk"], []],
        "conditions.charge_way": ["per_page", ""],
        "conditions.metric": ["used", "auth_failed_ratio"],
        "conditions.value": [1610, 9],
        "conditions.quota": [2000, 40],
        "conditions.percent": [Decimal("80.50"), Decimal("22.50")],
        "conditions.level": [80, 20],
        "conditions.crossed": [[60, 80], [10, 20]],
        "conditions.state": ["active", ""],
        "conditions.window_minutes": [0, 60],
        "conditions.top_codes": [[], [("120", 7), ("111", 2)]],
    }


def test_a_condition_without_a_quota_has_neither_quota_nor_percent() -> None:
    reminder = item_condition(metric="expires_in_days", value=7, quota=None, percent=None, level=7, crossed=[7])
    (row,) = batch_of(alert_record(usage_alert(reminder))).tables()[ALERTS_TABLE.name].to_pylist()
    assert (row["conditions.quota"], row["conditions.percent"]) == ([None], [None])


def event(message: Breach | UsageAlert, *, without: str = "", **changes: Any) -> bytes:
    """The event of a message, with changes to its envelope."""
    found = alert_event(message) | changes
    found.pop(without, None)
    return encode_event(found)


def changed(message: Breach | UsageAlert, **changes: Any) -> bytes:
    """The event of a message with data that no model would let pass."""
    found = json.loads(event(message))
    found["data"] |= changes
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="tombstone"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"[]", id="no object"),
        pytest.param(event(breach(), type="license.other.v1"), id="unknown type"),
        pytest.param(event(breach(), without="type"), id="no type"),
        pytest.param(event(breach(), without="data"), id="no data"),
        pytest.param(event(breach(), specversion="0.3"), id="another version of CloudEvents"),
        pytest.param(event(breach(), type="license.usage.alert.v1"), id="a breach that says it is an alert"),
        pytest.param(event(usage_alert(), type="license.breach.v1"), id="an alert that says it is a breach"),
        pytest.param(changed(breach(), kind="other"), id="unknown kind of breach"),
        pytest.param(changed(breach(), slot="2031-03-08T14:12:00"), id="slot without a zone"),
        pytest.param(changed(breach(), slot="1969-12-31T23:57:00Z"), id="slot before 1970"),
        pytest.param(changed(breach(), slot="2106-02-07T06:30:00Z"), id="slot after 2106"),
        pytest.param(changed(breach(), value=-1), id="negative value"),
        pytest.param(changed(breach(), limit=2**64), id="limit beyond 64 bits"),
        pytest.param(changed(breach(), percent="much"), id="percent that is no number"),
        pytest.param(changed(breach(), detail="\ud800"), id="half a surrogate pair"),
        pytest.param(changed(usage_alert(), conditions=[]), id="no conditions"),
        pytest.param(changed(usage_alert(), checked_at="2200-01-01T00:00:00Z"), id="check after 2106"),
        pytest.param(event(usage_alert(item_condition(value=-1))), id="negative value of a condition"),
        pytest.param(event(usage_alert(item_condition(crossed=[60, 70_000]))), id="level beyond 16 bits"),
        pytest.param(event(usage_alert(project_condition(top_codes={"120": -1}))), id="negative count of a code"),
        pytest.param(event(usage_alert(item_condition(), item_condition(percent="NaN"))), id="percent of a condition"),
    ],
)
def test_what_is_neither_a_breach_nor_an_alert_is_undecodable_and_stops_nothing(value: bytes | None) -> None:
    bad = FakeRecord(value, topic=LICENSE_ALERTS.name)
    batch = batch_of(bad, alert_record(breach()), bad, alert_record(usage_alert()))
    assert [undecodable.record for undecodable in batch.undecodable] == [bad, bad]
    assert {name: table.num_rows for name, table in batch.tables().items()} == {
        BREACHES_TABLE.name: 1,
        ALERTS_TABLE.name: 1,
    }
    assert batch.rows == 2
