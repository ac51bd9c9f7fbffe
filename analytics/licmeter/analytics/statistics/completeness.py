"""Completeness: are reports missing, or was less used?

A client that was in use lately and says nothing may be off, or its reports may be waiting on it. Which of the two,
nobody can see; how many clients it is about, and how long they are silent, can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from licmeter.analytics.statistics.words import ORGANIZATION, Scope, ScopeKind

__all__ = ["KNOWN_DAYS", "CompletenessQuery", "SilentClientsQuery"]

#: Clients seen within this time are expected to report: what they keep is gone after as long (L3).
KNOWN_DAYS: Final = 30
CLIENTS_MAX: Final = 1_000


def _spans(organization_id: str, scope: Scope, at: datetime) -> tuple[str, dict[str, Any]]:
    """Return one row for each client: when it was first in use, and last heard of."""
    parameters: dict[str, Any] = {"organization": organization_id, "at": at}
    where = "organization_id = {organization:String}"
    if scope.kind is not ScopeKind.ORGANIZATION:
        parameters["name"] = scope.name
        where += f" AND {scope.kind.value}_id = {{name:String}}"
    # Without FINAL: minimum and maximum are taken here, whether the parts were merged or not.
    text = f"""
        SELECT client_uuid, max(last_received_at) AS heard_at, max(last_report_at) AS reported_at,
               max(last_use_at) AS used_at, min(first_use_at) AS first_at
        FROM client_spans WHERE {where} GROUP BY client_uuid SETTINGS final = 0
    """
    return text, parameters


@dataclass(frozen=True, slots=True)
class CompletenessQuery:
    """Clients heard of in the last 30 days, by how long they have been silent at an instant. One row.

    `reporting` were heard of within the last day. The others are silent for over 1, 3, 7 and 14 days (each of them in
    one column only). `lost` were heard of before, and not within 30 days: their stored reports are gone, if there were
    any. `oldest_unreported_at` is the earliest of the latest slots of the silent ones: figures before it are complete
    as far as known clients go.
    """

    organization_id: str
    at: datetime
    scope: Scope = ORGANIZATION

    columns: ClassVar[Sequence[str]] = (
        "known",
        "reporting",
        "silent_1d",
        "silent_3d",
        "silent_7d",
        "silent_14d",
        "lost",
        "oldest_unreported_at",
        "last_heard_at",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        spans, parameters = _spans(self.organization_id, self.scope, self.at)
        text = f"""
            SELECT countIf(days < {KNOWN_DAYS}), countIf(days < 1), countIf(days >= 1 AND days < 3),
                   countIf(days >= 3 AND days < 7), countIf(days >= 7 AND days < 14),
                   countIf(days >= 14 AND days < {KNOWN_DAYS}), countIf(days >= {KNOWN_DAYS}),
                   minOrNullIf(reported_at, days >= 1 AND days < {KNOWN_DAYS} AND toUnixTimestamp(reported_at) > 0),
                   maxOrNull(heard_at)
            FROM (
                SELECT *, (toUnixTimestamp64Milli({{at:DateTime64(3, 'UTC')}}) - toUnixTimestamp64Milli(heard_at))
                          / 86400000 AS days
                FROM ({spans})
            )
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class SilentClientsQuery:
    """Clients heard of in the last 30 days but not in the last day: the longest silent first."""

    organization_id: str
    at: datetime
    scope: Scope = ORGANIZATION

    columns: ClassVar[Sequence[str]] = ("client_uuid", "last_heard_at", "last_report_at", "last_use_at")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        spans, parameters = _spans(self.organization_id, self.scope, self.at)
        text = f"""
            SELECT client_uuid, heard_at, nullIf(reported_at, toDateTime64(0, 3, 'UTC')),
                   nullIf(used_at, toDateTime64(0, 3, 'UTC'))
            FROM ({spans})
            WHERE heard_at < {{at:DateTime64(3, 'UTC')}} - INTERVAL 1 DAY
              AND heard_at >= {{at:DateTime64(3, 'UTC')}} - INTERVAL {KNOWN_DAYS} DAY
            ORDER BY heard_at, client_uuid LIMIT {CLIENTS_MAX}
        """
        return text, parameters
