"""The ten-minute checks (domain, section 11)."""

from datetime import datetime, timedelta
from typing import Any

from tests.support.reference.catalog import CONCURRENT, CUMULATIVE
from tests.support.reference.history import History, measure, state
from tests.support.reference.instants import CHECK, YEAR, budget_year, ceil_to, floor_to, percent

DAY = timedelta(days=1)
#: How many codes a failure ratio names.
TOP_CODES_MAX = 5


class Checks:
    """What was notified before, and what a check finds."""

    def __init__(self, history: History) -> None:
        self.history = history
        #: (scope, organization, item or project) → levels that are held.
        self.held: dict[tuple[str, str, str], set[int]] = {}
        self.reminded: set[tuple[str, str, datetime, int]] = set()

    def run(self, organizations: dict[str, dict[str, Any]], now: datetime) -> None:
        """One check, on all that arrived before `now`."""
        for name in sorted(organizations):
            organization = organizations[name]
            conditions: list[dict[str, Any]] = []
            for item_id in sorted(organization["items"]):
                conditions += self._item(organization, organization["items"][item_id], now)
            for project_id in sorted(organization["projects"]):
                conditions += self._project(organization, project_id, now)
            if conditions:
                self.history.alerts.append(
                    {
                        "organization_id": name,
                        "checked_at": now,
                        "conditions": conditions,
                        "recipients": organization["alerts"]["recipients"],
                    }
                )

    def _newly(self, key: tuple[str, str, str], levels: list[int], value: int, whole: int) -> list[int]:
        """W4 to W7: levels newly passed, ascending."""
        held = self.held.setdefault(key, set())
        for level in sorted(held):
            if value * 100 < (level - self.history.limits.rearm_points) * whole:
                held.remove(level)
        new = [level for level in levels if value * 100 >= level * whole and level not in held]
        held |= set(new)
        return new

    def _item(self, organization: dict[str, Any], item: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
        name, settings = organization["organization_id"], organization["alerts"]
        current = state(self.history, name, item, now)
        if current in ("pending", "revoked", "expired"):  # W9, G18
            return []
        about = {
            "scope": "item",
            "item_id": item["item_id"],
            "project_ids": sorted(
                project["project_id"]
                for project in organization["projects"].values()
                if item["item_id"] in project["item_ids"]
            ),
            "charge_way": item["charge_way"],
            "state": current,
        }
        found = []
        metric, value, whole = measure(self.history, name, item, now)
        if whole is not None:
            way = item["charge_way"]
            kind = (
                "cumulative_levels"
                if way in CUMULATIVE
                else "concurrency_levels"
                if way in CONCURRENT
                else "daily_device_levels"
                if item["daily"]
                else "device_levels"
            )
            new = self._newly(("item", name, item["item_id"]), settings[kind], value, whole)
            if new:
                found.append(
                    about
                    | {
                        "metric": metric,
                        "value": value,
                        "quota": whole,
                        "percent": percent(value, whole),
                        "level": new[-1],
                        "crossed": new,
                    }
                )
        due = [
            days
            for days in settings["expiry_reminder_days"]
            if item["expires_at"] - days * DAY <= now < item["expires_at"]
            and (name, item["item_id"], item["expires_at"], days) not in self.reminded
        ]
        if due:
            self.reminded |= {(name, item["item_id"], item["expires_at"], days) for days in due}
            left = (item["expires_at"] - now) // DAY
            found.append(about | {"metric": "expires_in_days", "value": left, "level": due[0], "crossed": due})
        return found

    def _project(self, organization: dict[str, Any], project_id: str, now: datetime) -> list[dict[str, Any]]:
        name, settings = organization["organization_id"], organization["alerts"]
        requests = [
            request
            for request in self.history.requests
            if (request["organization_id"], request["project_id"]) == (name, project_id)
            and now - self.history.limits.failure_window <= request["at"] < now
        ]
        if len(requests) < settings["failure_requests_min"]:  # W8, E32
            return []
        failed = [request for request in requests if request["failed"]]
        new = self._newly(("project", name, project_id), settings["failure_levels"], len(failed), len(requests))
        if not new:
            return []
        numbers = [request["number"] for request in failed if request["number"] is not None]
        return [
            {
                "scope": "project",
                "project_id": project_id,
                "metric": "auth_failed_ratio",
                "value": len(failed),
                "quota": len(requests),
                "percent": percent(len(failed), len(requests)),
                "level": new[-1],
                "crossed": new,
                "window_minutes": self.history.limits.failure_window // timedelta(minutes=1),
                # The most frequent ones, of equals the lower number.
                "top_codes": {
                    str(number): numbers.count(number)
                    for number in sorted(set(numbers), key=lambda each: (-numbers.count(each), each))[:TOP_CODES_MAX]
                },
            }
        ]


def check_instants(
    history: History, organizations: dict[str, dict[str, Any]], after: datetime, until: datetime
) -> list[datetime]:
    """The checks in (after, until] at which anything can differ from the check before, if no event comes between.

    The first one, and those around every instant at which time alone changes something; a check that sees what the
    one before saw finds nothing new (W6).
    """
    moments = [contact["end"] for contact in history.contacts]
    for request in history.requests:
        moments += [request["at"], request["at"] + history.limits.failure_window]
    for organization in organizations.values():
        for item in organization["items"].values():
            moments += [item["starts_at"], item["expires_at"], item["ends_at"]]
            moments += [item["revoked_at"]] if item["revoked_at"] is not None else []
            moments += [item["expires_at"] - days * DAY for days in organization["alerts"]["expiry_reminder_days"]]
            years = range(budget_year(after, item["starts_at"]), budget_year(until, item["starts_at"]) + 1)
            moments += [item["starts_at"] + year * YEAR for year in years]
    instants = {after + CHECK}
    for moment in moments:
        if after - CHECK <= moment <= until:
            instants |= {ceil_to(moment, CHECK), floor_to(moment, CHECK) + CHECK}
    return sorted(instant for instant in instants if after < instant <= until)


def every_check(after: datetime, until: datetime) -> list[datetime]:
    """All of them: what `check_instants` shortens."""
    return [after + n * CHECK for n in range(1, (until - after) // CHECK + 1)]
