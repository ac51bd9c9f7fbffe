"""Usage by project and by item, and the outcomes of all records (domain, section 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from licmeter.analytics.query import ALWAYS, Period

__all__ = [
    "AuthorizationTotals",
    "ItemCountersQuery",
    "ItemUsage",
    "OrganizationsQuery",
    "OutcomeTotals",
    "ProjectUsage",
    "RejectTotals",
]


@dataclass(frozen=True, slots=True)
class OrganizationsQuery:
    """The organizations that have any row; the one query that is not bound to an organization."""

    columns: ClassVar[Sequence[str]] = ("organization_id",)

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = """
            SELECT DISTINCT organization_id FROM organization_counters WHERE organization_id != ''
            ORDER BY organization_id
        """
        return text, {}


@dataclass(frozen=True, slots=True)
class ProjectUsage:
    """Features of each project: counts, reports, devices, and how many instances were in use at once.

    `in_use` is the number of instances in the feature's latest slot, and `peak_in_use` the largest of any slot: a
    client's instances in a slot are the highest number it declared there (I3), so that a repeated observation does
    not count twice. Reservations are kept apart. Use without a count is a contact, and no use (A6).
    """

    organization_id: str
    period: Period = ALWAYS
    project_id: str | None = None

    columns: ClassVar[Sequence[str]] = (
        "project_id",
        "feature",
        "count",
        "submit",
        "devices",
        "in_use",
        "reserved",
        "peak_in_use",
        "latest_slot",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        condition = self.period.condition("slot", parameters)
        if self.project_id is not None:
            parameters["project"] = self.project_id
            condition += " AND project_id = {project:String}"
        text = f"""
            WITH reports AS (
                -- A feature of a report may be split over several items: its lines are added first.
                SELECT project_id, feature, slot, client_uuid, usage_kind, source_partition, source_offset,
                       sum(quantity) AS report_units, max(instances) AS declared
                FROM usage_attributed
                WHERE organization_id = {{organization:String}} AND outcome != 'duplicate' AND feature != ''
                  AND {condition}
                GROUP BY ALL
            ),
            clients AS (
                SELECT project_id, feature, slot, client_uuid, usage_kind, sum(report_units) AS units,
                       count() AS reports, maxIf(declared, report_units > 0) AS held
                FROM reports GROUP BY ALL
            ),
            slots AS (
                SELECT project_id, feature, slot, sum(units) AS slot_units, sum(reports) AS slot_reports,
                       uniqExactStateIf(client_uuid, units > 0 AND usage_kind = 'use') AS users,
                       sumIf(held, usage_kind = 'use') AS used, sumIf(held, usage_kind = 'reservation') AS kept
                FROM clients GROUP BY ALL
            )
            SELECT project_id, feature, sum(slot_units), sum(slot_reports), uniqExactMerge(users),
                   argMax(used, slot), argMax(kept, slot), max(used + kept), max(slot)
            FROM slots GROUP BY project_id, feature
            ORDER BY project_id, feature
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class AuthorizationTotals:
    """Authorization requests by answer and code (measures `auth` and `auth_failed`); repeats are told apart."""

    organization_id: str
    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = ("outcome", "code", "count")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        text = f"""
            SELECT outcome, code, count() FROM authorizations
            WHERE organization_id = {{organization:String}} AND {self.period.condition("at", parameters)}
            GROUP BY outcome, code ORDER BY outcome, count() DESC, code
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class ItemUsage:
    """Features charged to each item, over all projects."""

    organization_id: str
    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = (
        "item_id",
        "feature",
        "count",
        "in_quota",
        "in_grace",
        "over",
        "exceptions",
        "submit",
        "devices",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        text = f"""
            SELECT item_id, feature, sum(quantity), sum(in_quota), sum(in_grace), sum(over), sum(exceptions),
                   uniqExact(source_partition, source_offset), uniqExact(client_uuid)
            FROM usage_attributed
            WHERE organization_id = {{organization:String}} AND item_id != ''
              AND {self.period.condition("slot", parameters)}
            GROUP BY item_id, feature
            ORDER BY item_id, feature
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class ItemCountersQuery:
    """Where each item stands: the stream's own absolute counters."""

    organization_id: str

    columns: ClassVar[Sequence[str]] = (
        "item_id",
        "charge_way",
        "quota",
        "used",
        "in_quota",
        "in_grace",
        "over",
        "attributed",
        "active",
        "consumed",
        "budget",
        "budget_year",
        "percent",
        "state",
        "updated_at",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = f"""
            SELECT {", ".join(self.columns)} FROM license_counters
            WHERE organization_id = {{organization:String}} ORDER BY item_id
        """
        return text, {"organization": self.organization_id}


@dataclass(frozen=True, slots=True)
class OutcomeTotals:
    """Reports by outcome, counted from the rows of reports (line 0), not from the stream's counters."""

    organization_id: str
    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = ("charged", "uncharged", "duplicate", "last_received_at")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        text = f"""
            SELECT countIf(outcome = 'charged'), countIf(outcome = 'uncharged'), countIf(outcome = 'duplicate'),
                   maxOrNull(received_at)
            FROM usage_attributed
            WHERE organization_id = {{organization:String}} AND line = 0 AND {self.period.condition("slot", parameters)}
        """
        return text, parameters


@dataclass(frozen=True, slots=True)
class RejectTotals:
    """Rejected records of `usage.events` by reason; `organization_id` is the key that they came with."""

    organization_id: str
    period: Period = ALWAYS

    columns: ClassVar[Sequence[str]] = ("reason", "count", "last_received_at")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id}
        text = f"""
            SELECT reason, count(), max(received_at) FROM usage_rejected
            WHERE organization_id = {{organization:String}} AND source_topic = 'usage.events'
              AND {self.period.condition("received_at", parameters)}
            GROUP BY reason ORDER BY reason
        """
        return text, parameters
