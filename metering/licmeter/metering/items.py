"""License items made ready for counting, and what was counted on them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from licmeter.metering.slots import slot_end
from licmeter.schemas.catalog import LicenseItem
from licmeter.schemas.outcomes import ChargeWay, ItemState

__all__ = ["CumulativeUse", "MeteredItem", "grace_of", "item_state", "percent_of"]

#: Per scan and per page: 5 % (domain, section 6).
_CUMULATIVE_GRACE_PERCENT: Final = 5


def grace_of(percent: int, quota: int) -> int:
    """Return the grace of a quota: half up, in integers (domain, "Rounding")."""
    return (percent * quota + 50) // 100


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class MeteredItem:
    """An item with its limits resolved; instants in milliseconds. `quota` None = unlimited."""

    item_id: str
    charge_way: ChargeWay
    quota: int | None
    grace: int
    starts_ms: int
    expires_ms: int
    ends_ms: int  # expiry plus expiry grace
    revoked_ms: int | None
    modules: frozenset[str]
    restrictions: tuple[str | None, str | None, str | None, str | None]

    @classmethod
    def of(cls, item: LicenseItem) -> Self:
        """Resolve the limits of a catalog item."""
        ends = item.expires_at + timedelta(days=item.expiry_grace_days)
        return cls(
            item_id=item.item_id,
            charge_way=item.charge_way,
            quota=item.quota,
            grace=0 if item.quota is None else grace_of(_CUMULATIVE_GRACE_PERCENT, item.quota),
            starts_ms=_ms(item.starts_at),
            expires_ms=_ms(item.expires_at),
            ends_ms=_ms(ends),
            revoked_ms=None if item.revoked_at is None else _ms(item.revoked_at),
            modules=frozenset(item.modules),
            restrictions=(item.product, item.version, item.edition, item.deployment_type),
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


@dataclass(slots=True)
class CumulativeUse:
    """Units charged to a per-scan or per-page item (C1, C3); they never decrease (A7)."""

    in_quota: int = 0
    in_grace: int = 0
    over: int = 0

    @property
    def used(self) -> int:
        """All units charged."""
        return self.in_quota + self.in_grace + self.over


def item_state(item: MeteredItem, used: int, now_ms: int) -> ItemState:
    """Return where a cumulative item stands; first match wins (8.1)."""
    if item.revoked_ms is not None and now_ms >= item.revoked_ms:
        return ItemState.REVOKED
    if now_ms < item.starts_ms:
        return ItemState.PENDING
    if now_ms >= item.ends_ms:
        return ItemState.EXPIRED
    if item.quota is not None and used >= item.quota + item.grace:
        return ItemState.BLOCKED
    if item.quota is not None and used >= item.quota:
        return ItemState.GRACE
    return ItemState.ACTIVE


def percent_of(used: int, quota: int | None) -> str | None:
    """Return used × 100 / quota, half up to two decimals; None without a quota (section 10, E28)."""
    if quota is None:
        return None
    hundredths = (used * 20_000 + quota) // (2 * quota)
    return f"{hundredths // 100}.{hundredths % 100:02d}"
