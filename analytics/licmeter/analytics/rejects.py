"""Rejected records by reason and day (domain, section 5).

An organization is the key that a record came with, so it may be one that no catalog knows. Days are those of arrival.
A record that was put back and rejected again is a reject of its own; `again` says how many are such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from licmeter.analytics.query import ALWAYS, Period

__all__ = ["OVERVIEW_ROWS_MAX", "RejectDays", "RejectOverview"]

#: A key is the sender's word, so there may be any number of organizations.
OVERVIEW_ROWS_MAX = 1_000
#: What `licmeter rejects replay` adds to a record (`licmeter.schemas.replays`).
_AGAIN = "countIf(arrayExists(header -> header.name = 'licmeter-replay-run', headers))"


@dataclass(frozen=True, slots=True)
class RejectDays:
    """Rejects of one organization by day and reason."""

    organization_id: str
    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = ("day", "reason", "count", "again", "bytes", "first_at", "last_at")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        text = f"""
            SELECT toDate(received_at) AS day, reason, count(), {_AGAIN}, sum(payload_bytes),
                   min(received_at), max(received_at)
            FROM usage_rejected
            WHERE organization_id = {{organization:String}} AND source_topic = 'usage.events'
              AND {self.period.condition("received_at", parameters)}
            GROUP BY day, reason ORDER BY day, reason
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class RejectOverview:
    """Rejects of all organizations by reason, for who runs the system: not bound to an organization (Q11)."""

    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = ("organization_id", "reason", "count", "again", "first_at", "last_at")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {}
        text = f"""
            SELECT organization_id, reason, count() AS rejects, {_AGAIN}, min(received_at), max(received_at)
            FROM usage_rejected
            WHERE source_topic = 'usage.events' AND {self.period.condition("received_at", parameters)}
            GROUP BY organization_id, reason ORDER BY rejects DESC, organization_id, reason
            LIMIT {OVERVIEW_ROWS_MAX}
        """
        return text, parameters
