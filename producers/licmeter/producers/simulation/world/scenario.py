"""What a scenario file says: a fleet by its organizations, licenses and devices, and how the devices behave.

All times are relative to the run's end, which is now; so the same file can be run again tomorrow. Rules that look at
one entry stand here, those between entries in `rules`.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from licmeter.producers.simulation.kinds import REJECT_REASONS, Kind
from licmeter.producers.simulation.world.domains import is_reserved
from licmeter.schemas.catalog import ItemId, OrganizationId
from licmeter.schemas.outcomes import CONCURRENCY, SEATED, ActivityPeriod, ChargeWay

__all__ = [
    "Authorizations",
    "CatalogChange",
    "Clocks",
    "DeviceGroup",
    "Item",
    "LoadCurve",
    "Offline",
    "Organization",
    "Project",
    "Repeats",
    "WorldScenario",
]

#: Reports of the first slot must still be accepted when the run ends: 30 days (domain, check 7) less a day.
DURATION_HOURS_MAX: Final = 29 * 24
DEVICES_MAX: Final = 1_000_000
#: A run takes less than a day, so whatever ends a day from now or later does not end in it.
UNDECIDED_DAYS: Final = 1.0
#: Devices ask for leave in the last half day; a seat that was given before its item expired ends then (V2).
ASKING_DAYS: Final = 0.55
_BUDGET_YEAR_DAYS: Final = 365

Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[float, Field(ge=-3_650, le=3_650)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_. +-]{1,64}$")]
Deployment = Literal["browser", "mobile", "server", "desktop", "embedded"]


def _reserved(host: str) -> str:
    if not is_reserved(host):
        raise ValueError("a host must be under example.com, example.net, example.org, .example or .test")
    return host


Host = Annotated[str, StringConstraints(max_length=253), AfterValidator(_reserved)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Item(_Entry):
    """A license item; its fields are those of the catalog, its instants are days before and after the run's end."""

    item_id: ItemId
    description: str = ""
    charge_way: ChargeWay
    quota: Annotated[int, Field(ge=1)] | None = None
    modules: tuple[Word, ...] = ()
    starts_days_ago: Days = 100
    expires_in_days: Days = 265
    expiry_grace_days: Annotated[int, Field(ge=0, le=3_650)] = 7
    revoked_days_ago: Days | None = None
    activity_period: ActivityPeriod | None = None
    overuse_budget: Annotated[int, Field(ge=1)] | None = None
    domains: tuple[Host, ...] = ()
    product: Word | None = None
    version: Word | None = None
    edition: Word | None = None
    deployment_type: Deployment | None = None

    @model_validator(mode="after")
    def _decided(self) -> Self:
        mistakes = list(self._mistakes())
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _mistakes(self) -> Any:
        ends = self.expires_in_days + self.expiry_grace_days
        for name, days in (
            ("starts_days_ago", -self.starts_days_ago),
            ("expires_in_days", self.expires_in_days),
            ("expires_in_days with expiry_grace_days", ends),
            ("revoked_days_ago", -(self.revoked_days_ago or 0)),
        ):
            if 0 < days < UNDECIDED_DAYS:
                yield f"{name}: falls into the run or the day after it, where it decides nothing"
        if self.expires_in_days <= -self.starts_days_ago:
            yield "expires_in_days: must be later than the start"
        if self.charge_way in SEATED and ends < UNDECIDED_DAYS:
            yield f"expires_in_days: the seats of a {self.charge_way} item must outlive the run by a day"
        if self.charge_way in SEATED and -ASKING_DAYS < self.expires_in_days < UNDECIDED_DAYS:
            yield f"expires_in_days: seats would end in the run; at most {-ASKING_DAYS} or at least {UNDECIDED_DAYS}"
        if self.charge_way in CONCURRENCY and self.starts_days_ago % _BUDGET_YEAR_DAYS > _BUDGET_YEAR_DAYS - 1:
            yield "starts_days_ago: a budget year (365 days) ends in the day after the run, where it decides nothing"
        if self.charge_way is not ChargeWay.PER_DOMAIN and self.domains:
            yield f"domains belong to per_domain items, not to {self.charge_way}"


class Project(_Entry):
    """A project; `name` is the part of its id after the organization."""

    name: Word
    item_ids: tuple[ItemId, ...] = ()
    usage_order: tuple[ItemId, ...] | None = None
    default: bool = False
    disabled_days_ago: Annotated[float, Field(ge=0, le=3_650)] | None = None


