"""The authorization verdict (domain, section 9) and what a granted one takes."""

from datetime import datetime, timedelta
from typing import Any

from tests.support.reference.catalog import CONCURRENT, CUMULATIVE, SEATED, item_end, ordered_items
from tests.support.reference.domains import same_value
from tests.support.reference.history import History, capped, grace
from tests.support.reference.instants import SLOT, slot_start

#: The checks of an item, in the order of section 9.
STAGES = (
    "product_mismatch",
    "version_mismatch",
    "deployment_mismatch",
    "edition_mismatch",
    "item_validation_mismatch",
    "charge_way_mismatch",
    "not_started",
    "expired",
    "item_invalid",
    "missing_dependency",
    "request_count_exceeded",
    "limit_exceeded",
)
_IDENTITY = STAGES[:4]


def locate(
    organizations: dict[str, dict[str, Any]], request: dict[str, Any]
) -> tuple[str | None, dict[str, Any] | None]:
    """Codes 123, 121, 101, 122: returns (slug, None) or (None, project)."""
    name, subject = request["organization"], request["subject"]
    if name is None:
        return "nothing_named", None
    organization = organizations.get(name)
    if organization is None:
        return "unknown_organization", None
    if subject is None:
        default = organization["default_project_id"]
        return ("unknown_organization", None) if default is None else (None, organization["projects"][default])
    if subject in organization["projects"]:
        return None, organization["projects"][subject]
    owner = organizations.get(subject.partition("-")[0])
    if owner is not None and subject in owner["projects"]:
        return "project_organization_mismatch", None
    return "unknown_project", None


def _field_matches(fields: list[tuple[str, str]], request: dict[str, Any], suffixes: list[str]) -> bool:
    """Without fields anything goes; else what the request names must be one of them."""
    if not fields:
        return True
    if request["validation"] is None:
        return False
    kind, value = request["validation"]
    return any(kind == listed and same_value(kind, value, known, suffixes) for listed, known in fields)


def _mismatch(value: str | None, wanted: str | None) -> bool:
    return value is not None and wanted is not None and value != wanted


def _first_failure(
    item: dict[str, Any], project: dict[str, Any], request: dict[str, Any], suffixes: list[str]
) -> str | None:
    """The checks of one item before the one of what is left."""
    fields = item["fields"]
    if item["charge_way"] == "per_domain":
        fields = [field for field in fields if field[0] == "domain"]
    at, capacity = request["at"], item["quota"]
    if capacity is None and item["charge_way"] == "per_domain":
        capacity = 1
    failures = {
        "product_mismatch": _mismatch(request["product"], item["product"]),
        "version_mismatch": _mismatch(request["version"], item["version"]),
        "deployment_mismatch": _mismatch(request["deployment_type"], item["deployment_type"]),
        "edition_mismatch": _mismatch(request["edition"], item["edition"]),
        "item_validation_mismatch": not _field_matches(fields, request, suffixes),
        "charge_way_mismatch": request["charge_way"] not in ("auto", item["charge_way"]),
        "not_started": at < item["starts_at"],
        "expired": at >= item["ends_at"],
        "item_invalid": item["revoked_at"] is not None and at >= item["revoked_at"],
        "missing_dependency": bool(item["base_item_ids"]) and not set(item["base_item_ids"]) & set(project["item_ids"]),
        "request_count_exceeded": capacity is not None and request["asked"] > capacity,
    }
    return next((stage for stage in STAGES if failures.get(stage)), None)


def _seats_in_use(history: History, name: str, item: dict[str, Any], t: datetime) -> dict[str, int]:
    """G15: for each client, the larger of its live lease and what it reported in the slot of t."""
    seats = history.leased(name, item["item_id"], t)
    for client, x in history.allotted(name, item["item_id"], slot_start(t)).items():
        seats[client] = max(seats.get(client, 0), x)
    return seats


def _x(item: dict[str, Any], request: dict[str, Any]) -> int:
    return request["asked"] if item["charge_way"] == "per_concurrent_instance" else 1


