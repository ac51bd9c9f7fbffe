import datetime as dt
import hashlib
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest

from licmeter.schemas import attribution
from licmeter.schemas.authorization_rows import AUTHORIZATIONS_KEY
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.topics import LICENSE_COUNTERS, USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.blocks import AUTHORIZATIONS_TABLE, ROWS_TABLE
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.counters import ITEM_TABLE, ORGANIZATION_TABLE
from licmeter.sinks.rejected import PAYLOAD_BYTES_MAX, REJECTED_TABLE
from tests.unit.sinks.records import (
    SLOT,
    FakeRecord,
    attribution_blocks,
    attribution_row,
    authorization_blocks,
    authorization_row,
    counters_record,
    item_counters,
    organization_counters,
)

ORIGIN = RejectOrigin(RejectReason.TOO_OLD, "late by a day", "usage.events", 5, 77, 1_930_000_000_123)


def batch_of(*records: FakeRecord) -> RowBatch:
    batch = RowBatch()
    for record in records:
        batch.add(record)
    return batch


def rejected(**changes: object) -> dict[str, object]:
    record = FakeRecord(**({"value": b"{}", "topic": USAGE_REJECTED.name, "key": b"acme"} | changes))  # type: ignore[arg-type]
    (row,) = batch_of(record).tables()[REJECTED_TABLE].to_pylist()
    return dict(row)


def test_every_column_of_a_block_arrives() -> None:
    row = attribution_row()
    batch = batch_of(*attribution_blocks([row]))
    assert batch.tables()[ROWS_TABLE].to_pylist() == [row]
    assert batch.rows == 1


def test_every_column_of_a_block_of_authorizations_arrives() -> None:
    rows = [authorization_row(), authorization_row(outcome="granted", item_id="L1-1", code="", code_number=0)]
    batch = batch_of(*authorization_blocks(rows[:1]), *authorization_blocks(rows[1:]))
    assert batch.tables()[AUTHORIZATIONS_TABLE].to_pylist() == rows
    assert batch.rows == 2


def test_the_key_tells_what_a_block_holds() -> None:
    reports, authorizations = attribution_blocks([attribution_row()]), authorization_blocks([authorization_row()])
    swapped = [replace(reports[0], key=AUTHORIZATIONS_KEY), replace(authorizations[0], key=None)]
    batch = batch_of(*swapped, *reports, *authorizations)
    assert [undecodable.record for undecodable in batch.undecodable] == swapped
    assert {name: table.num_rows for name, table in batch.tables().items()} == {
        ROWS_TABLE: 1,
        AUTHORIZATIONS_TABLE: 1,
    }


def test_blocks_with_different_dictionaries_become_one_batch() -> None:
    rows = [attribution_row(feature=name, line=line) for line, name in enumerate(["qr", "code128", "qr", "ean"])]
    blocks = [record for part in (rows[:2], rows[2:3], rows[3:]) for record in attribution_blocks(part)]
    table = batch_of(*blocks).tables()[ROWS_TABLE]
    assert isinstance(table, pa.RecordBatch)
    assert table.to_pylist() == rows


def test_nothing_gives_no_tables() -> None:
    assert RowBatch().tables() == {}
    assert batch_of(FakeRecord(_ipc(attribution.SCHEMA.empty_table()))).tables() == {}


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _good_table(**changes: object) -> pa.Table:
    (record,) = attribution_blocks([attribution_row(**changes)])
    assert record.value is not None
    return attribution.decode_block(record.value)


def _with_null() -> bytes:
    table = _good_table()
    return _ipc(table.set_column(9, attribution.SCHEMA.field(9), pa.array([None], pa.uint64())))


