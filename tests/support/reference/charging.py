"""Charging an accepted report (domain, sections 6, 7 and 8.2)."""

from datetime import datetime
from typing import Any

from tests.support.reference.catalog import CONCURRENT, CUMULATIVE, SEATED, TAGS, ordered_items
from tests.support.reference.domains import domain_key, same_value
from tests.support.reference.history import History, capped, grace
from tests.support.reference.instants import SLOT, budget_year, percent, slot_start


def _matches(item: dict[str, Any], report: dict[str, Any], feature: str | None) -> bool:
    """7.1 without the validation; feature None = a contact without use."""
    if any(report[tag] is not None and item[tag] is not None and report[tag] != item[tag] for tag in TAGS):
        return False
    if feature is not None and item["modules"] and feature not in item["modules"]:
        return False
    slot = report["slot"]
    if item["revoked_at"] is not None and slot >= item["revoked_at"]:
        return False
    return slot + SLOT > item["starts_at"] and slot < item["ends_at"]


def _host_inside(item: dict[str, Any], report: dict[str, Any], suffixes: list[str]) -> bool:
    """The domain fields of a per-domain item: one must match."""
    if report["validation"] is None or report["validation"][0] != "domain":
        return False
    hosts = [value for kind, value in item["fields"] if kind == "domain"]
    return any(same_value("domain", host, report["validation"][1], suffixes) for host in hosts)


def _other_fields_fit(item: dict[str, Any], report: dict[str, Any], suffixes: list[str]) -> bool:
    """G13: a value of a kind that the item names must be one of the item's."""
    if report["validation"] is None:
        return True
    kind, value = report["validation"]
    if kind == "domain" and item["charge_way"] == "per_domain":
        return True
    wanted = [listed for listed_kind, listed in item["fields"] if listed_kind == kind]
    return not wanted or any(same_value(kind, listed, value, suffixes) for listed in wanted)


