"""In which order the items of a project are used (domain, 7.2)."""

from typing import Final

from licmeter.schemas.catalog import LicenseItem, Organization, Project
from licmeter.schemas.outcomes import ChargeWay

__all__ = ["consumption_order"]

#: 7.2 (c): domain, server, device, concurrent device, concurrent instance, page, scan.
_KINDS: Final = (
    ChargeWay.PER_DOMAIN,
    ChargeWay.PER_SERVER,
    ChargeWay.PER_DEVICE,
    ChargeWay.PER_CONCURRENT_DEVICE,
    ChargeWay.PER_CONCURRENT_INSTANCE,
    ChargeWay.PER_PAGE,
    ChargeWay.PER_SCAN,
)


def consumption_order(document: Organization, project: Project) -> list[LicenseItem]:
    """Sort a project's items: those named in `usage_order`, then by expiry, breadth, kind, size and id."""
    named = {item_id: place for place, item_id in enumerate(project.usage_order or ())}

    def place(item: LicenseItem) -> tuple[object, ...]:
        return (
            named.get(item.item_id, len(named)),
            item.expires_at,
            len(item.modules) if item.modules else float("inf"),
            _KINDS.index(item.charge_way),
            float("-inf") if item.quota is None else -item.quota,
            item.item_id,
        )

    return sorted((document.items[item_id] for item_id in project.item_ids), key=place)
