"""The whole history as lists, and the questions that are asked of it; every answer is a sum over a list."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.support.reference.catalog import CONCURRENT, CUMULATIVE, SEATED
from tests.support.reference.instants import budget_year, percent


@dataclass(frozen=True)
class Limits:
    """The configurable numbers of section 14."""

    count_max: int = 1_000_000
    features_max: int = 64
    skew: timedelta = timedelta(hours=24)
    future: timedelta = timedelta(minutes=5)
    oldest: timedelta = timedelta(days=30)
    memory: timedelta = timedelta(days=32)
    closing: timedelta = timedelta(minutes=6)
    notices_max: int = 10_000
    failure_window: timedelta = timedelta(minutes=60)
    rearm_points: int = 5


class History:
    """Lists to which things are added, and never taken away."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        #: One entry for each pass in which an item (or nothing: item_id None) took units of a feature.
        self.parts: list[dict[str, Any]] = []
        #: {organization_id, item_id, client, t, end}
        self.contacts: list[dict[str, Any]] = []
        #: {organization_id, item_id, client, x, until}
        self.leases: list[dict[str, Any]] = []
        #: {organization_id, project_id, at, failed, number}: what the failure ratio counts.
        self.requests: list[dict[str, Any]] = []
        #: {kind, organization_id, client, id, content, received}
        self.accepted: list[dict[str, Any]] = []
        self.breaches: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []

    # --- repeats, A1 and A3

    def seen(self, kind: str, organization_id: str, client: str, event_id: str, now: datetime) -> dict[str, Any] | None:
        for entry in self.accepted:
            key = (entry["kind"], entry["organization_id"], entry["client"], entry["id"])
            # Whole UTC days: what is remembered is kept by the day (limits, `duplicate_days`).
            remembered = (now.date() - entry["received"].date()).days <= self.limits.memory.days
            if key == (kind, organization_id, client, event_id) and remembered:
                return entry
        return None

    # --- cumulative items

    def parts_of(self, organization_id: str, item_id: str) -> list[dict[str, Any]]:
        return [p for p in self.parts if (p["organization_id"], p["item_id"]) == (organization_id, item_id)]

    def units(self, organization_id: str, item_id: str, name: str) -> int:
        """`name`: quantity, in_quota, in_grace or over."""
        return sum(part[name] for part in self.parts_of(organization_id, item_id))

    def used(self, organization_id: str, item_id: str) -> int:
        return sum(self.units(organization_id, item_id, name) for name in ("in_quota", "in_grace", "over"))

    # --- seats

    def seat_end(self, organization_id: str, item_id: str, client: str) -> datetime | None:
        """G1: a contact never shortens a seat's end."""
        key = (organization_id, item_id, client)
        ends = [c["end"] for c in self.contacts if (c["organization_id"], c["item_id"], c["client"]) == key]
        return max(ends, default=None)

    def live(self, organization_id: str, item_id: str, t: datetime) -> set[str]:
        return {
            contact["client"]
            for contact in self.contacts
            if (contact["organization_id"], contact["item_id"]) == (organization_id, item_id) and contact["end"] > t
        }

    def contact(self, organization_id: str, item: dict[str, Any], client: str, t: datetime) -> None:
        """V2."""
        cap = item["expires_at"] if t < item["expires_at"] else item["ends_at"]
        self.contacts.append(
            {
                "organization_id": organization_id,
                "item_id": item["item_id"],
                "client": client,
                "t": t,
                "end": min(t + item["period"], cap),
            }
        )

    # --- concurrency

    def allotted(self, organization_id: str, item_id: str, slot: datetime) -> dict[str, int]:
        """Client → seats of it in the slot: the highest that it declared (I3)."""
        seats: dict[str, int] = {}
        for part in self.parts_of(organization_id, item_id):
            if part["slot"] == slot and part["x"]:
                seats[part["client"]] = max(seats.get(part["client"], 0), part["x"])
        return seats

    def exceptions(self, organization_id: str, item_id: str, slot: datetime) -> int:
        return sum(p["exceptions"] for p in self.parts_of(organization_id, item_id) if p["slot"] == slot)

    def consumed(self, organization_id: str, item_id: str, year: int) -> int:
        return sum(p["exceptions"] for p in self.parts_of(organization_id, item_id) if p["year"] == year)

    def leased(self, organization_id: str, item_id: str, t: datetime) -> dict[str, int]:
        seats: dict[str, int] = {}
        for lease in self.leases:
            if (lease["organization_id"], lease["item_id"]) == (organization_id, item_id) and lease["until"] > t:
                seats[lease["client"]] = max(seats.get(lease["client"], 0), lease["x"])
        return seats

    # --- breach events (8.2)

    def tell(self, kind: str, identity: tuple[Any, ...], **payload: Any) -> None:
        """One message for each identity."""
        whole = (kind, *identity)
        if any(breach["identity"] == whole for breach in self.breaches):
            return
        notices = ("unlicensed_use", "clock_skew", "unknown_project")
        if kind in notices:
            told = [
                breach
                for breach in self.breaches
                if breach["kind"] in notices
                and breach["organization_id"] == payload["organization_id"]
                and breach["at"].date() == payload["at"].date()
            ]
            if len(told) >= self.limits.notices_max:  # G12
                return
        self.breaches.append({"kind": kind, "identity": whole, **payload})


