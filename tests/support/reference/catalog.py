"""Organization documents: reading, matching, order (domain, sections 2, 7.1, 7.2)."""

import re
from datetime import datetime, timedelta
from typing import Any

from tests.support.reference.domains import domain_key
from tests.support.reference.instants import document_instant, instant

CUMULATIVE = ("per_scan", "per_page")
SEATED = ("per_device", "per_server")
CONCURRENT = ("per_concurrent_device", "per_concurrent_instance")
#: In the order of 7.2 (c).
CHARGE_WAYS = ("per_domain", "per_server", "per_device", *CONCURRENT, "per_page", "per_scan")
PERIODS = {
    "yearly": timedelta(days=365),
    "quarterly": timedelta(days=90),
    "monthly": timedelta(days=30),
    "daily": timedelta(hours=24),
}
DEPLOYMENTS = ("browser", "mobile", "server", "desktop", "embedded")
TAGS = ("product", "version", "edition", "deployment_type")

_ORGANIZATION = re.compile(r"[A-Za-z0-9_.]{1,64}")
_PROJECT = re.compile(r"[A-Za-z0-9_.]{1,64}-[^\s/]{1,128}")
_ITEM = re.compile(r"[^\s/]{1,64}")


def is_organization_id(value: Any) -> bool:
    return isinstance(value, str) and _ORGANIZATION.fullmatch(value) is not None


def is_project_id(value: Any) -> bool:
    return isinstance(value, str) and _PROJECT.fullmatch(value) is not None


def is_item_id(value: Any) -> bool:
    return isinstance(value, str) and _ITEM.fullmatch(value) is not None


def is_int(value: Any, low: int | None = None, high: int | None = None) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and (low is None or value >= low) and (high is None or value <= high)


def is_text(value: Any, low: int = 0, high: int | None = None) -> bool:
    return isinstance(value, str) and len(value) >= low and (high is None or len(value) <= high)


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _known(data: Any, what: str, names: str) -> None:
    _need(isinstance(data, dict), f"{what} is no object")
    extra = set(data) - set(names.split())
    _need(not extra, f"{what}: unknown {sorted(extra)}")


def _list(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name, [])
    _need(isinstance(value, (list, tuple)), f"{name} is no list")
    return list(value)