def _with_bad_index() -> bytes:
    table = _good_table()
    word = pa.DictionaryArray.from_arrays(pa.array([9], pa.int32()), pa.array(["acme"]), safe=False)
    return _ipc(table.set_column(0, attribution.SCHEMA.field(0), word))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="tombstone"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 100, id="garbage"),
        pytest.param(b'{"a": 1}', id="json"),
        pytest.param(_ipc(pa.table({"x": [1]})), id="another schema"),
        pytest.param(_ipc(_good_table())[:700], id="cut off"),
        pytest.param(_with_null(), id="null"),
        pytest.param(_with_bad_index(), id="index outside the dictionary"),
        pytest.param(_ipc(_good_table(slot=dt.datetime(1960, 1, 1, tzinfo=dt.UTC))), id="slot before 1970"),
        pytest.param(_ipc(_good_table(slot=dt.datetime(2200, 1, 1, tzinfo=dt.UTC))), id="slot after 2106"),
    ],
)
def test_what_is_no_block_is_undecodable_and_stops_nothing(value: bytes | None) -> None:
    row = attribution_row()
    bad = FakeRecord(value, offset=4)
    batch = batch_of(bad, *attribution_blocks([row]))
    assert [undecodable.record for undecodable in batch.undecodable] == [bad]
    assert batch.tables()[ROWS_TABLE].to_pylist() == [row]
    assert batch.rows == 1


def test_every_column_of_item_counters_arrives() -> None:
    counters = item_counters()
    table = batch_of(counters_record(counters)).tables()[ITEM_TABLE.name]
    assert table.to_pylist() == [_stored(counters) | {"percent": Decimal("99.90")}]


def test_an_item_without_limits_has_none() -> None:
    counters = item_counters(quota=None, budget=None, budget_year=None, percent=None)
    assert batch_of(counters_record(counters)).tables()[ITEM_TABLE.name].to_pylist() == [_stored(counters)]


def test_every_column_of_organization_counters_arrives() -> None:
    counters = organization_counters(organization_id="")
    assert batch_of(counters_record(counters)).tables()[ORGANIZATION_TABLE.name].to_pylist() == [_stored(counters)]


def _stored(counters: ItemCounters | OrganizationCounters) -> dict[str, object]:
    return counters.model_dump(exclude={"kind"})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b'{"kind": "other"}', id="unknown kind"),
        pytest.param(item_counters(applied_offset=-1).model_dump_json().encode(), id="negative offset"),
        pytest.param(item_counters(used=2**64).model_dump_json().encode(), id="beyond 64 bits"),
        pytest.param(item_counters(source_partition=70_000).model_dump_json().encode(), id="partition beyond 16 bits"),
        pytest.param(item_counters(consumed=-1).model_dump_json().encode(), id="negative exceptions"),
        pytest.param(item_counters(budget_year=2**32).model_dump_json().encode(), id="year beyond 32 bits"),
        pytest.param(organization_counters(refused=-1).model_dump_json().encode(), id="negative refusals"),
        pytest.param(item_counters(percent="many").model_dump_json().encode(), id="percent that is no number"),
        pytest.param(item_counters(percent="NaN").model_dump_json().encode(), id="percent that is not a number"),
        pytest.param(item_counters(percent="1.234").model_dump_json().encode(), id="percent with three decimals"),
        pytest.param(item_counters(percent="1" * 60).model_dump_json().encode(), id="percent beyond 38 digits"),
    ],
)
def test_what_are_no_counters_is_undecodable(value: bytes) -> None:
    batch = batch_of(FakeRecord(value, topic=LICENSE_COUNTERS.name), counters_record(item_counters()))
    assert len(batch.undecodable) == 1
    assert batch.tables()[ITEM_TABLE.name].num_rows == batch.rows == 1


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="tombstone"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="json"),
        pytest.param(authorization_blocks([authorization_row()])[0].value[:900], id="cut off"),  # type: ignore[index]
        pytest.param(
            authorization_blocks([authorization_row(at=dt.datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC))])[
                0
            ].value,
            id="before 1970",
        ),
        pytest.param(
            authorization_blocks([authorization_row(at=dt.datetime(2106, 2, 7, 6, 28, 16, tzinfo=dt.UTC))])[0].value,
            id="after 2106",
        ),
    ],
)
def test_what_is_no_block_of_authorizations_is_undecodable(value: bytes | None) -> None:
    bad = FakeRecord(value, key=AUTHORIZATIONS_KEY)
    batch = batch_of(bad, *authorization_blocks([authorization_row()]))
    assert [undecodable.record for undecodable in batch.undecodable] == [bad]
    assert batch.tables()[AUTHORIZATIONS_TABLE].num_rows == batch.rows == 1