class Charge:
    """One report on its way through the items of its project."""

    def __init__(
        self,
        history: History,
        organization: dict[str, Any],
        project: dict[str, Any],
        report: dict[str, Any],
        line: int,
        received: datetime,
        late: bool,
    ) -> None:
        self.history = history
        self.name = organization["organization_id"]
        self.suffixes = organization["platform_suffixes"]
        self.project = project
        self.report = report
        self.client = report["client"]
        self.slot = report["slot"]
        self.line = line
        self.t = received
        self.late = late
        self.items = ordered_items(organization, project)
        #: Of features of which something ended uncharged: items that refused, in consumption order.
        self.full: list[dict[str, Any]] = []
        self.outside: list[dict[str, Any]] = []

    def _eligible(self, feature: str | None) -> list[dict[str, Any]]:
        return [
            item
            for item in self.items
            if _matches(item, self.report, feature)
            and _other_fields_fit(item, self.report, self.suffixes)
            and (item["charge_way"] != "per_domain" or _host_inside(item, self.report, self.suffixes))
        ]

    def run(self) -> str:
        counts = {feature: count for feature, count in self.report["counts"].items() if count > 0}
        if not counts:  # A6, G5
            named = [*self.report["counts"]] or [None]
            items = [item for feature in named for item in self._eligible(feature)]
            for item in items:
                if item["charge_way"] in SEATED and self.client in self._live(item):
                    self.history.contact(self.name, item, self.client, self.t)
            return "charged" if items else "uncharged"
        for feature in sorted(counts):
            self._feature(feature, counts[feature])
        mine = [part for part in self.history.parts if part["line"] == self.line]
        self._refusals()
        if any(part["item_id"] is not None for part in mine):
            return "charged"
        self.history.tell(
            "unlicensed_use",
            (self.name, self.project["project_id"], self.slot, self.client),
            **self._about(None, self.slot),
            client_uuid=self.client,
        )
        return "uncharged"

    def _live(self, item: dict[str, Any]) -> set[str]:
        return self.history.live(self.name, item["item_id"], self.t)

    def _x(self, item: dict[str, Any]) -> int:
        return (self.report["instances"] or 1) if item["charge_way"] == "per_concurrent_instance" else 1

    # --- 7.3

    def _feature(self, feature: str, rest: int) -> None:
        eligible = self._eligible(feature)
        before = {item["item_id"]: self._figures(item) for item in eligible}
        rest = self._pass_quota(feature, eligible, rest)
        rest = self._pass_grace(feature, eligible, rest)
        takers = [item for item in eligible if item["charge_way"] in CUMULATIVE + CONCURRENT]
        if rest and takers:
            self._take(takers[-1], feature, rest, "over")
            rest = 0
        if rest:
            self._take(None, feature, rest, "")
            self.full += [item for item in eligible if item["charge_way"] in SEATED]
            self.outside += [item for item in self.items if self._host_refused(item, feature)]
        for item in eligible:
            self._crossings(item, before[item["item_id"]], self._figures(item))

    def _host_refused(self, item: dict[str, Any], feature: str) -> bool:
        named = self.report["validation"] is not None and self.report["validation"][0] == "domain"
        return (
            named
            and item["charge_way"] == "per_domain"
            and _matches(item, self.report, feature)
            and not _host_inside(item, self.report, self.suffixes)
        )

    def _passed_over(self, item: dict[str, Any], eligible: list[dict[str, Any]]) -> bool:
        """V6, G6: a device with a live seat stays with it."""
        seats = [i for i in eligible if i["charge_way"] in SEATED and self.client in self._live(i)]
        return bool(seats) and item not in seats

    def _pass_quota(self, feature: str, eligible: list[dict[str, Any]], rest: int) -> int:
        for item in eligible:
            if not rest:
                break
            way, quota, name = item["charge_way"], item["quota"], item["item_id"]
            if way in CUMULATIVE:
                free = rest if quota is None else max(0, quota - self.history.used(self.name, name))
                amount = min(rest, free)
            elif way in SEATED:
                live = self._live(item)
                free_seat = quota is None or len(live) < quota
                ok = self.client in live or (free_seat and not self._passed_over(item, eligible))
                amount = rest if ok else 0
            elif way in CONCURRENT:
                seats = self.history.allotted(self.name, name, self.slot)
                ok = quota is None or self.client in seats or sum(seats.values()) + self._x(item) <= quota
                amount = rest if ok else 0
            else:
                amount = rest
            if amount:
                self._take(item, feature, amount, "quota")
                rest -= amount
        return rest

    def _pass_grace(self, feature: str, eligible: list[dict[str, Any]], rest: int) -> int:
        for item in eligible:
            if not rest:
                break
            way, quota, name = item["charge_way"], item["quota"], item["item_id"]
            amount = 0
            if way in CUMULATIVE and quota is not None:
                amount = min(rest, max(0, quota + grace(item) - self.history.used(self.name, name)))
            elif way in SEATED and quota is not None:
                free_seat = len(self._live(item)) < quota + grace(item)
                amount = rest if free_seat and not self._passed_over(item, eligible) else 0
            elif way in CONCURRENT:
                amount = 0 if capped(self.history, self.name, item, self.slot) else rest
            if amount:
                self._take(item, feature, amount, "grace")
                rest -= amount
        return rest

    def _take(self, item: dict[str, Any] | None, feature: str, amount: int, tier: str) -> None:
        way = None if item is None else item["charge_way"]
        part = {
            "line": self.line,
            "organization_id": self.name,
            "project_id": self.project["project_id"],
            "item_id": None if item is None else item["item_id"],
            "client": self.client,
            "slot": self.slot,
            "feature": feature,
            "quantity": amount,
            "tier": tier,
            "in_quota": amount if way in CUMULATIVE and tier == "quota" else 0,
            "in_grace": amount if way in CUMULATIVE and tier == "grace" else 0,
            "over": amount if way in CUMULATIVE and tier == "over" else 0,
            "x": 0,
            "exceptions": 0,
            "year": None,
            "in_expiry_grace": item is not None and self.slot >= item["expires_at"],
            "order": len(self.items) if item is None else self.items.index(item),
        }
        if item is not None and way in SEATED:
            self.history.contact(self.name, item, self.client, self.t)
        before = 0 if item is None else self._allotted(item)
        part["x"] = self._x(item) if item is not None and way in CONCURRENT else 0
        self.history.parts.append(part)
        if item is not None and way in CONCURRENT:
            part["year"] = budget_year(self.slot, item["starts_at"])
            quota = item["quota"]
            if quota is not None:  # G8
                part["exceptions"] = max(0, self._allotted(item) - quota) - max(0, before - quota)

    def _allotted(self, item: dict[str, Any]) -> int:
        return sum(self.history.allotted(self.name, item["item_id"], self.slot).values())

    # --- 8.2

    def _figures(self, item: dict[str, Any]) -> dict[str, int]:
        name = item["item_id"]
        year = budget_year(self.slot, item["starts_at"])
        return {
            "used": self.history.used(self.name, name),
            "active": len(self._live(item)),
            "exceptions": self.history.exceptions(self.name, name, self.slot),
            "consumed": self.history.consumed(self.name, name, year),
        }

    def _about(self, item: dict[str, Any] | None, slot: datetime) -> dict[str, Any]:
        return {
            "organization_id": self.name,
            "project_id": self.project["project_id"],
            "item_id": None if item is None else item["item_id"],
            "slot": slot,
            "late": self.late,
            "at": self.t,
        }

    def _crossings(self, item: dict[str, Any], before: dict[str, int], after: dict[str, int]) -> None:
        way, quota = item["charge_way"], item["quota"]
        if quota is None or way == "per_domain":
            return
        if way in CUMULATIVE:
            tell_crossings(self.history, item, before["used"], after["used"], quota, **self._about(item, self.slot))
        elif way in SEATED:
            slot = slot_start(self.t)
            tell_crossings(self.history, item, before["active"], after["active"], slot, **self._about(item, slot))
        else:
            about = self._about(item, self.slot)
            if after["exceptions"] > before["exceptions"]:
                allotted = self._allotted(item)
                self.history.tell(
                    "concurrency_exceeded",
                    (self.name, item["item_id"], self.slot),
                    **about,
                    quota=quota,
                    limit=quota,
                    value=allotted,
                    percent=percent(allotted, quota),
                )
            budget = item["budget"]
            if before["consumed"] < budget <= after["consumed"]:
                self.history.tell(
                    "overuse_exhausted",
                    (self.name, item["item_id"], budget_year(self.slot, item["starts_at"])),
                    **about,
                    quota=quota,
                    limit=budget,
                    value=after["consumed"],
                    percent=percent(after["consumed"], budget),
                )

    def _refusals(self) -> None:
        about = self._about(None, slot_start(self.t))
        full = [item["item_id"] for item in self.full]
        outside = [item["item_id"] for item in self.outside]
        for item in self.items:
            if item["item_id"] in full:
                tell_device_refused(self.history, item, self.client, self.t, **about)
        for item in self.items:
            if item["item_id"] in outside:
                host = self.report["validation"][1]
                tell_domain_refused(self.history, item, domain_key(host, self.suffixes), self.t, **about)


