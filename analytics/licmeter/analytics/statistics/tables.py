"""Answers that are tables, for whatever the analyst works with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from licmeter.analytics.query import Row, Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by column name, in the order of the question. Instants are aware, in UTC."""

    columns: Sequence[str]
    rows: Rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_arrow(self) -> "pa.Table":
        """Return an Arrow table; a column without any value has the type null."""
        import pyarrow as pa

        return pa.table({name: [row[name] for row in self.rows] for name in self.columns})

    def to_pandas(self) -> Any:
        """Return a pandas data frame; raises `ImportError` where pandas is not installed."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a polars data frame; raises `ImportError` where polars is not installed."""
        import polars

        return polars.from_arrow(self.to_arrow())