def test_a_tombstone_of_counters_is_skipped() -> None:
    batch = batch_of(FakeRecord(None, topic=LICENSE_COUNTERS.name, key=b"acme/L1-1"))
    assert (batch.skipped, batch.undecodable, batch.tables()) == (1, [], {})


def test_a_record_of_an_unknown_topic_is_undecodable() -> None:
    assert len(batch_of(FakeRecord(b"x", topic=USAGE_EVENTS.name)).undecodable) == 1


def test_a_reject_keeps_its_origin_and_loses_only_our_headers() -> None:
    original = [("trace", b"\xff"), ("licmeter-reason", b"forged"), ("trace", b"")]
    row = rejected(headers=reject_headers(ORIGIN, original), value=b"{}")
    assert row == {
        "organization_id": "acme",
        "reason": "too_old",
        "detail": "late by a day",
        "source_topic": "usage.events",
        "source_partition": 5,
        "source_offset": 77,
        "received_at": dt.datetime.fromtimestamp(1_930_000_000.123, tz=dt.UTC),
        "key": b"acme",
        "headers": [{"name": name, "value": value} for name, value in original],
        "payload": b"{}",
        "payload_bytes": 2,
        "payload_sha256": hashlib.sha256(b"{}").hexdigest(),
    }


def test_odd_bytes_are_kept_as_they_are() -> None:
    row = rejected(headers=reject_headers(ORIGIN, []), key=b"\xff\x00", value=bytes(range(256)))
    assert (row["organization_id"], row["key"], row["payload"]) == ("", b"\xff\x00", bytes(range(256)))


def test_no_key_and_no_payload_are_not_the_same_as_empty_ones() -> None:
    row = rejected(headers=reject_headers(ORIGIN, []), key=None, value=None)
    assert (row["organization_id"], row["key"], row["payload"], row["payload_bytes"]) == ("", None, None, 0)
    row = rejected(headers=reject_headers(ORIGIN, []), key=b"", value=b"")
    assert (row["key"], row["payload"]) == (b"", b"")


def test_a_large_payload_is_cut_but_measured_and_hashed_whole() -> None:
    payload = b"x" * (PAYLOAD_BYTES_MAX + 1)
    row = rejected(headers=reject_headers(ORIGIN, []), value=payload)
    assert row["payload"] == payload[:-1]
    assert (row["payload_bytes"], row["payload_sha256"]) == (len(payload), hashlib.sha256(payload).hexdigest())


def _bad_header(name: str, value: bytes) -> list[tuple[str, bytes]]:
    return [(n, value if n == name else v) for n, v in reject_headers(ORIGIN, [])]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([("a", None)], id="a header without value"),
        pytest.param(reject_headers(ORIGIN, [])[1:], id="one missing"),
        pytest.param(_bad_header("licmeter-reason", b"whatever"), id="unknown reason"),
        pytest.param(_bad_header("licmeter-source-offset", b"ten"), id="offset that is no number"),
        pytest.param(_bad_header("licmeter-source-offset", b"-1"), id="negative offset"),
        pytest.param(_bad_header("licmeter-source-partition", b"4294967296"), id="partition beyond 32 bits"),
        pytest.param(_bad_header("licmeter-received-at-ms", b"9" * 30), id="time beyond all years"),
        pytest.param(_bad_header("licmeter-detail", b"\xff"), id="detail that is no UTF-8"),
    ],
)
def test_a_foreign_record_on_rejects_is_its_own_origin(headers: list[tuple[str, bytes | None]]) -> None:
    row = rejected(headers=headers, partition=2, offset=9, timestamp=-1)
    assert (row["reason"], row["source_topic"]) == ("undecodable", USAGE_REJECTED.name)
    assert (row["source_partition"], row["source_offset"]) == (2, 9)
    assert row["received_at"] == dt.datetime.fromtimestamp(0, tz=dt.UTC)
    assert row["headers"] == [{"name": name, "value": value or b""} for name, value in headers]


def test_bytes_are_counted_for_the_bound() -> None:
    assert batch_of(FakeRecord(b"12345", topic=USAGE_REJECTED.name, key=b"67")).bytes == 7


def test_the_slot_is_an_instant_in_utc() -> None:
    assert batch_of(*attribution_blocks([attribution_row()])).tables()[ROWS_TABLE].to_pylist()[0]["slot"] == SLOT