def tell_crossings(
    history: History, item: dict[str, Any], before: int, after: int, identity: Any, **about: Any
) -> None:
    """Q, then Q + G; the identity of a cumulative crossing is the quota, of a gauge's the slot."""
    quota = item["quota"]
    if quota is None:
        return
    for kind, limit in (("quota_reached", quota), ("grace_exhausted", quota + grace(item))):
        if before < limit <= after:
            history.tell(
                kind,
                (about["organization_id"], item["item_id"], identity),
                **about,
                quota=quota,
                limit=limit,
                value=after,
                percent=percent(after, quota),
            )


def tell_device_refused(history: History, item: dict[str, Any], client: str, t: datetime, **about: Any) -> None:
    active = len(history.live(about["organization_id"], item["item_id"], t))
    history.tell(
        "device_refused",
        (about["organization_id"], item["item_id"], client, t.date()),
        **about | {"item_id": item["item_id"]},
        client_uuid=client,
        quota=item["quota"],
        limit=item["quota"] + grace(item),
        value=active,
        percent=percent(active, item["quota"]),
    )


def tell_domain_refused(history: History, item: dict[str, Any], key: str, t: datetime, **about: Any) -> None:
    history.tell(
        "domain_refused",
        (about["organization_id"], item["item_id"], key, t.date()),
        **about | {"item_id": item["item_id"]},
        detail=key,
    )
