"""Pages: a part of a table by its key, cut out where the rows are: in ClickHouse, or of a list that is here."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from licmeter.analytics.http.cursors import Key, KeyValue
from licmeter.analytics.query import Client, Query, run
from licmeter.analytics.statistics.api import Statistics
from licmeter.analytics.statistics.tables import Table

__all__ = ["ALL_ROWS", "Page", "PagedStatistics", "Walk", "page_of"]

_T = TypeVar("_T")
_LIMIT: Final = re.compile(r"\s+LIMIT \d+\s*$")


@dataclass(frozen=True, slots=True)
class Walk:
    """How a table is walked: by which key, behind which row (None = from the start), and how many rows a page has.

    `rows_max` bounds all pages together, in place of the LIMIT that the question has itself (Q5): "the latest 1,000"
    are those before which nothing was there at the first page, however many come while the others are read.
    """

    keys: tuple[Key, ...] = ()
    after: tuple[KeyValue, ...] | None = None
    limit: int = 0
    given: int = 0
    rows_max: int | None = None

    @property
    def rows(self) -> int:
        """How many rows the page may have."""
        return self.limit if self.rows_max is None else max(0, min(self.limit, self.rows_max - self.given))

    def ends_with(self, given: int) -> bool:
        """Tell whether nothing follows a page with so many rows, whatever there is."""
        return self.rows_max is not None and self.given + given >= self.rows_max


#: Not walked at all.
ALL_ROWS: Final = Walk()


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """The rows of a page, and the key of its last one if others follow."""

    rows: list[_T]
    last: tuple[KeyValue, ...] | None


def page_of(rows: Sequence[_T], key: Callable[[_T], tuple[Any, ...]], walk: Walk) -> Page[_T]:
    """Cut a page out of all rows."""
    descending = walk.keys[0].descending
    chosen = sorted(rows, key=key, reverse=descending)
    if walk.after is not None:
        after = walk.after
        chosen = [row for row in chosen if (key(row) < after if descending else key(row) > after)]
    return _page(chosen, key, walk)


def _page(rows: Sequence[_T], key: Callable[[_T], tuple[Any, ...]], walk: Walk) -> Page[_T]:
    """Return a page of rows that begin with it and go on behind it."""
    page = list(rows[: walk.rows])
    more = len(rows) > len(page) and not walk.ends_with(len(page))
    return Page(page, key(page[-1]) if more and page else None)


class PagedStatistics(Statistics):
    """The statistics, with tables that are walked. Each table is one page and a row more, if there is one."""

    def __init__(
        self, client: Client, organization_id: str, clock: Callable[[], datetime], walk: Walk = ALL_ROWS
    ) -> None:
        super().__init__(client, organization_id, clock)
        self._walk = walk

    @property
    def now(self) -> datetime:
        """The instant of the question."""
        return self._clock()

    def page(self, table: Table) -> Page[dict[str, Any]]:
        """Return what of a table belongs on the page."""
        names = [key.name for key in self._walk.keys]
        return _page(table.rows, lambda row: tuple(row[name] for name in names), self._walk)

    def _run(self, query: Query) -> Table:
        if not self._walk.limit:
            return super()._run(query)
        return Table(query.columns, run(_PageClient(self._client, query.columns, self._walk), query))


@dataclass(frozen=True, slots=True)
class _PageClient:
    """Asks for a page of whatever it is asked for."""

    client: Client
    columns: Sequence[str]
    walk: Walk

    def query(self, query: str, parameters: Any = None, settings: Any = None) -> Any:
        walk, names = self.walk, ", ".join(f"`{name}`" for name in self.columns)
        if walk.rows_max is not None:
            query, found = _LIMIT.subn("", query)
            assert found == 1, "the bound of a walk stands for the question's own"
        values = {} if walk.after is None else {f"after_{at}": value for at, value in enumerate(walk.after)}
        order = ", ".join(f"`{key.name}` {'DESC' if key.descending else 'ASC'}" for key in walk.keys)
        text = f"""
            SELECT * FROM ({query}) AS page({names})
            {f"WHERE {_behind(walk.keys)}" if values else ""}
            {f"ORDER BY {order}" if order else ""} LIMIT {walk.rows + 1}
        """
        return self.client.query(text, parameters={**parameters, **values}, settings=settings)


def _behind(keys: Sequence[Key]) -> str:
    """Return the condition for rows behind a key: a later column decides where those before it are equal."""
    cases = []
    for at, key in enumerate(keys):
        equal = [f"`{each.name}` = {_parameter(number, each)}" for number, each in enumerate(keys[:at])]
        cases.append(" AND ".join([*equal, f"`{key.name}` {'<' if key.descending else '>'} {_parameter(at, key)}"]))
    return " OR ".join(f"({case})" for case in cases)


def _parameter(at: int, key: Key) -> str:
    return f"{{after_{at}:{key.kind.value}}}"