def _room(
    history: History, name: str, item: dict[str, Any], passing: list[dict[str, Any]], request: dict[str, Any], tier: str
) -> bool:
    """Whether an item can take the request in this pass."""
    way, quota, client, t = item["charge_way"], item["quota"], request["client"], request["at"]
    if way == "per_domain" or (quota is None and way not in SEATED):
        return True
    if way in CUMULATIVE:
        return history.used(name, item["item_id"]) < quota + (grace(item) if tier == "grace" else 0)
    if way in CONCURRENT:
        seats = _seats_in_use(history, name, item, t)
        mine, x = seats.pop(client, 0), _x(item, request)
        if tier == "quota":
            return mine >= x or sum(seats.values()) + x <= quota
        return not capped(history, name, item, slot_start(t))
    seated_on = [
        other["item_id"]
        for other in passing
        if other["charge_way"] in SEATED and client in history.live(name, other["item_id"], t)
    ]
    if seated_on:
        return item["item_id"] in seated_on
    if quota is None:
        return True
    return len(history.live(name, item["item_id"], t)) < quota + (grace(item) if tier == "grace" else 0)


def judge(
    history: History, organization: dict[str, Any], project: dict[str, Any], request: dict[str, Any]
) -> dict[str, Any]:
    """Everything from 102 on: {code, item, full, outside}."""
    name, suffixes = organization["organization_id"], organization["platform_suffixes"]
    verdict: dict[str, Any] = {"code": None, "item": None, "full": [], "outside": []}
    if request["password_ok"] is False or (project["has_password"] and request["password_ok"] is None):
        return verdict | {"code": "bad_session_password"}
    if not _field_matches(project["fields"], request, suffixes):
        return verdict | {"code": "project_validation_mismatch"}
    items = [
        item
        for item in ordered_items(organization, project)
        if request["feature"] is None or not item["modules"] or request["feature"] in item["modules"]
    ]
    if not items or (project["disabled_at"] is not None and request["at"] >= project["disabled_at"]):
        return verdict | {"code": "no_matching_item"}
    failures = {item["item_id"]: _first_failure(item, project, request, suffixes) for item in items}
    passing = [item for item in items if failures[item["item_id"]] is None]
    for tier in ("quota", "grace"):
        for item in passing:
            if _room(history, name, item, passing, request, tier):
                return verdict | ({"code": "clone_detected"} if request["clone"] else {"item": item})
    stages = [failures[item["item_id"]] or "limit_exceeded" for item in items]
    code = max(stages, key=STAGES.index)  # furthest; the first of those that came as far
    if all(stage in _IDENTITY for stage in stages) and len(set(stages)) > 1:
        code = "no_matching_item"
    named_host = request["validation"] is not None and request["validation"][0] == "domain"
    return verdict | {
        "code": code,
        "full": [item for item in passing if item["charge_way"] in SEATED],
        "outside": [
            item
            for item in items
            if named_host
            and item["charge_way"] == "per_domain"
            and failures[item["item_id"]] == "item_validation_mismatch"
        ],
    }


def take(history: History, name: str, item: dict[str, Any], request: dict[str, Any]) -> None:
    """The seat or the lease of a granted request."""
    if item["charge_way"] in SEATED:
        history.contact(name, item, request["client"], request["at"])
    if item["charge_way"] in CONCURRENT:
        history.leases.append(
            {
                "organization_id": name,
                "item_id": item["item_id"],
                "client": request["client"],
                "x": _x(item, request),
                "until": slot_start(request["at"]) + 2 * SLOT,
            }
        )


def local_end(history: History, name: str, item: dict[str, Any], request: dict[str, Any]) -> datetime:
    """G16; after the seat was taken, or would have been."""
    at, end = request["at"], item_end(item)
    if item["charge_way"] in CUMULATIVE:
        return min(at + timedelta(days=3), end)
    if item["charge_way"] in CONCURRENT:
        return min(slot_start(at) + 2 * SLOT, end)
    if item["charge_way"] in SEATED:
        seat = history.seat_end(name, item["item_id"], request["client"])
        return end if seat is None else min(seat, end)
    return end
