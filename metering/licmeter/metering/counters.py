"""From an organization's state to what `license.counters` says of it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from licmeter.metering.items import MeteredItem, percent_of
from licmeter.metering.organization import OrganizationState
from licmeter.metering.states import item_state, measure
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import Outcome

__all__ = ["item_counters", "organization_counters"]


def organization_counters(state: OrganizationState, source_partition: int) -> OrganizationCounters:
    """Return the organization's reports by outcome."""
    outcomes = state.outcomes
    return OrganizationCounters(
        organization_id=state.organization_id,
        source_partition=source_partition,
        applied_offset=state.applied_offset,
        updated_at=_instant(state.updated_ms),
        charged=outcomes[Outcome.CHARGED],
        uncharged=outcomes[Outcome.UNCHARGED],
        duplicate=outcomes[Outcome.DUPLICATE],
        rejected=outcomes[Outcome.REJECTED],
        granted=state.granted,
        refused=state.refused,
        notices_withheld=state.notices.withheld,
    )


def item_counters(
    state: OrganizationState, source_partition: int, items: Iterable[MeteredItem], now_ms: int
) -> Iterator[ItemCounters]:
    """Return the counters of items, as they stand at an instant."""
    for item in items:
        item_id = item.item_id
        use, seats = state.use(item_id), state.seat_book(item_id)
        value, limit = measure(item, use, seats, now_ms)
        year = item.budget_year(now_ms) if item.concurrent else None
        yield ItemCounters(
            organization_id=state.organization_id,
            source_partition=source_partition,
            applied_offset=state.applied_offset,
            updated_at=_instant(state.updated_ms),
            item_id=item_id,
            charge_way=item.charge_way,
            quota=item.quota,
            used=use.used,
            in_quota=use.in_quota,
            in_grace=use.in_grace,
            over=use.over,
            attributed=use.attributed,
            active=seats.count(now_ms) if item.seated else 0,
            consumed=0 if year is None else use.consumed.get(year, 0),
            budget=item.budget,
            budget_year=year,
            percent=percent_of(value, limit) if item.cumulative or item.seated or item.concurrent else None,
            state=item_state(item, use, seats, now_ms),
            in_expiry_grace=item.in_expiry_grace(now_ms),
        )


def _instant(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
