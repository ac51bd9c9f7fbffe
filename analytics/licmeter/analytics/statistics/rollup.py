"""The rollup job: computes what changed anew, as absolute values, and moves the cut (`statistics.sources`).

A run at an instant W looks at the facts that were written since the last cut and up to W - `LAG_S`, and computes the
days that they belong to from all their facts. Days with facts younger than that are left alone: they are read from the
facts anyway. `LAG_S` is longer than an insert may take, so no fact becomes visible behind the cut. Everything is
computed before the cut moves, and the latest computation wins (`version`), so a run that is killed, or two at once, do
no harm.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol

from licmeter.analytics.query import READ_SETTINGS
from licmeter.analytics.statistics import fragments
from licmeter.analytics.statistics.sources import CUT, ROLLUP_COLUMNS

__all__ = ["LAG_S", "ROLLUP_TABLES", "RollupReport", "Span", "rebuild", "refresh", "spans", "standing"]

#: The sink cuts an insert off after 60 seconds (`sinks.target`); the server may need as long again to notice.
LAG_S: Final = 180
#: Pairs of organization and day that one statement names; beyond, all organizations of the days are computed.
PAIRS_MAX: Final = 2_000
#: Days that one statement computes: bounds its memory.
DAYS_A_STEP: Final = 31

ROLLUP_TABLES: Final = tuple(ROLLUP_COLUMNS)
_SETTINGS: Final[Mapping[str, Any]] = {
    **READ_SETTINGS,
    "max_partitions_per_insert_block": 0,
    "insert_deduplicate": 0,
    "async_insert": 0,
    "distributed_foreground_insert": 1,  # what is computed from another rollup reads what was written just before
}
#: What `system.tables` says of a table over all shards: the cluster, and which tables there have the rows.
_DISTRIBUTED: Final = re.compile(r"Distributed\('([^']+)', '([^']+)', '([^']+)'")
_MICROSECONDS: Final = 1_000_000


class Client(Protocol):
    """What is needed of a clickhouse-connect client."""

    def query(self, query: str, *, parameters: Any = ..., settings: Any = ...) -> Any:
        """Run a query."""

    def command(self, cmd: str, *, parameters: Any = ..., settings: Any = ...) -> Any:
        """Run a statement."""


@dataclass(frozen=True, slots=True)
class Span:
    """Days to compute, both included, and of whom: one organization, or all."""

    first: date
    last: date
    organization_id: str | None = None


@dataclass(frozen=True, slots=True)
class RollupReport:
    """What a run did: days of organizations that were computed, and the new cut."""

    pairs: int
    cut: datetime


def refresh(client: Client, *, lag_s: float = LAG_S, on_step: Callable[[int, int], None] | None = None) -> RollupReport:
    """Compute the days with new facts that have come to rest; raises clickhouse-connect's errors.

    `on_step` is told how many of how many statements are done.
    """
    version, cut = _begin(client, lag_s)
    found = client.query(
        f"""
        SELECT organization_id, day FROM (
            SELECT organization_id, toDate(slot) AS day, ingested_at FROM usage_attributed WHERE ingested_at > {CUT}
            UNION ALL
            SELECT organization_id, toDate(at) AS day, ingested_at FROM authorizations WHERE ingested_at > {CUT}
        )
        GROUP BY organization_id, day HAVING max(ingested_at) <= {{cut:DateTime64(3, 'UTC')}}
        ORDER BY day, organization_id
        SETTINGS final = 0
        """,
        parameters={"cut": cut},
    ).result_rows
    steps = list(_steps(found))
    for number, (first, last, pairs) in enumerate(steps):
        _compute(client, first, last, version, pairs)
        if on_step is not None:
            on_step(number + 1, len(steps))
    _move_cut(client, cut, version)
    return RollupReport(len(found), cut)


def spans(client: Client, span: Span | None, organization_id: str | None = None) -> list[Span]:
    """Cut a range of days, or all days that have facts, into steps of `DAYS_A_STEP`."""
    if span is None:
        ((first, last),) = client.query(
            """
            SELECT min(day), max(day) FROM (
                SELECT toDate(min(slot)) AS day FROM usage_attributed HAVING count() > 0
                UNION ALL SELECT toDate(max(slot)) FROM usage_attributed HAVING count() > 0
                UNION ALL SELECT toDate(min(at)) FROM authorizations HAVING count() > 0
                UNION ALL SELECT toDate(max(at)) FROM authorizations HAVING count() > 0
            ) HAVING count() > 0
            """,
        ).result_rows or [(None, None)]
        if first is None:
            return []
        span = Span(first, last, organization_id)
    steps, day = [], span.first
    while day <= span.last:
        end = min(day + timedelta(days=DAYS_A_STEP - 1), span.last)
        steps.append(Span(day, end, span.organization_id))
        day = end + timedelta(days=1)
    return steps


def rebuild(client: Client, span: Span) -> None:
    """Compute some days from the facts, and take away what they no longer have; answers stay right meanwhile.

    The cut stays where it is. Days whose facts have been dropped by age are not touched, since nothing could
    bring them back.
    """
    version, _ = _begin(client, 0)
    names = None if span.organization_id is None else [span.organization_id]
    kept = _days_with_facts(client, span, names)
    if not kept:
        return
    pairs = [(name, day) for day in kept for name in names] if names is not None else None
    _compute(client, span.first, span.last, version, pairs)
    for table in ROLLUP_TABLES:
        client.command(
            f"""
            DELETE FROM {_rows_of(client, table)} WHERE day IN {{days:Array(Date)}} AND version < {{version:UInt64}}
              AND (organization_id = {{organization:String}} OR {{organization:String}} = '')
            """,
            parameters={"days": kept, "version": version, "organization": span.organization_id or ""},
            settings={"lightweight_deletes_sync": 2},
        )


def _rows_of(client: Client, table: str) -> str:
    """Return what a DELETE must name: a Distributed table takes none."""
    sql = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"
    ((engine,),) = client.query(sql, parameters={"table": table}).result_rows
    found = _DISTRIBUTED.match(engine)
    return table if found is None else "{1}.{2} ON CLUSTER '{0}'".format(*found.groups())


def _days_with_facts(client: Client, span: Span, names: Sequence[str] | None) -> list[date]:
    where = "true" if names is None else "organization_id IN {names:Array(String)}"
    rows = client.query(
        f"""
        SELECT DISTINCT toDate(slot) AS day FROM usage_attributed
        WHERE {where} AND toDate(slot) BETWEEN {{first:Date}} AND {{last:Date}}
        UNION DISTINCT
        SELECT DISTINCT toDate(at) AS day FROM authorizations
        WHERE {where} AND toDate(at) BETWEEN {{first:Date}} AND {{last:Date}}
        """,
        parameters={"first": span.first, "last": span.last, "names": names or []},
    ).result_rows
    return sorted(day for (day,) in rows)


def _begin(client: Client, lag_s: float) -> tuple[int, datetime]:
    """Return the version of a computation that begins now, by the server's clock, and its cut."""
    ((now,),) = client.query("SELECT now64(6, 'UTC')").result_rows
    now = now.replace(tzinfo=UTC)
    cut = now - timedelta(seconds=lag_s)
    return int(now.timestamp() * _MICROSECONDS), cut.replace(microsecond=cut.microsecond // 1000 * 1000)


def _steps(found: Sequence[tuple[str, date]]) -> Iterator[tuple[date, date, list[tuple[str, date]] | None]]:
    """Divide pairs, which are in the order of days, into steps of some days."""
    start = 0
    while start < len(found):
        first = found[start][1]
        end = start
        while end < len(found) and (found[end][1] - first).days < DAYS_A_STEP:
            end += 1
        pairs = list(found[start:end])
        yield first, pairs[-1][1], pairs if len(pairs) <= PAIRS_MAX else None
        start = end


def _compute(client: Client, first: date, last: date, version: int, pairs: Sequence[tuple[str, date]] | None) -> None:
    parameters: dict[str, Any] = {
        "from": datetime(first.year, first.month, first.day, tzinfo=UTC),
        "until": datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1),
        "version": version,
    }
    days, slots, requests = "true", "true", "true"
    if pairs is not None:
        parameters |= {"names": [name for name, _ in pairs], "days": [day for _, day in pairs]}
        listed = "arrayJoin(arrayZip({names:Array(String)}, {days:Array(Date)}))"
        chosen = f"IN (SELECT pair.1, pair.2 FROM (SELECT {listed} AS pair))"
        days, slots = f"(organization_id, day) {chosen}", f"(organization_id, toDate(slot)) {chosen}"
        requests = f"(organization_id, toDate(at)) {chosen}"
    where_slot = f"slot >= {{from:DateTime('UTC')}} AND slot < {{until:DateTime('UTC')}} AND {slots}"
    where_at = f"at >= {{from:DateTime('UTC')}} AND at < {{until:DateTime('UTC')}} AND {requests}"
    for level in fragments.LEVELS:
        _insert(client, "usage_day", fragments.usage_days(level, where_slot), parameters)
    _insert(client, "client_day", fragments.client_days(where_slot, where_at), parameters)
    clients = f"""
        SELECT {ROLLUP_COLUMNS["client_day"]}, organization_id FROM client_day
        WHERE day >= toDate({{from:DateTime('UTC')}}) AND day < toDate({{until:DateTime('UTC')}}) AND {days}
          AND version = {{version:UInt64}}
    """
    for scope in fragments.SCOPES:
        _insert(client, "device_day", fragments.device_days(scope, clients), parameters)
        _insert(client, "concurrency_day", fragments.concurrency_days(scope, where_slot), parameters)
    _insert(client, "authorization_day", fragments.authorization_days(where_at), parameters)


