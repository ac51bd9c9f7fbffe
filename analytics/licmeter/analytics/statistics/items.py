"""What stands above the statistics of an item, and in the list of items (domain, Q2): quota, use, validity, state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from licmeter.metering.items import MeteredItem, instant_ms, percent_of
from licmeter.metering.states import state_of
from licmeter.schemas.catalog import LicenseFile, LicenseItem, Organization
from licmeter.schemas.outcomes import ChargeWay, ItemState

__all__ = ["CatalogQuery", "ItemHeader", "LiveSeatsQuery", "item_headers"]

#: What one of each charge way's units is called (domain, section 6).
_UNITS: Final = {
    ChargeWay.PER_SCAN: ("scan", "scans"),
    ChargeWay.PER_PAGE: ("page", "pages"),
    ChargeWay.PER_DEVICE: ("device", "devices"),
    ChargeWay.PER_SERVER: ("server", "servers"),
    ChargeWay.PER_CONCURRENT_DEVICE: ("exception", "exceptions"),
    ChargeWay.PER_CONCURRENT_INSTANCE: ("exception", "exceptions"),
    ChargeWay.PER_DOMAIN: ("unit", "units"),
}


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """The current document of the organization; no row before its first catalog."""

    organization_id: str

    columns: ClassVar[Sequence[str]] = ("document",)

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = "SELECT document FROM catalogs WHERE organization_id = {organization:String}"
        return text, {"organization": self.organization_id}


@dataclass(frozen=True, slots=True)
class LiveSeatsQuery:
    """Live seats of each device item at an instant."""

    organization_id: str
    at: datetime

    columns: ClassVar[Sequence[str]] = ("item_id", "active")

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        text = """
            SELECT item_id, count() FROM (
                SELECT item_id, client_uuid, first_at, min(since) AS begins, max(expires_at) AS ends
                FROM seats WHERE organization_id = {organization:String} GROUP BY item_id, client_uuid, first_at
                SETTINGS final = 0
            )
            WHERE begins <= {at:DateTime64(3, 'UTC')} AND ends > {at:DateTime64(3, 'UTC')} GROUP BY item_id
        """
        return text, {"organization": self.organization_id, "at": self.at}


@dataclass(frozen=True, slots=True)
class ItemHeader:
    """One item, and how much of it is used. `used` is what the charge way measures against `limit`: units, live seats,
    or exceptions of the budget year. `percent` is half up to two decimals, null without a limit."""

    item_id: str
    description: str
    charge_way: ChargeWay
    product: str | None
    version: str | None
    edition: str | None
    deployment_type: str | None
    modules: tuple[str, ...]
    quota: int | None
    used: int
    limit: int | None
    percent: str | None
    text: str
    attributed: int
    peak_concurrent: int | None
    consumed: int | None
    budget: int | None
    state: ItemState
    in_expiry_grace: bool
    starts_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    license_id: str
    license_alias: str | None
    project_ids: tuple[str, ...]


def item_headers(
    document: Organization,
    counters: Iterable[Mapping[str, Any]],
    active: Mapping[str, int],
    peaks: Mapping[str, int],
    now: datetime,
) -> list[ItemHeader]:
    """Put a catalog and what was counted together, as it stands at an instant; in the order of ids.

    `counters` are rows of license_counters, `active` live seats and `peaks` the most in use at once, by item.
    """
    counted = {row["item_id"]: row for row in counters}
    found = [
        _header(file, item, document, counted.get(item.item_id, {}), active, peaks, now)
        for file in document.license_files
        for item in file.items
    ]
    return sorted(found, key=lambda header: header.item_id)


def _header(
    file: LicenseFile,
    item: LicenseItem,
    document: Organization,
    counters: Mapping[str, Any],
    active: Mapping[str, int],
    peaks: Mapping[str, int],
    now: datetime,
) -> ItemHeader:
    rules, now_ms = MeteredItem.of(item, document.platform_suffixes), instant_ms(now)
    consumed = None
    if rules.concurrent:
        # The counters stand as they were at the last event, and that may have been in another budget year.
        same_year = counters.get("budget_year") == rules.budget_year(now_ms)
        consumed = counters.get("consumed", 0) if same_year else 0
    used = consumed if consumed is not None else counters.get("used", 0)
    if rules.seated:
        used = active.get(item.item_id, 0)
    elif not rules.cumulative and not rules.concurrent:
        used = counters.get("attributed", 0)
    limit = rules.budget if rules.concurrent else None if item.charge_way is ChargeWay.PER_DOMAIN else item.quota
    percent = percent_of(used, limit)
    peak = peaks.get(item.item_id, 0) if rules.concurrent else None
    return ItemHeader(
        item_id=item.item_id,
        description=item.description,
        charge_way=item.charge_way,
        product=item.product,
        version=item.version,
        edition=item.edition,
        deployment_type=item.deployment_type,
        modules=item.modules,
        quota=item.quota,
        used=used,
        limit=limit,
        percent=percent,
        text=_text(item, used, limit, percent, peak),
        attributed=counters.get("attributed", 0),
        peak_concurrent=peak,
        consumed=consumed,
        budget=rules.budget if rules.concurrent else None,
        state=state_of(rules, used, limit, now_ms),
        in_expiry_grace=rules.in_expiry_grace(now_ms),
        starts_at=item.starts_at,
        # 23:59:59 is read as the next midnight, and shown as what it is.
        expires_at=datetime.fromtimestamp(rules.expires_ms / 1000, UTC),
        revoked_at=item.revoked_at,
        license_id=file.license_id,
        license_alias=file.alias,
        project_ids=tuple(sorted(p.project_id for p in document.projects if item.item_id in p.item_ids)),
    )


def _text(item: LicenseItem, used: int, limit: int | None, percent: str | None, peak: int | None) -> str:
    one, many = _UNITS[item.charge_way]
    share = "" if percent is None else f" ({percent} %)"
    if peak is not None:
        of_quota = "" if item.quota is None else f" of {item.quota:,}"
        of_budget = "" if limit is None else f" of {limit:,}"
        return f"peak {peak:,}{of_quota}, {used:,}{of_budget} {many} consumed{share}"
    if limit is None:
        return f"{used:,} {one if used == 1 else many} used"
    return f"{used:,} of {limit:,} {one if limit == 1 else many} used{share}"
