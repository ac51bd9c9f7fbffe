"""What the check of a row lets pass, Arrow can hold: a table whose rows were checked is built without fail."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from licmeter.sinks.rows import INSTANT, PERCENT, SECONDS, RowTable

EAST, WEST = dt.timezone(dt.timedelta(hours=14)), dt.timezone(dt.timedelta(hours=-12))


def stored(kind: pa.DataType, value: Any) -> Any:
    table = RowTable("any", [("x", kind)])
    return table.batch([table.row({"x": value, "y": "of no column"})])["x"].to_pylist()[0]


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_whole_numbers_up_to_the_width_of_the_column(bits: int) -> None:
    kind = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[bits]
    for value in (None, 0, 2**bits - 1):
        assert stored(kind, value) == value
    for value in (-1, 2**bits):
        with pytest.raises(ValueError, match="is not between"):
            stored(kind, value)


def test_lists_and_maps_are_checked_inside() -> None:
    assert stored(pa.list_(pa.list_(pa.uint16())), [(), (1, 2)]) == [[], [1, 2]]
    assert stored(pa.map_(pa.string(), pa.uint32()), {"a": 1}) == [("a", 1)]
    with pytest.raises(ValueError, match="is not between"):
        stored(pa.list_(pa.list_(pa.uint16())), [(), (1, 2**16)])
    with pytest.raises(ValueError, match="is not between"):
        stored(pa.map_(pa.string(), pa.uint32()), {"a": -1})


def test_seconds_of_all_days_that_a_table_can_hold() -> None:
    assert stored(SECONDS, dt.datetime(1970, 1, 1, 14, tzinfo=EAST)) == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    last = dt.datetime(2106, 2, 7, 6, 28, 15, tzinfo=dt.UTC)
    assert stored(SECONDS, last.replace(microsecond=999_999)) == last
    for outside in (dt.datetime(1970, 1, 1, tzinfo=EAST), last + dt.timedelta(seconds=1)):
        with pytest.raises(ValueError, match="outside"):
            stored(SECONDS, outside)


@pytest.mark.parametrize("instant", [dt.datetime(1, 1, 1, tzinfo=EAST), dt.datetime(9999, 12, 31, tzinfo=WEST)])
def test_instants_of_all_years(instant: dt.datetime) -> None:
    table = RowTable("any", [("x", INSTANT)])
    (ms,) = table.batch([table.row({"x": instant})])["x"].cast(pa.int64()).to_pylist()
    assert ms == instant.timestamp() * 1000


@pytest.mark.parametrize("percent", ["0", "-0.01", "1e5", "9" * 36 + ".99"])
def test_percents_of_38_digits(percent: str) -> None:
    assert stored(PERCENT, percent) == Decimal(percent)


def test_a_text_that_is_not_there_is_empty() -> None:
    assert stored(pa.string(), None) == ""
