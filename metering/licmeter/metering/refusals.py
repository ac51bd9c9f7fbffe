"""Notices that somebody was turned away, or that something came with a wrong clock or name (domain, 8.2).

Each is given once for its identity, for which the organization's `NoticeBook` (or a slot's memory) remembers it.
"""

from collections.abc import Sequence

from licmeter.metering.allotment import Contact
from licmeter.metering.breaches import BreachFact
from licmeter.metering.charging import Occasion
from licmeter.metering.items import DAY_MS, MeteredItem
from licmeter.metering.organization import OrganizationState
from licmeter.metering.slot_use import unlicensed
from licmeter.metering.slots import slot_start
from licmeter.schemas.outcomes import BreachKind

__all__ = ["note_clock_skew", "note_full_items", "note_outside_host", "note_unknown_project", "note_unlicensed"]


def note_full_items(items: Sequence[MeteredItem], contact: Contact, occasion: Occasion) -> None:
    """Note a device that found device items full (`device_refused`): once per item, client and UTC day."""
    day = contact.at_ms // DAY_MS
    for item in items:
        if not item.seated or item.quota is None:
            continue
        fact = BreachFact(
            contact.state.organization_id,
            BreachKind.DEVICE_REFUSED,
            (item.item_id, contact.client_uuid, day),
            slot_start(contact.at_ms // 1000),
            occasion.received_ms,
            project_id=occasion.project_id,
            item_id=item.item_id,
            client_uuid=contact.client_uuid,
            quota=item.quota,
            limit=item.quota + item.grace,
            value=contact.state.seat_book(item.item_id).count(contact.at_ms),
            percent_base=item.quota,
            late=occasion.late,
        )
        occasion.breaches += _given(contact.state, day, fact)


def note_outside_host(key: str, items: Sequence[MeteredItem], contact: Contact, occasion: Occasion) -> None:
    """Note a host outside of per-domain items (`domain_refused`, O4): once per item, domain key and UTC day."""
    day = contact.at_ms // DAY_MS
    for item in items:
        fact = BreachFact(
            contact.state.organization_id,
            BreachKind.DOMAIN_REFUSED,
            (item.item_id, key, day),
            slot_start(contact.at_ms // 1000),
            occasion.received_ms,
            project_id=occasion.project_id,
            item_id=item.item_id,
            late=occasion.late,
            detail=key,
        )
        occasion.breaches += _given(contact.state, day, fact)


def note_unlicensed(contact: Contact, occasion: Occasion) -> None:
    """Note a report that no item took (`unlicensed_use`): once per project, slot and client."""
    use = contact.slots.slot(contact.state.organization_id, unlicensed(occasion.project_id), contact.slot_s)
    if use.hold(contact.client_uuid, 1):
        occasion.breaches.append(
            BreachFact(
                contact.state.organization_id,
                BreachKind.UNLICENSED_USE,
                (occasion.project_id, contact.slot_s, contact.client_uuid),
                contact.slot_s,
                occasion.received_ms,
                project_id=occasion.project_id,
                client_uuid=contact.client_uuid,
                late=occasion.late,
            )
        )


def note_clock_skew(
    state: OrganizationState,
    organization_id: str,
    client_uuid: str,
    received_ms: int,
    detail: str,
    *,
    late: bool,
) -> list[BreachFact]:
    """Note a client whose clock is wrong (checks 5 and 6): once per client and UTC day."""
    day = received_ms // DAY_MS
    fact = BreachFact(
        organization_id,
        BreachKind.CLOCK_SKEW,
        (client_uuid, day),
        slot_start(received_ms // 1000),
        received_ms,
        client_uuid=client_uuid,
        late=late,
        detail=detail,
    )
    return _given(state, day, fact)


def note_unknown_project(
    state: OrganizationState, organization_id: str, project_id: str | None, received_ms: int, *, late: bool
) -> list[BreachFact]:
    """Note a name that is no project, or none where there is no default (check 8): once per name and UTC day."""
    day = received_ms // DAY_MS
    fact = BreachFact(
        organization_id,
        BreachKind.UNKNOWN_PROJECT,
        (project_id or "", day),
        slot_start(received_ms // 1000),
        received_ms,
        project_id=project_id,
        late=late,
    )
    return _given(state, day, fact)


def _given(state: OrganizationState, day: int, fact: BreachFact) -> list[BreachFact]:
    """Return the breach unless it was given before."""
    if state.organization_id != fact.organization_id:
        # Counted to nobody, whose notices are its own: once the organization is known it gives its own, too.
        fact.identity = (*fact.identity, "unknown organization")
    return [fact] if state.notices.note(day, fact.breach_id) else []
