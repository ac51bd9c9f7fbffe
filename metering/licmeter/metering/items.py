"""License items made ready for counting: limits resolved, instants as milliseconds."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Self

from licmeter.metering.domains import Validation, field_key
from licmeter.metering.slots import slot_end
from licmeter.schemas.catalog import LicenseItem, ValidationField
from licmeter.schemas.outcomes import CONCURRENCY, CUMULATIVE, SEATED, ActivityPeriod, ChargeWay

__all__ = ["BUDGET_YEAR_MS", "DAY_MS", "MeteredItem", "field_keys", "grace_of", "instant_ms", "percent_of"]

DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
#: Section 6: per scan and per page 5 %, devices and servers 10 %; the others have no grace.
_GRACE_PERCENT: Final = dict.fromkeys(CUMULATIVE, 5) | dict.fromkeys(SEATED, 10)
#: V1; S2 for servers.
_PERIOD_MS: Final = {
    ActivityPeriod.YEARLY: 365 * DAY_MS,
    ActivityPeriod.QUARTERLY: 90 * DAY_MS,
    ActivityPeriod.MONTHLY: 30 * DAY_MS,
    ActivityPeriod.DAILY: DAY_MS,
}
#: N3: exceptions a budget year for each unit of the quota.
_BUDGET_FACTOR: Final = 1_000
#: N5.
BUDGET_YEAR_MS: Final = 365 * DAY_MS


def grace_of(percent: int, quota: int) -> int:
    """Return the grace of a quota: half up, in integers (domain, "Rounding")."""
    return (percent * quota + 50) // 100


def percent_of(value: int, quota: int | None) -> str | None:
    """Return value × 100 / quota, half up to two decimals; None without a quota (section 10, E28)."""
    if quota is None:
        return None
    hundredths = (value * 20_000 + quota) // (2 * quota)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def instant_ms(instant: datetime) -> int:
    """Return an instant in milliseconds since 1970, rounded down: 59.9996 s is not the next slot (T2)."""
    return (instant - _EPOCH) // _MS


def field_keys(fields: Iterable[ValidationField], suffixes: tuple[str, ...]) -> frozenset[Validation]:
    """Return validation fields in the form in which they are compared."""
    return frozenset(field_key((field.kind, field.value), suffixes) for field in fields)


def _end(stated: datetime) -> datetime:
    """An end shown as 23:59:59 is read as the next midnight (section 2)."""
    last_second = stated.astimezone(UTC).timetz().replace(microsecond=0) == time(23, 59, 59, tzinfo=UTC)
    return stated.replace(microsecond=0) + timedelta(seconds=1) if last_second else stated


@dataclass(frozen=True, slots=True)
class MeteredItem:
    """An item with its limits resolved; instants in milliseconds. `quota` None = unlimited."""

    item_id: str
    charge_way: ChargeWay
    quota: int | None
    grace: int
    budget: int | None  # concurrency items: exceptions a budget year
    period_ms: int  # device items: how long a seat lives; 0 for the others
    starts_ms: int
    expires_ms: int
    ends_ms: int  # expiry plus expiry grace
    revoked_ms: int | None
    modules: frozenset[str]
    restrictions: tuple[str | None, str | None, str | None, str | None]
    fields: frozenset[Validation]
    base_item_ids: frozenset[str]
    daily: bool
    cumulative: bool
    seated: bool
    concurrent: bool

    @classmethod
    def of(cls, item: LicenseItem, suffixes: tuple[str, ...] = ()) -> Self:
        """Resolve the limits of a catalog item; `suffixes` are the organization's platform suffixes."""
        way, quota = item.charge_way, item.quota
        budget = None
        if way in CONCURRENCY and quota is not None:
            budget = item.overuse_budget or _BUDGET_FACTOR * quota
        expires_ms = instant_ms(_end(item.expires_at))
        period = item.activity_period or ActivityPeriod.YEARLY
        return cls(
            item_id=item.item_id,
            charge_way=way,
            quota=quota,
            grace=0 if quota is None else grace_of(_GRACE_PERCENT.get(way, 0), quota),
            budget=budget,
            period_ms=_PERIOD_MS[period] if way in SEATED else 0,
            starts_ms=instant_ms(item.starts_at),
            expires_ms=expires_ms,
            ends_ms=expires_ms + item.expiry_grace_days * DAY_MS,
            revoked_ms=None if item.revoked_at is None else instant_ms(item.revoked_at),
            modules=frozenset(item.modules),
            restrictions=(item.product, item.version, item.edition, item.deployment_type),
            fields=field_keys(item.validation_fields, suffixes),
            base_item_ids=frozenset(item.base_item_ids),
            daily=way is ChargeWay.PER_DEVICE and period is ActivityPeriod.DAILY,
            cumulative=way in CUMULATIVE,
            seated=way in SEATED,
            concurrent=way in CONCURRENCY,
        )

    def covers(self, feature: str) -> bool:
        """Tell whether the item covers a feature; no modules = all (7.1)."""
        return not self.modules or feature in self.modules

    def matches(self, wanted: tuple[str | None, ...]) -> bool:
        """Tell whether product, version, edition and deployment type fit; missing on either side = any (7.1)."""
        return all(
            mine is None or theirs is None or mine == theirs
            for mine, theirs in zip(self.restrictions, wanted, strict=True)
        )

    def admits(self, validation: Validation | None) -> bool:
        """Tell whether the validation field of a report, as `field_key` gives it, fits (decision 8, G13)."""
        if self.charge_way is ChargeWay.PER_DOMAIN:
            return validation is not None and validation in self.fields
        if validation is None or validation in self.fields:
            return True
        return all(kind != validation[0] for kind, _ in self.fields)

    def valid_in(self, slot_s: int) -> bool:
        """Tell whether the slot overlaps the validity with its grace, and began before a revocation (7.1, E14)."""
        slot_ms = slot_s * 1000
        return (
            slot_end(slot_s) * 1000 > self.starts_ms
            and slot_ms < self.ends_ms
            and (self.revoked_ms is None or slot_ms < self.revoked_ms)
        )

    def in_expiry_grace(self, at_ms: int) -> bool:
        """Tell whether the item is past its expiry but still in its expiry grace (8.1, E13)."""
        return self.expires_ms <= at_ms < self.ends_ms

    def seat_end(self, contact_ms: int) -> int:
        """Return the end of a seat after a contact (V2)."""
        cap = self.expires_ms if contact_ms < self.expires_ms else self.ends_ms
        return min(contact_ms + self.period_ms, cap)

    def budget_year(self, at_ms: int) -> int:
        """Return the budget year of an instant, from 0 (N5; before the start: decision 8, G9)."""
        return max(0, (at_ms - self.starts_ms) // BUDGET_YEAR_MS)

    def seats_of(self, instances: int | None) -> int:
        """Return the seats that a device takes in a slot (I3); nothing declared is one."""
        return (instances or 1) if self.charge_way is ChargeWay.PER_CONCURRENT_INSTANCE else 1
