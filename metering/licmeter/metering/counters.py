"""From an organization's state to what `license.counters` says of it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from licmeter.metering.items import item_state, percent_of
from licmeter.metering.organization import OrganizationState
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
    )


def item_counters(state: OrganizationState, source_partition: int, item_ids: Iterable[str]) -> Iterator[ItemCounters]:
    """Return the counters of items that are in the catalog; the state is that at the last event's arrival."""
    if state.catalog is None:
        return
    for item_id in item_ids:
        item = state.catalog.items.get(item_id)
        if item is None:
            continue
        use = state.use(item_id)
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
            percent=percent_of(use.used, item.quota),
            state=item_state(item, use.used, state.updated_ms),
            in_expiry_grace=item.in_expiry_grace(state.updated_ms),
        )


def _instant(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
