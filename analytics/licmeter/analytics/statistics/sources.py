"""Where an answer is read: a rollup for the days that it is right for, and the facts for all others, as one source.

The rollups are right for everything that was written up to the *cut* (`rollup_cuts`). A day with facts that were
written after it is *dirty*, and is read from the facts. So answers are as fresh as the facts, and exact, whenever the
rollup job ran last, or if it never did.

Which days are dirty may be asked first (`StandingQuery`), once for all questions of an answer, and named in them.
What is written after that is not in the answer, as with any answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar, Final, Self

from licmeter.analytics.query import Period
from licmeter.analytics.statistics import fragments
from licmeter.analytics.statistics.words import Basis, Scope, ScopeKind

__all__ = ["CUT", "ROLLUP_COLUMNS", "Days", "Source", "StandingQuery"]

#: Dirty days that were asked for; None = the question finds them itself.
Days = tuple[date, ...] | None

#: The instant up to which writing is covered; 1970 before the job's first run.
CUT: Final = "(SELECT max(cut) FROM rollup_cuts WHERE name = 'days' SETTINGS final = 0)"
#: Days (of slots, of requests) with facts that the rollups do not cover. Without FINAL: a row that is replaced may make
#: a day dirty that is not, which only costs time, and the index on the time of writing can be used.
_DIRTY: Final = f"""
    SELECT day FROM (
        SELECT DISTINCT toDate(slot) AS day FROM usage_attributed
        WHERE organization_id = {{organization:String}} AND ingested_at > {CUT} SETTINGS final = 0
    )
    UNION DISTINCT
    SELECT day FROM (
        SELECT DISTINCT toDate(at) AS day FROM authorizations
        WHERE organization_id = {{organization:String}} AND ingested_at > {CUT} SETTINGS final = 0
    )
