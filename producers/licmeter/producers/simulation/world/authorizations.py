"""Who must be given leave to run (domain, section 9), as far as scenarios go: granted or not, and by which item.

Items have no add-ons here, and projects neither session passwords nor validation fields.
"""

from collections.abc import Sequence
from typing import Final

from licmeter.producers.simulation.world.accounts import (
    SLOT_S,
    Account,
    Caller,
    CumulativeAccount,
    DomainAccount,
    SeatAccount,
)
from licmeter.producers.simulation.world.slot_accounts import SlotAccount

__all__ = ["grant"]

_LEASE_S: Final = 2 * SLOT_S  # N8: from the start of the slot to the end of the next


def grant(accounts: Sequence[Account], caller: Caller, at_s: int) -> Account | None:
    """Give leave by the first item with room within its quota, or else within its grace; None = refused.

    `accounts` are those of a project in consumption order that fit the caller. The seat or lease is taken.
    """
    wanted = caller.instances or 1
    candidates = [account for account in accounts if _admits(account, wanted, at_s)]
    for in_grace in (False, True):
        for account in candidates:
            if _has_room(account, caller, at_s, candidates, in_grace=in_grace):
                if isinstance(account, SlotAccount):
                    _lease(account, caller, at_s)
                return account
    return None


def _admits(account: Account, wanted: int, at_s: int) -> bool:
    """Run the checks 112, 111, 113 and 130; a domain item without a quota has one of 1 (O3)."""
    if not account.starts_s <= at_s < account.ends_s:
        return False
    if account.revoked_s is not None and at_s >= account.revoked_s:
        return False
    quota = account.quota or (1 if isinstance(account, DomainAccount) else None)
    return quota is None or wanted <= quota


def _has_room(account: Account, caller: Caller, at_s: int, candidates: Sequence[Account], *, in_grace: bool) -> bool:
    """Tell whether an item gives leave; a seat is taken at once."""
    if isinstance(account, SeatAccount):
        return account.seat(caller.client_uuid, account.limit if in_grace else account.quota, candidates)
    if isinstance(account, SlotAccount):
        return _has_slot(account, caller, at_s, in_grace=in_grace)
    if isinstance(account, CumulativeAccount):
        limit = account.book.limit if in_grace else account.quota
        return limit is None or account.book.used < limit
    return True


def _has_slot(account: SlotAccount, caller: Caller, at_s: int, *, in_grace: bool) -> bool:
    """Look at live leases, and at who used the slot: the larger counts (decision 8, G15)."""
    if account.quota is None:
        return True
    if in_grace:
        return not account.capped(at_s - at_s % SLOT_S)
    slot = account.slots.get(at_s - at_s % SLOT_S)
    held = {} if slot is None else dict(slot.holders)
    for client, (end_s, seats) in account.leases.items():
        if at_s < end_s:
            held[client] = max(seats, held.get(client, 0))
    mine, wanted = held.pop(caller.client_uuid, 0), account.seats_of(caller)
    return mine >= wanted or sum(held.values()) + wanted <= account.quota


def _lease(account: SlotAccount, caller: Caller, at_s: int) -> None:
    """Note a lease; a contact never shortens one (decision 8, G1)."""
    ends = [at_s - at_s % SLOT_S + _LEASE_S, account.ends_s]
    if account.revoked_s is not None:
        ends.append(account.revoked_s)
    end_s, seats = min(ends), account.seats_of(caller)
    known = account.leases.get(caller.client_uuid)
    if known is not None and at_s < known[0]:
        end_s, seats = max(end_s, known[0]), max(seats, known[1])
    account.leases[caller.client_uuid] = (end_s, seats)