def grace(item: dict[str, Any]) -> int:
    """Section 6: round half up, 5 % of cumulative quotas and 10 % of seats."""
    if item["charge_way"] in CUMULATIVE:
        return (5 * item["quota"] + 50) // 100
    if item["charge_way"] in SEATED:
        return (10 * item["quota"] + 50) // 100
    raise ValueError("only cumulative and device items have grace")


def capped(history: History, organization_id: str, item: dict[str, Any], at: datetime) -> bool:
    """N4, in the budget year of `at`."""
    if item["budget"] is None:
        return False
    year = budget_year(at, item["starts_at"])
    return history.consumed(organization_id, item["item_id"], year) >= item["budget"]


def measure(history: History, organization_id: str, item: dict[str, Any], now: datetime) -> tuple[str, int, int | None]:
    """W3: the metric of an item, its value, and what 100 percent is."""
    name = item["item_id"]
    if item["charge_way"] in CUMULATIVE:
        return "used", history.used(organization_id, name), item["quota"]
    if item["charge_way"] in SEATED:
        return "active", len(history.live(organization_id, name, now)), item["quota"]
    if item["charge_way"] in CONCURRENT:
        year = budget_year(now, item["starts_at"])
        return "consumed", history.consumed(organization_id, name, year), item["budget"]
    return "", 0, None


def state(history: History, organization_id: str, item: dict[str, Any], now: datetime) -> str:
    """8.1, first match wins."""
    if item["revoked_at"] is not None and now >= item["revoked_at"]:
        return "revoked"
    if now < item["starts_at"]:
        return "pending"
    if now >= item["ends_at"]:
        return "expired"
    _metric, value, whole = measure(history, organization_id, item, now)
    if whole is None:
        return "active"
    if item["charge_way"] in CONCURRENT:
        return "capped" if value >= whole else "overusing" if value > 0 else "active"
    if value >= whole + grace(item):
        return "blocked"
    return "grace" if value >= whole else "active"


def item_row(history: History, organization_id: str, item: dict[str, Any], now: datetime) -> dict[str, Any]:
    """One entry of `items` in the output."""
    name = item["item_id"]
    concurrent = item["charge_way"] in CONCURRENT
    year = budget_year(now, item["starts_at"]) if concurrent else None
    _metric, value, whole = measure(history, organization_id, item, now)
    row = {
        "organization_id": organization_id,
        "item_id": name,
        "charge_way": item["charge_way"],
        "quota": item["quota"],
        "used": history.used(organization_id, name),
        "in_quota": history.units(organization_id, name, "in_quota"),
        "in_grace": history.units(organization_id, name, "in_grace"),
        "over": history.units(organization_id, name, "over"),
        "attributed": history.units(organization_id, name, "quantity"),
        "active": len(history.live(organization_id, name, now)),
        "consumed": 0 if year is None else history.consumed(organization_id, name, year),
        "budget": item["budget"],
        "budget_year": year,
        "percent": percent(value, whole),
        "state": state(history, organization_id, item, now),
        "in_expiry_grace": item["expires_at"] <= now < item["ends_at"],
    }
    if concurrent:
        slots = sorted({part["slot"] for part in history.parts_of(organization_id, name)})
        row["slots"] = {
            slot.isoformat().replace("+00:00", "Z"): {
                "allotted": sum(history.allotted(organization_id, name, slot).values()),
                "exceptions": history.exceptions(organization_id, name, slot),
            }
            for slot in slots
        }
    return row
