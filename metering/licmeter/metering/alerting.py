"""The ten-minute check: which levels an organization newly passed (domain, section 11). Pure: the instant is given."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from math import ceil
from typing import Final, Literal

from licmeter.metering.items import DAY_MS, MeteredItem, percent_of
from licmeter.metering.organization import MeteredCatalog, OrganizationState
from licmeter.metering.recipients import parse_recipients
from licmeter.metering.requests import CHECK_INTERVAL_MS, NO_CODE, WINDOW_MS
from licmeter.metering.states import item_state, measure
from licmeter.schemas.alerts import Condition, RecipientLists, UsageAlert
from licmeter.schemas.catalog import AlertSettings
from licmeter.schemas.outcomes import ItemState

__all__ = ["HeldLevels", "check_organization", "next_check"]

#: W7: points below a level at which it arms again.
_REARM_POINTS: Final = 5
#: Codes that are no failed request (W8): the server did not judge it.
_UNJUDGED: Final = 100
_TOP_CODES_MAX: Final = 5
#: W9.
_UNCHECKED: Final = frozenset({ItemState.PENDING, ItemState.REVOKED, ItemState.EXPIRED})

Metric = Literal["used", "active", "consumed"]


@dataclass(frozen=True, slots=True)
class _Levels:
    cumulative: tuple[int, ...]
    devices: tuple[int, ...]
    daily: tuple[int, ...]
    concurrency: tuple[int, ...]
    failures: tuple[int, ...]


#: W3.
_PRESETS: Final = {
    "default": _Levels((60, 80, 100), (60, 80, 100), (100,), (60, 80, 100), (10, 20, 40, 60, 80, 100)),
    "legacy": _Levels(
        (75, 90, 95, 100, 105),
        (75, 90, 95, 100, 110),
        (75, 90, 95, 100, 110),
        (50, 75, 90, 100),
        (10, 25, 50, 75),
    ),
}


@dataclass(slots=True)
class HeldLevels:
    """Levels that were notified and did not arm again since, by what they are levels of (W6, W7)."""

    held: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def update(self, name: str, met: set[int], rearmed: set[int]) -> tuple[int, ...]:
        """Note what a check saw; return the levels that are newly met, ascending."""
        before = set(self.held.get(name, ()))
        after = (before - rearmed) | met
        if after:
            self.held[name] = tuple(sorted(after))
        else:
            self.held.pop(name, None)
        return tuple(sorted(met - before))


def next_check(at_ms: int) -> int:
    """Return the first check instant after an instant: :00, :10, … (W1)."""
    return (at_ms // CHECK_INTERVAL_MS + 1) * CHECK_INTERVAL_MS


def check_organization(state: OrganizationState, held: HeldLevels, check_ms: int) -> UsageAlert | None:
    """Run one check; `held` is changed. All conditions make one message, or there is none (W2)."""
    catalog = state.catalog
    if catalog is None:
        return None
    conditions = [*_check_items(state, catalog, held, check_ms), *_check_projects(state, catalog, held, check_ms)]
    if not conditions:
        return None
    recipients = catalog.document.alerts.recipients
    return UsageAlert(
        alert_id=_alert_id(state.organization_id, check_ms),
        organization_id=state.organization_id,
        checked_at=datetime.fromtimestamp(check_ms / 1000, UTC),
        conditions=tuple(conditions),
        recipients=RecipientLists() if recipients is None else parse_recipients(recipients)[0],
    )


def _alert_id(organization_id: str, check_ms: int) -> str:
    """W12."""
    return blake2b(f"alert\0{organization_id}\0{check_ms}".encode(), digest_size=16).hexdigest()


def _check_items(
    state: OrganizationState, catalog: MeteredCatalog, held: HeldLevels, check_ms: int
) -> Iterator[Condition]:
    settings = catalog.document.alerts
    for item_id, item in sorted(catalog.items.items()):
        use, seats = state.use(item_id), state.seat_book(item_id)
        standing = item_state(item, use, seats, check_ms)
        if standing in _UNCHECKED:
            continue
        value, limit = measure(item, use, seats, check_ms)
        levels = _item_levels(item, settings)
        if limit is not None and levels:
            met, rearmed = _compare(value, limit, levels)
            crossed = held.update(f"item/{item_id}", met, rearmed)
            if crossed:
                yield _item_condition(item, catalog, standing, value, limit, crossed)
        yield from _remind_of_expiry(item, catalog, standing, settings, held, check_ms)


def _compare(value: int, limit: int, levels: Iterable[int]) -> tuple[set[int], set[int]]:
    """Return the levels that are met, and those that are armed again, in integers (W4, W7)."""
    levels = tuple(levels)
    met = {level for level in levels if value * 100 >= level * limit}
    return met, {level for level in levels if value * 100 < (level - _REARM_POINTS) * limit}


def _item_levels(item: MeteredItem, settings: AlertSettings) -> tuple[int, ...]:
    preset = _PRESETS[settings.preset]
    if item.cumulative:
        return preset.cumulative if settings.cumulative_levels is None else settings.cumulative_levels
    if item.daily:
        return preset.daily if settings.daily_device_levels is None else settings.daily_device_levels
    if item.seated:
        return preset.devices if settings.device_levels is None else settings.device_levels
    if item.concurrent:
        return preset.concurrency if settings.concurrency_levels is None else settings.concurrency_levels
    return ()


def _item_condition(
    item: MeteredItem,
    catalog: MeteredCatalog,
    standing: ItemState,
    value: int,
    limit: int,
    crossed: tuple[int, ...],
) -> Condition:
    metric: Metric = "used" if item.cumulative else "active" if item.seated else "consumed"
    return Condition(
        scope="item",
        item_id=item.item_id,
        project_ids=_projects_of(item, catalog),
        charge_way=item.charge_way,
        metric=metric,
        value=value,
        quota=limit,
        percent=percent_of(value, limit),
        level=crossed[-1],
        crossed=crossed,
        state=standing,
    )


def _projects_of(item: MeteredItem, catalog: MeteredCatalog) -> tuple[str, ...]:
    return tuple(sorted(p.project_id for p in catalog.document.projects if item.item_id in p.item_ids))


def _remind_of_expiry(
    item: MeteredItem,
    catalog: MeteredCatalog,
    standing: ItemState,
    settings: AlertSettings,
    held: HeldLevels,
    check_ms: int,
) -> Iterator[Condition]:
    """W9: optional reminders some days before the end; they arm again when the end moves away."""
    left_ms = item.expires_ms - check_ms
    if not settings.expiry_reminder_days or left_ms <= 0:
        return
    met = {days for days in settings.expiry_reminder_days if left_ms <= days * DAY_MS}
    crossed = held.update(f"expiry/{item.item_id}", met, set(settings.expiry_reminder_days) - met)
    if crossed:
        yield Condition(
            scope="item",
            item_id=item.item_id,
            project_ids=_projects_of(item, catalog),
            charge_way=item.charge_way,
            metric="expires_in_days",
            value=ceil(left_ms / DAY_MS),
            quota=None,
            percent=None,
            level=crossed[0],
            crossed=crossed,
            state=standing,
        )


def _check_projects(
    state: OrganizationState, catalog: MeteredCatalog, held: HeldLevels, check_ms: int
) -> Iterator[Condition]:
    """W8: refused of all requests in the last hour; too few requests say nothing and re-arm nothing."""
    settings = catalog.document.alerts
    levels = _PRESETS[settings.preset].failures if settings.failure_levels is None else settings.failure_levels
    for project_id in sorted(catalog.projects):
        codes = state.requests.window(project_id, check_ms)
        judged = {code: count for code, count in codes.items() if code != str(_UNJUDGED)}
        total = sum(judged.values())
        if total < settings.failure_requests_min:
            continue
        failures = {code: count for code, count in judged.items() if code}
        failed = sum(failures.values())
        crossed = held.update(f"project/{project_id}", *_compare(failed, total, levels))
        if crossed:
            known = [entry for entry in failures.items() if entry[0] != NO_CODE]
            most = sorted(known, key=lambda entry: (-entry[1], int(entry[0])))[:_TOP_CODES_MAX]
            yield Condition(
                scope="project",
                project_id=project_id,
                metric="auth_failed_ratio",
                value=failed,
                quota=total,
                percent=percent_of(failed, total),
                level=crossed[-1],
                crossed=crossed,
                window_minutes=WINDOW_MS // 60_000,
                top_codes=dict(most),
            )