def _fields(data: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for field in _list(data, "validation_fields"):
        _known(field, "validation field", "kind value")
        _need(is_text(field.get("kind"), 1, 32) and is_text(field.get("value"), 1, 256), "bad validation field")
        found.append((field["kind"], field["value"]))
    return found


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _read_item(data: Any, platform_suffixes: list[str], exact: bool) -> dict[str, Any]:
    _known(
        data,
        "item",
        "item_id description charge_way quota starts_at expires_at expiry_grace_days revoked_at modules product "
        "version edition deployment_type activity_period overuse_budget base_item_ids validation_fields",
    )
    _need(is_item_id(data.get("item_id")), "bad item_id")
    way = data.get("charge_way")
    _need(isinstance(way, str) and way in CHARGE_WAYS, f"bad charge way {way}")
    quota = data.get("quota")
    _need(quota is None or is_int(quota, 1), "bad quota")
    read = instant if exact else document_instant
    starts_at = read(data.get("starts_at"))
    expires_at = read(data.get("expires_at"))
    if (expires_at.hour, expires_at.minute, expires_at.second) == (23, 59, 59):
        expires_at = expires_at.replace(microsecond=0) + timedelta(seconds=1)
    _need(starts_at < expires_at, "expires_at must be later than starts_at")
    grace_days = data.get("expiry_grace_days", 7)
    _need(is_int(grace_days, 0, 3650), "bad expiry_grace_days")
    period, budget = data.get("activity_period"), data.get("overuse_budget")
    _need(period is None or (isinstance(period, str) and period in PERIODS), "bad activity_period")
    if way == "per_device":
        _need(period is not None, "a per_device item needs activity_period")
    elif way == "per_server":
        _need(period in (None, "yearly"), "a per_server item is yearly")
        period = "yearly"
    else:
        _need(period is None, "activity_period belongs to device items")
    _need(budget is None or (is_int(budget, 1) and way in CONCURRENT), "bad overuse_budget")
    if way in CONCURRENT and quota is not None and budget is None:
        budget = 1000 * quota  # N3
    modules, bases, fields = _list(data, "modules"), _list(data, "base_item_ids"), _fields(data)
    _need(all(isinstance(m, str) for m in modules) and all(is_item_id(b) for b in bases), "bad modules or bases")
    for tag in TAGS:
        _need(data.get(tag) is None or isinstance(data[tag], str), f"bad {tag}")
    _need(data.get("deployment_type") in (None, *DEPLOYMENTS), "bad deployment_type")
    if way == "per_domain":
        keys = {domain_key(value, platform_suffixes) for kind, value in fields if kind == "domain"}
        _need(1 <= len(keys) <= (quota or 1), "a per_domain item names 1 to quota domains")  # G14
    revoked_at = data.get("revoked_at")
    return {
        "item_id": data["item_id"],
        "charge_way": way,
        "quota": quota,
        "starts_at": starts_at,
        "expires_at": expires_at,
        "ends_at": expires_at + timedelta(days=grace_days),
        "revoked_at": None if revoked_at is None else read(revoked_at),
        "modules": modules,
        "daily": period == "daily",
        "period": PERIODS.get(period or ""),
        "budget": budget if quota is not None else None,
        "base_item_ids": bases,
        "fields": fields,
        **{tag: data.get(tag) for tag in TAGS},
    }


def _read_project(data: Any, organization_id: str, exact: bool) -> dict[str, Any]:
    _known(
        data,
        "project",
        "project_id name item_ids usage_order disabled_at validation_fields session_password_hash",
    )
    name = data.get("project_id")
    _need(is_project_id(name) and name.startswith(f"{organization_id}-"), f"bad project_id {name}")
    disabled_at = data.get("disabled_at")
    order = None if data.get("usage_order") is None else _once(_list(data, "usage_order"))
    item_ids = _once(_list(data, "item_ids"))
    _need(set(order or ()) <= set(item_ids), "usage_order names an item that is not in the project")
    read = instant if exact else document_instant
    return {
        "project_id": name,
        "item_ids": item_ids,
        "usage_order": order or [],
        "disabled_at": None if disabled_at is None else read(disabled_at),
        "fields": _fields(data),
        "has_password": data.get("session_password_hash") is not None,
    }


_LEVELS = {
    "default": {
        "cumulative_levels": [60, 80, 100],
        "device_levels": [60, 80, 100],
        "daily_device_levels": [100],
        "concurrency_levels": [60, 80, 100],
        "failure_levels": [10, 20, 40, 60, 80, 100],
    },
    "legacy": {
        "cumulative_levels": [75, 90, 95, 100, 105],
        "device_levels": [75, 90, 95, 100, 110],
        "daily_device_levels": [75, 90, 95, 100, 110],
        "concurrency_levels": [50, 75, 90, 100],
        "failure_levels": [10, 25, 50, 75],
    },
}


def _read_alerts(data: Any) -> dict[str, Any]:
    _known(
        data, "alerts", "preset failure_requests_min expiry_reminder_days recipients " + " ".join(_LEVELS["default"])
    )
    preset = data.get("preset", "default")
    _need(isinstance(preset, str) and preset in _LEVELS, "bad preset")
    settings: dict[str, Any] = {}
    for name, usual in _LEVELS[preset].items():
        given = data.get(name)
        if given is not None:
            levels = _list(data, name)
            _need(all(is_int(level, 1, 1000) for level in levels) and len(levels) <= 20, f"bad {name}")
        settings[name] = sorted(set(usual if given is None else given))
    settings["failure_requests_min"] = data.get("failure_requests_min", 10)
    _need(is_int(settings["failure_requests_min"], 1), "bad failure_requests_min")
    days = _list(data, "expiry_reminder_days")
    _need(all(is_int(day, 1, 3650) for day in days) and len(days) <= 20, "bad expiry_reminder_days")
    settings["expiry_reminder_days"] = sorted(set(days))
    recipients = {} if data.get("recipients") is None else data["recipients"]
    _known(recipients, "recipients", "to cc bcc")
    _need(all(isinstance(value, str) for value in recipients.values()), "bad recipients")
    _need(data.get("recipients") is None or bool(recipients.get("to")), "recipients need `to`")
    settings["recipients"] = {kind: _addresses(recipients.get(kind, "")) for kind in ("to", "cc", "bcc")}
    return settings


def _addresses(written: str) -> list[str]:
    """W10; an entry without @ is a mistake, and does not stop the others."""
    found: dict[str, str] = {}
    for entry in (part.strip() for part in written.split(";")):
        if "@" in entry:
            found.setdefault(entry.lower(), entry)
    return list(found.values())


def read_document(data: Any, *, exact: bool = False) -> dict[str, Any]:
    """Check an organization's document and return it in our own form; `exact`: no bare dates."""
    _known(
        data,
        "organization",
        "organization_id name default_project_id license_files projects platform_suffixes alerts",
    )
    name = data.get("organization_id")
    _need(is_organization_id(name), f"bad organization_id {name}")
    suffixes = _list(data, "platform_suffixes")
    items: list[dict[str, Any]] = []
    for file in _list(data, "license_files"):
        _known(file, "license file", "license_id alias status hosting activated_at items")
        _need(is_text(file.get("license_id"), 1, 64) and bool(file.get("items")), "bad license file")
        _need(file.get("status", "activated") in ("new", "activated"), "bad status")
        _need(file.get("hosting", "self_hosted") in ("hosted", "self_hosted"), "bad hosting")
        items += [_read_item(item, suffixes, exact) for item in _list(file, "items")]
    projects = [_read_project(project, name, exact) for project in _list(data, "projects")]
    by_id = {item["item_id"]: item for item in items}
    projects_by_id = {project["project_id"]: project for project in projects}
    _need(len(by_id) == len(items) and len(projects_by_id) == len(projects), "an id stands twice")
    for project in projects:
        _need(set(project["item_ids"]) <= set(by_id), "a project names an unknown item")
    default = data.get("default_project_id")
    _need(default is None or default in projects_by_id, "unknown default project")
    return {
        "organization_id": name,
        "default_project_id": default,
        "items": by_id,
        "projects": projects_by_id,
        "platform_suffixes": suffixes,
        "alerts": _read_alerts(data.get("alerts", {})),
    }


def _default_order(item: dict[str, Any]) -> tuple[Any, ...]:
    quota = item["quota"]
    return (
        item["expires_at"],
        (1, 0) if not item["modules"] else (0, len(item["modules"])),
        CHARGE_WAYS.index(item["charge_way"]),
        (0, 0) if quota is None else (1, -quota),
        item["item_id"],
    )


def ordered_items(organization: dict[str, Any], project: dict[str, Any]) -> list[dict[str, Any]]:
    """7.2: the project's items in consumption order."""
    items = organization["items"]
    rest = [items[i] for i in project["item_ids"] if i not in project["usage_order"]]
    return [items[i] for i in project["usage_order"]] + sorted(rest, key=_default_order)


def item_end(item: dict[str, Any]) -> datetime:
    """The instant from which an item grants nothing: the end of its expiry grace, or its revocation."""
    return item["ends_at"] if item["revoked_at"] is None else min(item["ends_at"], item["revoked_at"])