def _insert(client: Client, table: str, fragment: str, parameters: Mapping[str, Any]) -> None:
    columns = f"organization_id, {ROLLUP_COLUMNS[table]}"
    client.command(
        f"INSERT INTO {table} ({columns}, version) SELECT {columns}, {{version:UInt64}} FROM ({fragment})",
        parameters=dict(parameters),
        settings=dict(_SETTINGS),
    )


def _move_cut(client: Client, cut: datetime, version: int) -> None:
    client.command(
        "INSERT INTO rollup_cuts (name, cut, version) "
        "SELECT 'days', greatest(max(cut), {cut:DateTime64(3, 'UTC')}), {version:UInt64} FROM rollup_cuts",
        parameters={"cut": cut, "version": version},
    )


def standing(client: Client) -> dict[str, Any]:
    """Return the cut (None before the first run), how many days of organizations are open, and each table's extent."""
    ((cut, open_days),) = client.query(
        f"""
        SELECT {CUT}, (SELECT uniqExact(organization_id, day) FROM (
            SELECT organization_id, toDate(slot) AS day FROM usage_attributed WHERE ingested_at > {CUT}
            UNION ALL
            SELECT organization_id, toDate(at) AS day FROM authorizations WHERE ingested_at > {CUT}
        ))
        SETTINGS final = 0
        """
    ).result_rows
    tables = []
    for name in ROLLUP_TABLES:
        ((rows, first, last),) = client.query(f"SELECT count(), min(day), max(day) FROM {name} FINAL").result_rows
        tables.append(
            {"table": name, "rows": rows, "first_day": first if rows else None, "last_day": last if rows else None}
        )
    return {"cut": cut.replace(tzinfo=UTC) if cut.year > 1970 else None, "open": open_days, "tables": tables}
