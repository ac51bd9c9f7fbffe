"""Who holds which seat now, and which of them were never used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

__all__ = ["SeatHoldersQuery"]


@dataclass(frozen=True, slots=True)
class SeatHoldersQuery:
    """Live seats at an instant. `used` says whether a report with use was charged to the item during the seat's life;
    a seat that was only ever authorized is one that somebody else could have had."""

    organization_id: str
    at: datetime
    item_id: str | None = None

    columns: ClassVar[Sequence[str]] = (
        "item_id",
        "client_uuid",
        "first_at",
        "last_contact_at",
        "expires_at",
        "project_ids",
        "used",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        parameters: dict[str, Any] = {"organization": self.organization_id, "at": self.at}
        where = "organization_id = {organization:String}"
        if self.item_id is not None:
            parameters["item"] = self.item_id
            where += " AND item_id = {item:String}"
        text = f"""
            WITH holders AS (
                SELECT item_id, client_uuid, first_at, max(last_contact_at) AS last_contact, max(expires_at) AS ends,
                       arraySort(groupUniqArrayIf(toString(project_id), project_id != '')) AS projects
                FROM seats WHERE {where} GROUP BY item_id, client_uuid, first_at
                HAVING first_at <= {{at:DateTime64(3, 'UTC')}} AND ends > {{at:DateTime64(3, 'UTC')}}
            ),
            reports AS (
                -- Seats are refreshed by arrival, and so is "since then" meant.
                SELECT item_id, client_uuid, max(last_use_received) AS latest
                FROM client_spans WHERE {where} GROUP BY item_id, client_uuid
            )
            SELECT item_id, client_uuid, first_at, last_contact, ends, projects,
                   toBool(latest >= first_at)
            FROM holders LEFT JOIN reports USING (item_id, client_uuid)
            ORDER BY item_id, last_contact, client_uuid SETTINGS final = 0
        """
        return text, parameters
