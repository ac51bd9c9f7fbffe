"""Rows that come one by one: each is checked with its record, and all of a table are built at once.

Arrow takes 60 microseconds to build a batch of one row and one to build a row of a large batch. So what a column can
hold is checked here in Python, and a table whose rows were checked can be built without fail.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

__all__ = ["INSTANT", "PERCENT", "SECONDS", "SECONDS_MAX", "Row", "RowTable"]

Row = dict[str, Any]

INSTANT: Final = pa.timestamp("ms", tz="UTC")
SECONDS: Final = pa.timestamp("s", tz="UTC")
SECONDS_MAX: Final = 2**32 - 1  # what ClickHouse's DateTime can hold
PERCENT: Final = pa.decimal128(38, 2)


class RowTable:
    """A table of ClickHouse: its name, and the columns that are written."""

    def __init__(self, name: str, columns: Iterable[tuple[str, pa.DataType]]) -> None:
        self.name = name
        self.schema = pa.schema(list(columns))
        self._checks = [(field.name, _check_of(field.type)) for field in self.schema]

    def row(self, values: Mapping[str, Any]) -> Row:
        """Take what belongs to the table; raises `ValueError` or `ArithmeticError` for what a column cannot hold.

        A text that is None is stored as "", which is what the tables' columns of text have for "none".
        """
        return {name: check(values[name]) for name, check in self._checks}

    def batch(self, rows: Sequence[Row]) -> pa.RecordBatch:
        """Build one batch of checked rows."""
        return pa.RecordBatch.from_pylist(rows, schema=self.schema)


Check = Callable[[Any], Any]


def _check_of(kind: pa.DataType) -> Check:
    if pa.types.is_unsigned_integer(kind):
        return _unsigned(2**kind.bit_width - 1)
    if pa.types.is_list(kind):
        each = _check_of(kind.value_type)
        return lambda values: [each(value) for value in values]
    if pa.types.is_map(kind):
        of_key, of_value = _check_of(kind.key_type), _check_of(kind.item_type)
        return lambda values: {of_key(key): of_value(value) for key, value in values.items()}
    return {pa.string(): _text, pa.bool_(): _same, INSTANT: _same, SECONDS: _seconds, PERCENT: _percent}[kind]


def _unsigned(largest: int) -> Check:
    def check(value: int | None) -> int | None:
        if value is not None and not 0 <= value <= largest:
            raise ValueError(f"{value} is not between 0 and {largest}")
        return value

    return check


def _text(value: str | None) -> str:
    return "" if value is None else value


def _same(value: object) -> object:
    return value


def _seconds(value: Any) -> object:
    if not 0 <= value.timestamp() < SECONDS_MAX + 1:
        raise ValueError(f"{value} is outside of what a table can hold")
    return value


def _percent(value: str | None) -> Decimal | None:
    return None if value is None else pa.scalar(Decimal(value), PERCENT).as_py()
