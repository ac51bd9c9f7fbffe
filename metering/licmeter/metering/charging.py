"""Puts what was allotted onto the items: units, seats, slots; and notices what that crosses (domain, 6, 8.2)."""

from dataclasses import dataclass
from typing import Final

from licmeter.metering.allotment import Contact, Share
from licmeter.metering.breaches import BreachFact
from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import ItemUse
from licmeter.metering.slots import slot_start
from licmeter.schemas.outcomes import BreachKind, Tier

__all__ = ["UNATTRIBUTED", "Line", "Occasion", "charge_share", "take_seat"]

#: The item of a line that no item could take.
UNATTRIBUTED: Final = ""


@dataclass(slots=True)
class Line:
    """What one feature of a report was charged to; `item_id` "" = to nothing."""

    feature: str
    item_id: str
    quantity: int
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0
    tier: Tier = Tier.NONE
    exceptions: int = 0
    in_expiry_grace: bool = False


@dataclass(slots=True)
class Occasion:
    """What a breach event says of the event that led to it."""

    project_id: str
    received_ms: int
    late: bool
    breaches: list[BreachFact]


def charge_share(feature: str, share: Share, contact: Contact, occasion: Occasion) -> Line:
    """Charge one share; breaches go to the occasion."""
    item = share.item
    use = contact.state.use(item.item_id)
    use.attributed += share.quantity
    line = Line(feature, item.item_id, share.quantity, tier=share.tier)
    if item.cumulative:
        line.in_quota, line.in_grace, line.over = share.in_quota, share.in_grace, share.over
        _charge_units(item, use, share, contact, occasion)
    elif item.seated:
        take_seat(item, contact, occasion)
    elif item.concurrent:
        line.exceptions = _hold_slot(item, use, contact, occasion)
    line.in_expiry_grace = item.in_expiry_grace(contact.slot_s * 1000)
    return line


def _charge_units(item: MeteredItem, use: ItemUse, share: Share, contact: Contact, occasion: Occasion) -> None:
    before = use.used
    use.in_quota += share.in_quota
    use.in_grace += share.in_grace
    use.over += share.over
    quota = item.quota
    if quota is None or before + share.quantity < quota:
        return
    for kind, limit in _gauge_limits(item, quota):
        if before < limit <= use.used:
            # The identity names the quota, also where the grace is crossed.
            fact = _crossing(kind, (item.item_id, quota), item, contact, occasion)
            fact.limit, fact.value = limit, use.used
            occasion.breaches.append(fact)


def _gauge_limits(item: MeteredItem, quota: int) -> tuple[tuple[BreachKind, int], ...]:
    return (BreachKind.QUOTA_REACHED, quota), (BreachKind.GRACE_EXHAUSTED, quota + item.grace)


def take_seat(item: MeteredItem, contact: Contact, occasion: Occasion) -> None:
    """Move the device's seat or give it a new one (V2)."""
    book = contact.state.seat_book(item.item_id)
    end_ms = item.seat_end(contact.at_ms)
    contact.state.contacts.append((item.item_id, contact.client_uuid, occasion.project_id, contact.at_ms))
    if book.live(contact.client_uuid, contact.at_ms) is not None:
        book.contact(contact.client_uuid, contact.at_ms, end_ms)
        return
    before = book.count(contact.at_ms)
    book.contact(contact.client_uuid, contact.at_ms, end_ms)
    after = book.count(contact.at_ms)
    if item.quota is not None and after >= item.quota:
        _note_crossings(item, item.quota, before, after, contact, occasion)


def _note_crossings(
    item: MeteredItem, quota: int, before: int, after: int, contact: Contact, occasion: Occasion
) -> None:
    use, slot_s = contact.state.use(item.item_id), slot_start(contact.at_ms // 1000)
    for kind, limit in _gauge_limits(item, quota):
        if before < limit <= after and use.crossed.get(kind) != slot_s:
            use.crossed[kind.value] = slot_s
            fact = _crossing(kind, (item.item_id, slot_s), item, contact, occasion)
            fact.limit, fact.value, fact.slot_s = limit, after, slot_s
            occasion.breaches.append(fact)


def _hold_slot(item: MeteredItem, use: ItemUse, contact: Contact, occasion: Occasion) -> int:
    """Count the device in its slot; return the exceptions that it added (N2, I4; decision 8, G8)."""
    slot = contact.slots.slot(contact.state.organization_id, item.item_id, contact.slot_s)
    grown = slot.hold(contact.client_uuid, item.seats_of(contact.instances))
    if not grown or item.quota is None:
        return 0
    added = max(0, slot.total - item.quota) - max(0, slot.total - grown - item.quota)
    if not added:
        return 0
    if not slot.exceptions:
        fact = _crossing(BreachKind.CONCURRENCY_EXCEEDED, (item.item_id, contact.slot_s), item, contact, occasion)
        fact.limit, fact.value = item.quota, slot.total
        occasion.breaches.append(fact)
    slot.exceptions += added
    year = item.budget_year(contact.slot_s * 1000)
    before = use.consumed.get(year, 0)
    use.consumed[year] = after = before + added
    if item.budget is not None and before < item.budget <= after:
        fact = _crossing(BreachKind.OVERUSE_EXHAUSTED, (item.item_id, year), item, contact, occasion)
        fact.limit, fact.value, fact.percent_base = item.budget, after, item.budget
        occasion.breaches.append(fact)
    return added


def _crossing(
    kind: BreachKind, identity: tuple[str | int, ...], item: MeteredItem, contact: Contact, occasion: Occasion
) -> BreachFact:
    return BreachFact(
        organization_id=contact.state.organization_id,
        kind=kind,
        identity=identity,
        slot_s=contact.slot_s,
        at_ms=occasion.received_ms,
        project_id=occasion.project_id,
        item_id=item.item_id,
        quota=item.quota,
        percent_base=item.quota,
        late=occasion.late,
    )
