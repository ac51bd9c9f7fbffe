"""Which of several items is used first, and how a count is divided among them (domain, section 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from licmeter.metering.items import CumulativeUse, MeteredItem
from licmeter.schemas.outcomes import ChargeWay

__all__ = ["Share", "allot", "consumption_order"]

#: 7.2 (c).
_KIND_RANK: Final = {
    way: rank
    for rank, way in enumerate(
        (
            ChargeWay.PER_DOMAIN,
            ChargeWay.PER_SERVER,
            ChargeWay.PER_DEVICE,
            ChargeWay.PER_CONCURRENT_DEVICE,
            ChargeWay.PER_CONCURRENT_INSTANCE,
            ChargeWay.PER_PAGE,
            ChargeWay.PER_SCAN,
        )
    )
}


class _OrderKey(NamedTuple):
    """7.2: expiry, breadth, kind, size, id."""

    expires_ms: int
    covers_all: bool
    modules: int
    kind_rank: int
    limited: bool
    smallness: int
    item_id: str


def _order_key(item: MeteredItem) -> _OrderKey:
    return _OrderKey(
        expires_ms=item.expires_ms,
        covers_all=not item.modules,
        modules=len(item.modules),
        kind_rank=_KIND_RANK[item.charge_way],
        limited=item.quota is not None,
        smallness=-(item.quota or 0),
        item_id=item.item_id,
    )


def consumption_order(items: Sequence[MeteredItem], usage_order: Sequence[str] | None) -> tuple[MeteredItem, ...]:
    """Sort the items of a project: the explicit order first, the rest in the default order (7.2)."""
    explicit = {item_id: place for place, item_id in enumerate(usage_order or ())}
    last = len(explicit)
    return tuple(sorted(items, key=lambda item: (explicit.get(item.item_id, last), _order_key(item))))


@dataclass(slots=True)
class Share:
    """What one item takes of one feature's count."""

    item: MeteredItem
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0


def allot(count: int, items: Sequence[MeteredItem], uses: Mapping[str, CumulativeUse]) -> list[Share]:
    """Divide a count among eligible items, in consumption order (7.3); empty when there is no item.

    `uses` are read, not changed. The passes: within quota, in grace, and the rest over the last item.
    """
    if not items:
        return []
    if len(items) == 1:
        return [_allot_one(count, items[0], uses[items[0].item_id])]
    shares = [Share(item) for item in items]
    rest = count
    for share in shares:
        if share.item.quota is None:
            share.in_quota = rest
        else:
            room = share.item.quota - uses[share.item.item_id].used
            share.in_quota = max(0, min(rest, room))
        rest -= share.in_quota
    for share in shares:
        if rest and share.item.quota is not None:
            taken = uses[share.item.item_id].used + share.in_quota
            share.in_grace = max(0, min(rest, share.item.quota + share.item.grace - taken))
            rest -= share.in_grace
    shares[-1].over = rest
    return [share for share in shares if share.in_quota or share.in_grace or share.over]


def _allot_one(count: int, item: MeteredItem, use: CumulativeUse) -> Share:
    """Do the same for a single item, which is nearly always so."""
    if item.quota is None:
        return Share(item, in_quota=count)
    used = use.used
    in_quota = max(0, min(count, item.quota - used))
    in_grace = max(0, min(count - in_quota, item.quota + item.grace - used - in_quota))
    return Share(item, in_quota, in_grace, count - in_quota - in_grace)
