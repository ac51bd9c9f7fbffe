"""Refused requests by code, beside what was used on the same day: does a limit keep people from working?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from licmeter.analytics.query import ALWAYS, Period
from licmeter.analytics.statistics.sources import Days, Source
from licmeter.analytics.statistics.words import ORGANIZATION, Scope, ScopeKind, StatisticsError

__all__ = ["DenialsQuery"]


@dataclass(frozen=True, slots=True)
class DenialsQuery:
    """By day: requests, refusals by code (domain, section 12), units and devices. Of an organization or a project:
    a request that was refused belongs to no item, and raises `StatisticsError`."""

    organization_id: str
    scope: Scope = ORGANIZATION
    period: Period = ALWAYS
    dirty: Days = None

    columns: ClassVar[Sequence[str]] = ("day", "auth", "auth_failed", "codes", "count")

    def __post_init__(self) -> None:
        if self.scope.kind is ScopeKind.ITEM:
            raise StatisticsError("a refused request belongs to no item: ask for a project or the organization")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        project_id = self.scope.name if self.scope.kind is ScopeKind.PROJECT else None
        source = Source(self.organization_id, self.period, project_id=project_id, dirty=self.dirty)
        text = f"""
            SELECT day, sum(asked), sum(refused), sumMap(codes), sum(units)
            FROM (
                SELECT day, requests AS asked, if(outcome = 'refused', requests, 0) AS refused,
                       if(outcome = 'refused', map(toString(code), requests), map()) AS codes, toUInt64(0) AS units
                FROM ({source.authorization_days()})
                UNION ALL
                SELECT day, 0, 0, CAST(map(), 'Map(String, UInt64)'), quantity
                FROM ({source.usage_days("project")})
            )
            GROUP BY day ORDER BY day
        """
        return text, source.parameters
