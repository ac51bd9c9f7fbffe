"""Ready-made scenarios: one to look at, one for load."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from licmeter.producers.simulation.kinds import Kind
from licmeter.producers.simulation.scenario import (
    DEFAULT_MIX,
    LARGE_PAYLOAD_BYTES,
    CatalogChange,
    ItemPlan,
    OrganizationPlan,
    ProjectPlan,
    Scenario,
)
from licmeter.schemas.outcomes import ChargeWay

__all__ = ["demo_scenario", "load_scenario"]

#: A third of what the demo's devices send was done in the weeks before, so that the statistics have a history.
_DEMO_MIX: Final[Mapping[Kind, int]] = MappingProxyType({**DEFAULT_MIX, Kind.LATE: 330})
#: Middle of a 5 % grace.
_WITHIN_GRACE_PERCENT: Final = 102
#: Units of a usual report on average (see `wire.UNITS_MAX`).
_UNITS_PER_REPORT: Final = 5

_DEMO_ORGANIZATIONS: Final = (
    OrganizationPlan(
        organization_id="airports",
        name="Airports: boarding gates, far over the quota",
        devices=60,
        items=(ItemPlan(item_id="gates", quota=6_000),),
        projects=(ProjectPlan(name="gates", item_ids=("gates",)),),
        features=("pdf417", "aztec", "qr"),
    ),
    OrganizationPlan(
        organization_id="hospitals",
        name="Hospitals: two purchases, the older one is used first",
        devices=50,
        items=(
            ItemPlan(item_id="wards1", quota=5_000, expires_in_days=90),
            ItemPlan(item_id="wards2", quota=60_000, expires_in_days=400),
        ),
        projects=(ProjectPlan(name="wards", item_ids=("wards2", "wards1")),),
        features=("datamatrix", "code128"),
    ),
    OrganizationPlan(
        organization_id="libraries",
        name="Libraries: pages and scans, and a pilot without a license",
        devices=40,
        items=(
            ItemPlan(item_id="pages", quota=20_000, charge_way=ChargeWay.PER_PAGE, modules=("core", "ocr")),
            ItemPlan(item_id="scans", quota=None),
        ),
        projects=(ProjectPlan(name="desks", item_ids=("pages", "scans")), ProjectPlan(name="pilot", item_ids=())),
        features=("core", "ocr", "code39"),
    ),
    OrganizationPlan(
        organization_id="logistics",
        name="Logistics: plenty left; its devices know only their organization",
        devices=40,
        items=(ItemPlan(item_id="depots", quota=500_000),),
        projects=(ProjectPlan(name="depots", item_ids=("depots",), as_default=True),),
        features=("code128", "qr"),
    ),
    OrganizationPlan(
        organization_id="retail",
        name="Retail: stopped within its grace",
        devices=70,
        items=(ItemPlan(item_id="tills", quota=12_000),),
        projects=(ProjectPlan(name="tills", item_ids=("tills",)),),
        features=("ean13", "qr"),
        pause_at_percent=_WITHIN_GRACE_PERCENT,
    ),
)


def demo_scenario(reports: int = 20_000) -> Scenario:
    """Return five organizations in the states that an administrator meets.

    Quotas fit about 20,000 reports; in half way, logistics buys more.
    """
    return Scenario(
        organizations=_DEMO_ORGANIZATIONS,
        reports=reports,
        mix=_DEMO_MIX,
        large_payloads=min(3, reports),
        catalog_change=CatalogChange(
            organization_id="logistics", item_id="depots", quota=750_000, before_report=reports // 2
        ),
    )


def load_scenario(
    *,
    organizations: int,
    devices: int,
    reports: int,
    mix: Mapping[Kind, int] = DEFAULT_MIX,
    large_payloads: int = 0,
    large_payload_bytes: int = LARGE_PAYLOAD_BYTES,
) -> Scenario:
    """Return any number of organizations with `devices` in all; they take turns at five kinds of licenses."""
    per_organization = max(2, devices // organizations)
    units = max(1, reports * _UNITS_PER_REPORT // organizations)
    return Scenario(
        organizations=tuple(_load_plan(number, per_organization, units) for number in range(organizations)),
        reports=reports,
        mix=mix,
        large_payloads=large_payloads,
        large_payload_bytes=large_payload_bytes,
    )


def _load_plan(number: int, devices: int, units: int) -> OrganizationPlan:
    """Return one organization; `units` is about what its devices will use."""
    main = ProjectPlan(name="main", item_ids=("A",), as_default=number % 2 == 1)
    pause = None
    match number % 5:
        case 0:  # more than enough
            items, projects = [ItemPlan(item_id="A", quota=10 * units)], [main]
        case 1:  # blocked
            items, projects = [ItemPlan(item_id="A", quota=max(1, units // 4))], [main]
        case 2:  # within grace
            items, projects, pause = [ItemPlan(item_id="A", quota=max(1, units // 2))], [main], _WITHIN_GRACE_PERCENT
        case 3:  # split over two items
            items = [
                ItemPlan(item_id="A", quota=2 * units),
                ItemPlan(item_id="B", quota=max(1, units // 3), expires_in_days=180),
            ]
            projects = [ProjectPlan(name="main", item_ids=("A", "B"))]
        case _:  # one project has no items
            items = [ItemPlan(item_id="A", quota=None)]
            projects = [main, ProjectPlan(name="pilot", item_ids=())]
    return OrganizationPlan(
        organization_id=f"load{number:05}",
        name=f"Load {number}",
        devices=devices,
        items=tuple(items),
        projects=tuple(projects),
        pause_at_percent=pause,
    )