"""
#: Reports are accepted for 30 days, and 5 minutes before their slot (domain, section 5).
_LATE_DAYS: Final = 31
_EARLY_DAYS: Final = 1

ROLLUP_COLUMNS: Final = {
    "usage_day": "level, day, received_day, project_id, item_id, feature, late, quantity, in_quota, in_grace, over, "
    "exceptions, reports",
    "client_day": "day, received_day, project_id, item_id, client_uuid, quantity",
    "device_day": "scope, day, project_id, item_id, devices",
    "concurrency_day": "scope, day, project_id, item_id, peak, slots",
    "authorization_day": "day, project_id, item_id, outcome, code, requests",
}


@dataclass(frozen=True, slots=True)
class StandingQuery:
    """When the organization was last counted (Q7), and which days its rollups do not cover."""

    organization_id: str

    columns: ClassVar[Sequence[str]] = ("updated_at", "dirty")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = f"""
            SELECT (SELECT maxOrNull(updated_at) FROM organization_counters
                    WHERE organization_id = {{organization:String}} SETTINGS final = 0),
                   (SELECT arraySort(groupArray(day)) FROM ({_DIRTY}))
        """
        return text, {"organization": self.organization_id}


@dataclass(slots=True)
class Source:
    """Builds sub-queries for one organization and a range of days, and gathers their parameters.

    `received`: the range is of arrivals, not of slots. `project_id` and `item_id` narrow the scope.
    """

    organization_id: str
    period: Period
    received: bool = False
    project_id: str | None = None
    item_id: str | None = None
    dirty: Days = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, organization_id: str, period: Period, scope: Scope, basis: Basis = Basis.USAGE, dirty: Days = None
    ) -> Self:
        """Return the source of a scope."""
        return cls(
            organization_id,
            period,
            basis is Basis.RECEIVED,
            scope.name if scope.kind is ScopeKind.PROJECT else None,
            scope.name if scope.kind is ScopeKind.ITEM else None,
            dirty,
        )

    def __post_init__(self) -> None:
        self.parameters["organization"] = self.organization_id
        if self.project_id is not None:
            self.parameters["project"] = self.project_id
        if self.item_id is not None:
            self.parameters["item"] = self.item_id

    def scope(self) -> str:
        """Return the condition on project and item."""
        conditions = ["organization_id = {organization:String}"]
        if self.project_id is not None:
            conditions.append("project_id = {project:String}")
        if self.item_id is not None:
            conditions.append("item_id = {item:String}")
        return " AND ".join(conditions)

    def facts(self, clock: str = "slot") -> str:
        """Return the condition on facts whose clock (`slot`, `at`) lies in the range, of all days."""
        conditions = [self.scope()]
        if self.received and clock == "slot":
            conditions += self.bounds("received_at", Period(self.period.first, self.period.last), "instant")
            conditions += self.bounds("slot", self._slots_of_arrivals(), "slot")
        else:
            conditions += self.bounds(clock, self.period, "instant")
        return " AND ".join(conditions)

    def day_column(self) -> str:
        """Return which day of a rollup is asked for."""
        return "received_day" if self.received else "day"

    def usage_days(self, level: str) -> str:
        """Return units and reports by day, at a level of `usage_day`."""
        rollup = self._rollup("usage_day", f"level = '{level}'")
        return self._union("usage_day", rollup, fragments.usage_days(level, self._dirty_facts("slot")))

    def client_days(self) -> str:
        """Return clients by day; some may come twice, with other units."""
        facts = fragments.client_days(self._dirty_facts("slot"), self._dirty_facts("at"))
        # Who was there does not change with a row's versions, and reading without FINAL takes half the time.
        rollup = f"SELECT * FROM ({self._rollup('client_day')} SETTINGS final = 0)"
        return self._union("client_day", rollup, facts)

    def client_units(self) -> str:
        """Return units by client and day, once each."""
        facts = fragments.client_days(self._dirty_facts("slot"), self._dirty_facts("at"))
        return self._union("client_day", self._rollup("client_day"), facts)

    def device_days(self, scope: str) -> str:
        """Return the numbers of devices by day."""
        clients = fragments.client_days(self._dirty_facts("slot"), self._dirty_facts("at"))
        rollup = self._rollup("device_day", f"scope = '{scope}'")
        return self._union("device_day", rollup, fragments.device_days(scope, clients))

    def concurrency_days(self, scope: str) -> str:
        """Return peaks and slots by day."""
        rollup = self._rollup("concurrency_day", f"scope = '{scope}'")
        return self._union("concurrency_day", rollup, fragments.concurrency_days(scope, self._dirty_facts("slot")))

    def authorization_days(self) -> str:
        """Return requests by day."""
        facts = fragments.authorization_days(self._dirty_facts("at"))
        return self._union("authorization_day", self._rollup("authorization_day"), facts)

    def _rollup(self, table: str, condition: str = "true") -> str:
        columns = ROLLUP_COLUMNS[table]
        conditions = [self.scope(), condition]
        if self.dirty is None or self.dirty:
            conditions.append(f"day NOT IN {self._dirty_days()}")
        if self.received and "received_day" in columns:
            conditions += self._days("received_day", self.period, "day")
            conditions += self._days("day", self._slots_of_arrivals(), "slot_day")
        else:
            conditions += self._days("day", self.period, "day")
        return f"SELECT {columns} FROM {table} WHERE {' AND '.join(conditions)}"

    def _dirty_days(self) -> str:
        """Return the set of dirty days."""
        if self.dirty is None:
            return f"({_DIRTY})"
        self.parameters["dirty"] = list(self.dirty)
        return "{dirty:Array(Date)}"

    def _dirty_facts(self, clock: str) -> str:
        return f"{self.facts(clock)} AND toDate({clock}) IN {self._dirty_days()}"

    def _union(self, table: str, rollup: str, facts: str) -> str:
        if self.dirty is not None and not self.dirty:
            return rollup
        return f"{rollup} UNION ALL SELECT {ROLLUP_COLUMNS[table]} FROM ({facts})"

    def _slots_of_arrivals(self) -> Period:
        """Return the days of slots of which reports can have arrived in the range."""
        first, last = self.period.first, self.period.last
        return Period(
            None if first is None else _shifted(first, -_LATE_DAYS),
            None if last is None else _shifted(last, _EARLY_DAYS),
        )

    def _days(self, column: str, period: Period, name: str) -> list[str]:
        conditions = []
        for bound, operator, what in ((period.first, ">=", "first"), (period.last, "<=", "last")):
            if bound is not None:
                self.parameters[f"{what}_{name}"] = bound
                conditions.append(f"{column} {operator} {{{what}_{name}:Date}}")
        return conditions

    def bounds(self, column: str, period: Period, name: str) -> list[str]:
        """Return conditions on instants: sorting keys are found by them, where a function would hide them."""
        conditions = []
        if period.first is not None:
            self.parameters[f"from_{name}"] = _midnight(period.first)
            conditions.append(f"{column} >= {{from_{name}:DateTime('UTC')}}")
        if period.last is not None:
            self.parameters[f"until_{name}"] = _midnight(_shifted(period.last, 1))
            conditions.append(f"{column} < {{until_{name}:DateTime('UTC')}}")
        return conditions


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _shifted(day: date, days: int) -> date:
    """Return a day some days away, within what a Date of ClickHouse can hold."""
    moved = day.toordinal() + days
    return date.fromordinal(min(max(moved, date(1970, 1, 1).toordinal()), date(2106, 2, 6).toordinal()))
