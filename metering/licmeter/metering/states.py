"""Where an item stands (domain, 8.1)."""

from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import ItemUse
from licmeter.metering.seats import SeatBook
from licmeter.schemas.outcomes import ItemState

__all__ = ["item_state", "measure", "state_of"]


def measure(item: MeteredItem, use: ItemUse, seats: SeatBook, at_ms: int) -> tuple[int, int | None]:
    """Return what is held against which limit: used or active of the quota, consumed of the budget (8.1, W3)."""
    if item.seated:
        return seats.count(at_ms), item.quota
    if item.concurrent:
        return use.consumed.get(item.budget_year(at_ms), 0), item.budget
    return use.used, item.quota


def item_state(item: MeteredItem, use: ItemUse, seats: SeatBook, now_ms: int) -> ItemState:
    """Return the state; first match wins."""
    value, limit = measure(item, use, seats, now_ms)
    return state_of(item, value, limit, now_ms)


def state_of(item: MeteredItem, value: int, limit: int | None, now_ms: int) -> ItemState:
    """Return the state at an instant, given what is held against which limit, as `measure` has it."""
    if item.revoked_ms is not None and now_ms >= item.revoked_ms:
        return ItemState.REVOKED
    if now_ms < item.starts_ms:
        return ItemState.PENDING
    if now_ms >= item.ends_ms:
        return ItemState.EXPIRED
    if limit is None:
        return ItemState.ACTIVE
    if item.concurrent:
        if value >= limit:
            return ItemState.CAPPED
        return ItemState.OVERUSING if value else ItemState.ACTIVE
    if not (item.cumulative or item.seated):
        return ItemState.ACTIVE
    if value >= limit + item.grace:
        return ItemState.BLOCKED
    return ItemState.GRACE if value >= limit else ItemState.ACTIVE
