"""What a simulated fleet looks like: plain values, the same for every seed and every instant."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from licmeter.producers.simulation.kinds import Kind
from licmeter.schemas.outcomes import ChargeWay

__all__ = [
    "DEFAULT_MIX",
    "UNKNOWN_ORGANIZATION",
    "CatalogChange",
    "ItemPlan",
    "OrganizationPlan",
    "ProjectPlan",
    "Scenario",
]

#: Named by some records, and by no catalog.
UNKNOWN_ORGANIZATION: Final = "unregistered"
#: Kinds are dealt from a deck of this many records, so that every thousand have exactly their share.
DECK: Final = 1_000
#: Just above the 64 KiB that a report may have.
LARGE_PAYLOAD_BYTES: Final = 70 * 1024

#: Records in a thousand; the rest are `Kind.FRESH`. About 2 % are refused, far more than a healthy fleet sends.
DEFAULT_MIX: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        Kind.LATE: 60,
        Kind.OUT_OF_ORDER: 60,
        Kind.ZERO: 10,
        Kind.MULTI_FEATURE: 80,
        Kind.DUPLICATE: 30,
        Kind.CONFLICT: 2,
        Kind.TOMBSTONE: 1,
        Kind.EMPTY_RECORD: 1,
        Kind.NOT_JSON: 1,
        Kind.NOT_JSON_UNKNOWN_KEY: 1,
        Kind.UNKNOWN_TYPE: 1,
        Kind.NO_KEY: 1,
        Kind.WRONG_TYPES: 2,
        Kind.FRACTIONAL_COUNT: 1,
        Kind.OTHER_ORGANIZATION: 1,
        Kind.NEGATIVE_COUNT: 1,
        Kind.HUGE_COUNT: 1,
        Kind.MISALIGNED_SLOT: 1,
        Kind.WRONG_CLOCK: 1,
        Kind.FUTURE_SLOT: 1,
        Kind.TOO_OLD: 1,
        Kind.UNKNOWN_PROJECT: 2,
        Kind.UNKNOWN_ORGANIZATION: 1,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPlan:
    """A license item; `quota` None = unlimited. It is valid from long before the run until long after."""

    item_id: str
    quota: int | None
    charge_way: ChargeWay = ChargeWay.PER_SCAN
    expires_in_days: int = 365
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlan:
    """A project; `name` is the part of its id after the organization.

    `as_default`: it is the organization's default project, and its devices name only the organization.
    """

    name: str
    item_ids: tuple[str, ...]
    usage_order: tuple[str, ...] | None = None
    as_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationPlan:
    """An organization; its devices are divided evenly among its projects.

    `pause_at_percent`: once its first item is used that far, its devices send only contacts without use. So an
    item can end within its grace, which is too narrow to be met by chance.
    """

    organization_id: str
    name: str
    devices: int
    items: tuple[ItemPlan, ...]
    projects: tuple[ProjectPlan, ...]
    features: tuple[str, ...] = ("qr", "code128")
    pause_at_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChange:
    """A new quota for an item, before the report of this number."""

    organization_id: str
    item_id: str
    quota: int | None
    before_report: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fleet and what it sends. `mix` has records in a thousand by kind; large ones are few, so they are counted."""

    organizations: tuple[OrganizationPlan, ...]
    reports: int
    mix: Mapping[Kind, int] = field(default_factory=lambda: DEFAULT_MIX)
    large_payloads: int = 1
    large_payload_bytes: int = LARGE_PAYLOAD_BYTES
    catalog_change: CatalogChange | None = None

    def __post_init__(self) -> None:
        names = Counter(plan.organization_id for plan in self.organizations)
        if not names or max(names.values()) > 1 or UNKNOWN_ORGANIZATION in names:
            raise ValueError("organizations must be there, and have ids of their own")
        if any(plan.devices < len(plan.projects) or not plan.projects for plan in self.organizations):
            raise ValueError("every organization needs a project, and every project a device")
        if any(share < 0 for share in self.mix.values()) or sum(self.mix.values()) > DECK:
            raise ValueError(f"the shares of the mix are not within {DECK} records")
        if Kind.LARGE in self.mix:
            raise ValueError("large records are given by large_payloads")
        if self.large_payloads > self.reports:
            raise ValueError("there cannot be more large records than records")

    @property
    def devices(self) -> int:
        """How many devices there are in all."""
        return sum(plan.devices for plan in self.organizations)

    def named(self, suffix: str) -> Self:
        """Return the same fleet under organization ids of its own, for another run on the same cluster."""
        plans = tuple(replace(plan, organization_id=f"{plan.organization_id}.{suffix}") for plan in self.organizations)
        change = self.catalog_change
        if change is not None:
            change = replace(change, organization_id=f"{change.organization_id}.{suffix}")
        return replace(self, organizations=plans, catalog_change=change)
