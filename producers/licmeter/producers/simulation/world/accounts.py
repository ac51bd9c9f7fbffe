"""What was put onto one item, for each kind of charge way (domain, section 6).

An account takes units in three passes (7.3): within its quota, within its grace, and over. Books are kept in the
order in which records are sent, with the item's terms as they are then. Seats do not end here: periods of activity are
longer than a run, so that no figure depends on the instant at which the broker takes a report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from licmeter.producers.simulation.ledger import ItemBook
from licmeter.producers.simulation.world.domains import domain_of
from licmeter.schemas.catalog import LicenseItem
from licmeter.schemas.outcomes import ItemState

__all__ = ["SLOT_S", "Account", "Caller", "CumulativeAccount", "DomainAccount", "SeatAccount"]

SLOT_S: Final = 180
_DAY_S: Final = 86_400
_SEAT_GRACE_PERCENT: Final = 10  # per device and per server (domain, section 6)


@dataclass(frozen=True, slots=True)
class Caller:
    """A device as the books know it; `traits` are product, version, edition and deployment type."""

    client_uuid: str
    traits: tuple[str | None, str | None, str | None, str | None] = (None, None, None, None)
    host: str | None = None
    instances: int | None = None


class Account:
    """An item, its terms as they are now, and what was charged to it."""

    #: Whether what is left when all quotas and graces are full may go here (7.3, pass 3).
    takes_over: ClassVar[bool] = False

    def __init__(self, item: LicenseItem, now_s: int, suffixes: Sequence[str] = ()) -> None:
        self.now_s = now_s
        self.attributed = 0
        self.revise(item, suffixes)

    def revise(self, item: LicenseItem, suffixes: Sequence[str] = ()) -> None:
        """Put new terms in force; what was counted stays."""
        self.item = item
        self.quota = item.quota
        self.starts_s = int(item.starts_at.timestamp())
        self.expires_s = int(item.expires_at.timestamp())
        self.ends_s = self.expires_s + item.expiry_grace_days * _DAY_S
        self.revoked_s = None if item.revoked_at is None else int(item.revoked_at.timestamp())
        self.modules = frozenset(item.modules)
        self.traits = (item.product, item.version, item.edition, item.deployment_type)
        self.domains = frozenset(domain_of(field.value, suffixes) for field in item.validation_fields)

    def fits(self, feature: str | None, caller: Caller, host_domain: str | None) -> bool:
        """Tell whether the item covers a feature (None = any) of a caller, at any time (7.1)."""
        if feature is not None and self.modules and feature not in self.modules:
            return False
        traits = zip(self.traits, caller.traits, strict=True)
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in traits)

    def valid_in(self, slot_s: int) -> bool:
        """Tell whether a slot overlaps the validity and its grace, and began before a revocation (7.1, E14, E15)."""
        if slot_s + SLOT_S <= self.starts_s or slot_s >= self.ends_s:
            return False
        return self.revoked_s is None or slot_s < self.revoked_s

    def take(self, units: int, caller: Caller, slot_s: int, eligible: "Sequence[Account]") -> int:
        """Take units within the quota; return how many."""
        raise NotImplementedError

    def take_in_grace(self, units: int, caller: Caller, slot_s: int, eligible: "Sequence[Account]") -> int:
        """Take units within the grace; return how many."""
        return 0

    def take_rest(self, units: int, caller: Caller, slot_s: int) -> None:
        """Take units over all limits, where `takes_over` is true."""
        raise NotImplementedError

    @property
    def measured(self) -> tuple[int, int | None]:
        """What is held against which limit (8.1)."""
        return 0, None

    def figures(self) -> dict[str, object]:
        """Return what `license.counters` must say of the item."""
        value, limit = self.measured
        units = dict.fromkeys(("used", "in_quota", "in_grace", "over", "active", "consumed"), 0)
        own: dict[str, object] = {
            "charge_way": self.item.charge_way,
            "quota": self.quota,
            "attributed": self.attributed,
            "budget": None,
            "budget_year": None,
            "percent": None if limit is None else _percent(value, limit),
            "state": self.state,
            "in_expiry_grace": self.expires_s <= self.now_s < self.ends_s,
        }
        return units | own

    @property
    def state(self) -> ItemState:
        """Where the item stands (8.1); first match wins."""
        if self.revoked_s is not None and self.now_s >= self.revoked_s:
            return ItemState.REVOKED
        if self.now_s < self.starts_s:
            return ItemState.PENDING
        return ItemState.EXPIRED if self.now_s >= self.ends_s else self._use_state()

    def _use_state(self) -> ItemState:
        return ItemState.ACTIVE


class CumulativeAccount(Account):
    """Per scan, per page (6.1): units in three parts."""

    takes_over = True

    def __init__(self, item: LicenseItem, now_s: int, suffixes: Sequence[str] = ()) -> None:
        self.book = ItemBook(item.quota)
        super().__init__(item, now_s, suffixes)

    def revise(self, item: LicenseItem, suffixes: Sequence[str] = ()) -> None:
        """Put new terms in force."""
        super().revise(item, suffixes)
        self.book.quota = item.quota

    def take(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Fill the quota."""
        taken = units - self.book.fill_quota(units)
        self.attributed += taken
        return taken

    def take_in_grace(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Fill the grace."""
        taken = units - self.book.fill_grace(units)
        self.attributed += taken
        return taken

    def take_rest(self, units: int, caller: Caller, slot_s: int) -> None:
        """Count what came all the same (C3)."""
        self.book.over += units
        self.attributed += units

    def figures(self) -> dict[str, object]:
        """Return what must be said, with the three parts."""
        return super().figures() | self.book.figures() | {"state": self.state}

    @property
    def measured(self) -> tuple[int, int | None]:
        """Units of the quota."""
        return self.book.used, self.quota

    def _use_state(self) -> ItemState:
        return self.book.state


class SeatAccount(Account):
    """Per device, per server (6.2, 6.5): seats, which do not end within a run."""

    def __init__(self, item: LicenseItem, now_s: int, suffixes: Sequence[str] = ()) -> None:
        super().__init__(item, now_s, suffixes)
        self.seats: set[str] = set()

    def seat(self, client: str, limit: int | None, eligible: Sequence[Account]) -> bool:
        """Give a device a seat below a limit, unless it has one here; none if it has one elsewhere (V4, V6)."""
        if client in self.seats:
            return True
        if any(isinstance(other, SeatAccount) and client in other.seats for other in eligible):
            return False
        if limit is not None and len(self.seats) >= limit:
            return False
        self.seats.add(client)
        return True

    def take(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Take all of a device that has a seat, or gets one within the quota."""
        return self._all_of(units, self.seat(caller.client_uuid, self.quota, eligible))

    def take_in_grace(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Take all of a device that gets a seat within the grace."""
        return self._all_of(units, self.seat(caller.client_uuid, self.limit, eligible))

    def _all_of(self, units: int, seated: bool) -> int:
        taken = units if seated else 0
        self.attributed += taken
        return taken

    @property
    def limit(self) -> int | None:
        """Quota and grace together; half up, in integers (domain, "Rounding")."""
        return None if self.quota is None else self.quota + (_SEAT_GRACE_PERCENT * self.quota + 50) // 100

    def figures(self) -> dict[str, object]:
        """Return what must be said, with the live seats."""
        return super().figures() | {"active": len(self.seats)}

    @property
    def measured(self) -> tuple[int, int | None]:
        """Seats of the quota."""
        return len(self.seats), self.quota

    def _use_state(self) -> ItemState:
        if self.quota is None or self.limit is None or len(self.seats) < self.quota:
            return ItemState.ACTIVE
        return ItemState.BLOCKED if len(self.seats) >= self.limit else ItemState.GRACE


class DomainAccount(Account):
    """Per domain (6.6): any use on its domains."""

    def fits(self, feature: str | None, caller: Caller, host_domain: str | None) -> bool:
        """Tell whether the host is of a listed domain, too; a report without a host is not."""
        return host_domain in self.domains and super().fits(feature, caller, host_domain)

    def take(self, units: int, caller: Caller, slot_s: int, eligible: Sequence[Account]) -> int:
        """Take everything."""
        self.attributed += units
        return units


def _percent(value: int, limit: int) -> str:
    """Half up to two decimals."""
    hundredths = (20_000 * value + limit) // (2 * limit)
    return f"{hundredths // 100}.{hundredths % 100:02}"
