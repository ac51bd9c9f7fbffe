"""Which of several items is used first (domain, 7.2)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from licmeter.metering.items import MeteredItem
from licmeter.schemas.outcomes import ChargeWay

__all__ = ["consumption_order"]

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
