"""The organizations of a generated history: items of all charge ways, shared, without a limit, ended and renewed."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from licmeter.schemas.catalog import Organization

__all__ = ["CHANGES", "DAYS", "IDLE", "LARGE", "SMALL", "START", "UNKNOWN", "document", "instant"]

#: The first day on which anything is used.
START: Final = datetime(2031, 1, 6, tzinfo=UTC)
#: Of which the last ones belong to what arrives late.
DAYS: Final = 100

#: Three organizations, the last without any use, and a name that no catalog knows. They use the same names of items
#: and clients, so that a sum over the wrong organization cannot look right.
LARGE, SMALL, IDLE, UNKNOWN = "3001", "3002", "3003", "3009"
#: The days on which the large organization's catalog changes.
CHANGES: Final = (33, 66)


def instant(day: float) -> datetime:
    """Return the instant that many days after the start."""
    return START + timedelta(days=day)


def _item(item_id: str, way: str, *modules: str, begin: float = -200, end: float = 300, **more: Any) -> dict[str, Any]:
    item = {
        "item_id": item_id,
        "charge_way": way,
        "modules": list(modules),
        "starts_at": instant(begin),
        "expires_at": instant(end),
        "description": f"{way} for {', '.join(modules) or 'everything'}",
    }
    return item | more


def _large(stage: int) -> dict[str, Any]:
    """All charge ways; each feature has an item of its own, and some have two, so that reports are split."""
    revoked: dict[str, Any] = {"revoked_at": instant(80)} if stage == 2 else {}
    items = [
        _item("scan-a", "per_scan", "qr", quota=400, begin=-315, end=50, expiry_grace_days=0),
        _item("scan-b", "per_scan", "qr", quota=450 if stage < 2 else 500, begin=50, end=415),
        _item("scan-free", "per_scan", "code128"),
        _item("pages", "per_page", "core", "ocr", quota=150),
        _item("dev-m", "per_device", "seat", quota=4, activity_period="monthly", begin=-295, end=70),
        _item("dev-n", "per_device", "seat", quota=5, activity_period="monthly", begin=70, end=435),
        _item("scan-seat", "per_scan", "seat", quota=60, end=500),
        _item("dev-d", "per_device", "kiosk", quota=2, activity_period="daily"),
        _item("srv", "per_server", "serve", quota=3, product="hub", version="2", **revoked),
        # A budget year turns on day 40.
        _item("desk", "per_concurrent_device", "desk", quota=2, overuse_budget=30, begin=40 - 365, end=405),
        _item("load", "per_concurrent_instance", "load", quota=4),
        _item("web", "per_domain", "web", validation_fields=[{"kind": "domain", "value": "shop.example.org"}]),
        _item("any", "per_page", quota=40, end=420),
    ]
    if stage >= 1:
        items.append(_item("pages-2", "per_page", "core", quota=2_000, end=400))
    shared = ["scan-a", "scan-b", "dev-m", "dev-n", "desk", "load"]
    kiosk = [item["item_id"] for item in items if item["item_id"] != "any"]
    if stage == 2:
        kiosk.remove("desk")  # P2: what was charged through it stays
    return {
        "items": items,
        "projects": [
            {"project_id": f"{LARGE}-kiosk", "item_ids": kiosk},
            {"project_id": f"{LARGE}-mobile", "item_ids": [*shared, "any"]},
            {"project_id": f"{LARGE}-bare"},
            {"project_id": f"{LARGE}-old", "item_ids": ["scan-free", "any"], "disabled_at": instant(60)},
            {"project_id": f"{LARGE}-vault", "item_ids": ["scan-free", "load"], "session_password_hash": "x"},
        ],
        "default_project_id": f"{LARGE}-kiosk",
    }


def _small() -> dict[str, Any]:
    """Some items of the same names on other terms, two without a limit, and one that starts late."""
    items = [
        _item("scan-a", "per_scan", "qr", quota=100_000),
        _item("pages", "per_page", "core", "ocr"),
        _item("dev-m", "per_device", "seat", "kiosk", activity_period="monthly"),
        _item("desk", "per_concurrent_device", "desk", quota=3, begin=20),
        _item("load", "per_concurrent_instance", "load"),
    ]
    return {
        "items": items,
        "projects": [
            {"project_id": f"{SMALL}-kiosk", "item_ids": ["scan-a", "pages", "dev-m", "load"]},
            {"project_id": f"{SMALL}-mobile", "item_ids": ["scan-a", "desk", "load"]},
            {"project_id": f"{SMALL}-bare"},
        ],
        "default_project_id": f"{SMALL}-mobile",
    }


def _idle() -> dict[str, Any]:
    return {
        "items": [
            _item("scan-a", "per_scan", quota=10),
            _item("dev-m", "per_device", activity_period="yearly", quota=1),
        ],
        "projects": [{"project_id": f"{IDLE}-kiosk", "item_ids": ["scan-a", "dev-m"]}],
        "default_project_id": f"{IDLE}-kiosk",
    }


def document(organization_id: str, stage: int = 0) -> Organization:
    """Return an organization's document; `stage` counts the changes of the large one."""
    parts = {LARGE: lambda: _large(stage), SMALL: _small, IDLE: _idle}[organization_id]()
    files = [{"license_id": "L1", "items": parts.pop("items")}]
    return Organization.model_validate({"organization_id": organization_id, "license_files": files} | parts)
