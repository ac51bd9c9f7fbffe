"""When time alone can next change what a check sees: so that a recount need not run every check of a quiet year."""

from collections.abc import Iterator

from licmeter.metering.items import BUDGET_YEAR_MS, DAY_MS, MeteredItem
from licmeter.metering.organization import OrganizationState
from licmeter.metering.requests import CHECK_INTERVAL_MS

__all__ = ["next_change"]


def next_change(state: OrganizationState, after_ms: int) -> int | None:
    """Return the first instant after one at which something ends, begins or turns; None if nothing ever will."""
    return min((at_ms for at_ms in _changes(state, after_ms) if at_ms > after_ms), default=None)


def _changes(state: OrganizationState, after_ms: int) -> Iterator[int]:
    if state.catalog is None:
        return
    reminders = state.catalog.document.alerts.expiry_reminder_days
    for item in state.catalog.items.values():
        yield from _changes_of(item, after_ms)
        yield from (item.expires_ms - days * DAY_MS for days in reminders)
        end_ms = state.seat_book(item.item_id).next_end(after_ms)
        if end_ms is not None:
            yield end_ms
    # Requests come into the window, and leave it, one check after the other.
    for project_id in state.catalog.projects:
        if any(state.requests.window(project_id, at_ms) for at_ms in (after_ms, after_ms + CHECK_INTERVAL_MS)):
            yield after_ms + 1


def _changes_of(item: MeteredItem, after_ms: int) -> Iterator[int]:
    yield from (item.starts_ms, item.expires_ms, item.ends_ms)
    if item.revoked_ms is not None:
        yield item.revoked_ms
    if item.concurrent:
        yield item.starts_ms + (item.budget_year(after_ms) + 1) * BUDGET_YEAR_MS