class LoadCurve(_Entry):
    """How busy the devices are at which local time: 1 in working hours, rising and falling over an hour."""

    utc_offset_hours: Annotated[float, Field(ge=-14, le=14)] = 0
    working_hours: tuple[Annotated[float, Field(ge=0, le=24)], Annotated[float, Field(ge=0, le=24)]] = (8, 18)
    night_factor: Share = 0.05
    weekend_factor: Share = 0.2

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.working_hours[0] >= self.working_hours[1]:
            raise ValueError("working_hours: the first must be before the second")
        return self


class DeviceGroup(_Entry):
    """Devices of one sort. In a busy slot a device does `operations_per_slot` operations on average."""

    group: Word
    project: Word
    count: Annotated[int, Field(ge=1, le=DEVICES_MAX)]
    features: Annotated[dict[Word, Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=64)]
    busy_share: Share = Field(0.3, description="of the slots, at full load")
    operations_per_slot: Annotated[float, Field(ge=1, le=1_000)] = 5
    instances: tuple[Annotated[int, Field(ge=1, le=1_000)], Annotated[int, Field(ge=1, le=1_000)]] | None = None
    hosts: tuple[Host, ...] = ()
    names_organization_only: bool = Field(False, description="the project is the default one, and is not named")
    product: Word | None = None
    version: Word | None = None
    edition: Word | None = None
    deployment_type: Deployment | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.instances is not None and self.instances[0] > self.instances[1]:
            raise ValueError("instances: the first must not be above the second")
        return self


class CatalogChange(_Entry):
    """A new quota for an item, somewhere in the run; null = unlimited."""

    item_id: ItemId
    quota: Annotated[int, Field(ge=1)] | None
    hours_ago: Annotated[float, Field(gt=0)]


class Organization(_Entry):
    """A licensee with its items, projects and devices; `load` replaces the scenario's."""

    organization_id: Annotated[OrganizationId, StringConstraints(max_length=48)]  # leaves room for the run's name
    name: str = ""
    items: tuple[Item, ...] = ()
    projects: Annotated[tuple[Project, ...], Field(min_length=1)]
    devices: tuple[DeviceGroup, ...] = ()
    platform_suffixes: tuple[Host, ...] = ()
    load: LoadCurve | None = None
    changes: tuple[CatalogChange, ...] = ()


class Offline(_Entry):
    """Spells without a connection: reports are stored, and all come at the next contact (L4)."""

    per_day: Share = 0
    mean_days: Annotated[float, Field(gt=0, le=30)] = 1
    max_days: Annotated[float, Field(gt=0, le=30)] = 30


class Clocks(_Entry):
    """Client clocks: some are a little off, which is accepted (E1), some are wrong, which is not (E2)."""

    off_share: Share = 0
    off_seconds_max: Annotated[int, Field(ge=1, le=240)] = 120
    skewed_share: Share = Field(0, description="three days off by sent_at: clock_skew")
    ahead_share: Share = Field(0, description="far ahead, without sent_at: future_slot")


class Repeats(_Entry):
    """Reports that come twice: at once, or at the next start since the answer was lost (A1)."""

    resubmitted_share: Share = 0
    lost_answer_share: Share = 0


class Authorizations(_Entry):
    """Devices ask for leave when they start: after a pause, and when they come back."""

    enabled: bool = True
    session_gap_minutes: Annotated[float, Field(ge=3)] = 120


#: What a bad client may send: every kind that is refused. Large records have a size of their own.
BAD_KINDS: Final = frozenset(REJECT_REASONS)


class WorldScenario(_Entry):
    """A scenario file."""

    seed: int = 1
    duration_hours: Annotated[float, Field(ge=0.05, le=DURATION_HOURS_MAX)]
    organizations: Annotated[tuple[Organization, ...], Field(min_length=1)]
    load: LoadCurve = LoadCurve()
    offline: Offline = Offline()
    clocks: Clocks = Clocks()
    repeats: Repeats = Repeats()
    authorizations: Authorizations = Authorizations()
    contact_share: Share = Field(0, description="of the reports: contacts without use")
    clone_share: Share = Field(0, description="of the devices: they have the client UUID of another one")
    reinstalls_per_day: Share = 0
    bad_clients: dict[Kind, Share] = Field(default_factory=dict, description="for each report: one of this kind")
    large_payload_bytes: Annotated[int, Field(ge=66_000, le=8_000_000)] = 70 * 1024

    @property
    def device_count(self) -> int:
        """How many devices there are in all."""
        return sum(group.count for organization in self.organizations for group in organization.devices)

    def named(self, suffix: str) -> Self:
        """Return the same fleet under organization ids of its own, for another run on the same cluster."""
        renamed = tuple(
            each.model_copy(update={"organization_id": f"{each.organization_id}.{suffix}"})
            for each in self.organizations
        )
        return self.model_copy(update={"organizations": renamed})
