"""How a count is divided among the eligible items, in three passes (domain, 7.3). Reads the state, changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import OrganizationState
from licmeter.metering.slot_use import SlotMemory
from licmeter.schemas.outcomes import Tier

__all__ = ["Contact", "Share", "allot", "has_seat", "is_capped"]


@dataclass(slots=True)
class Contact:
    """Who uses items when: the state, and what of a report matters to items that count devices.

    `at_ms` rules seats (T5), `slot_s` concurrency.
    """

    state: OrganizationState
    slots: SlotMemory
    client_uuid: str
    slot_s: int
    at_ms: int
    instances: int | None = None


@dataclass(slots=True)
class Share:
    """What one item takes of one feature's count; the three parts are those of cumulative items."""

    item: MeteredItem
    quantity: int = 0
    tier: Tier = Tier.NONE
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0


def allot(count: int, items: Sequence[MeteredItem], contact: Contact) -> list[Share]:
    """Divide a count among eligible items, in consumption order; empty when none can take it.

    What no item takes within its limits goes over the last that is cumulative or concurrent; with none of
    these the shares add up to less than the count.
    """
    if len(items) == 1 and items[0].cumulative:
        return [_allot_one(count, items[0], contact.state)]
    shares = [Share(item) for item in items]
    rest = _pass(count, shares, Tier.QUOTA, contact)
    if rest:
        rest = _pass(rest, shares, Tier.GRACE, contact)
    if rest:
        _allot_over(rest, shares)
    return [share for share in shares if share.quantity]


def _allot_one(count: int, item: MeteredItem, state: OrganizationState) -> Share:
    """Do the same for a single cumulative item, which is nearly always so."""
    quota = item.quota
    if quota is None:
        return Share(item, count, Tier.QUOTA, count)
    used = state.use(item.item_id).used
    if used + count <= quota:
        return Share(item, count, Tier.QUOTA, count)
    in_quota = max(0, quota - used)
    in_grace = max(0, min(count - in_quota, quota + item.grace - used - in_quota))
    over = count - in_quota - in_grace
    tier = Tier.OVER if over else Tier.GRACE
    return Share(item, count, tier, in_quota, in_grace, over)


def _pass(rest: int, shares: Sequence[Share], tier: Tier, contact: Contact) -> int:
    """Let each item take what it may in a pass; return what is left."""
    for share in shares:
        if not rest:
            break
        item = share.item
        if item.cumulative:
            taken = _units(rest, share, tier, contact.state)
        else:
            taken = rest if not share.quantity and _takes_all(share, shares, tier, contact) else 0
        if taken:
            share.quantity += taken
            share.tier = tier
            rest -= taken
    return rest


def _units(rest: int, share: Share, tier: Tier, state: OrganizationState) -> int:
    item, used = share.item, state.use(share.item.item_id).used + share.quantity
    if tier is Tier.QUOTA:
        taken = rest if item.quota is None else max(0, min(rest, item.quota - used))
        share.in_quota += taken
    else:
        taken = 0 if item.quota is None else max(0, min(rest, item.quota + item.grace - used))
        share.in_grace += taken
    return taken


def _takes_all(share: Share, shares: Sequence[Share], tier: Tier, contact: Contact) -> bool:
    item = share.item
    if item.seated:
        return has_seat(item, [other.item for other in shares], tier, contact)
    if item.concurrent:
        return _has_room(item, tier, contact)
    return tier is Tier.QUOTA  # a domain item is eligible only where it matches


def has_seat(item: MeteredItem, items: Sequence[MeteredItem], tier: Tier, contact: Contact) -> bool:
    """Tell whether the device has a seat, or gets one: within the quota, or also in the grace (V4, V6)."""
    book = contact.state.seat_book(item.item_id)
    if book.live(contact.client_uuid, contact.at_ms) is not None:
        return True
    if _is_seated_elsewhere(items, contact):
        return False
    if item.quota is None:
        return True
    limit = item.quota if tier is Tier.QUOTA else item.quota + item.grace
    return book.count(contact.at_ms) < limit


def _is_seated_elsewhere(items: Sequence[MeteredItem], contact: Contact) -> bool:
    """Tell whether the device has a live seat on any of the items (V6)."""
    return any(
        item.seated and contact.state.seat_book(item.item_id).live(contact.client_uuid, contact.at_ms) is not None
        for item in items
    )


def _has_room(item: MeteredItem, tier: Tier, contact: Contact) -> bool:
    use = contact.slots.slot(contact.state.organization_id, item.item_id, contact.slot_s)
    if item.quota is None or contact.client_uuid in use.holders:
        return True
    if tier is Tier.QUOTA:
        return use.total + item.seats_of(contact.instances) <= item.quota
    return not is_capped(item, contact)


def is_capped(item: MeteredItem, contact: Contact) -> bool:
    """Tell whether the budget of the slot's year is used up (N4, N5)."""
    return item.budget is not None and _consumed(item, contact.state, contact.slot_s * 1000) >= item.budget


def _consumed(item: MeteredItem, state: OrganizationState, at_ms: int) -> int:
    """Return the exceptions of the budget year that an instant falls into (N2)."""
    return state.use(item.item_id).consumed.get(item.budget_year(at_ms), 0)


def _allot_over(rest: int, shares: Sequence[Share]) -> None:
    for share in reversed(shares):
        if share.item.cumulative:
            share.over = rest
        elif not share.item.concurrent:
            continue
        share.quantity += rest
        share.tier = Tier.OVER
        return
