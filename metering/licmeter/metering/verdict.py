"""The answer to a request for leave to run: a pure function (domain, section 9). Used by an authorizer, and to check
recorded results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from licmeter.metering.allotment import Contact, has_seat, is_capped
from licmeter.metering.authorization import Authorization
from licmeter.metering.domains import DOMAIN_KIND, field_key
from licmeter.metering.items import DAY_MS, MeteredItem
from licmeter.metering.organization import MeteredCatalog, MeteredProject, OrganizationState
from licmeter.metering.slot_use import SlotMemory
from licmeter.metering.slots import SLOT_SECONDS, slot_start
from licmeter.schemas.outcomes import ChargeWay, RefusalCode, Tier

__all__ = ["Verdict", "verdict"]

#: The order of the checks on an item; the answer is the code of the item that came furthest.
_ORDER: Final = {
    code: rank
    for rank, code in enumerate(
        (
            RefusalCode.PRODUCT_MISMATCH,
            RefusalCode.VERSION_MISMATCH,
            RefusalCode.DEPLOYMENT_MISMATCH,
            RefusalCode.EDITION_MISMATCH,
            RefusalCode.ITEM_VALIDATION_MISMATCH,
            RefusalCode.CHARGE_WAY_MISMATCH,
            RefusalCode.NOT_STARTED,
            RefusalCode.EXPIRED,
            RefusalCode.ITEM_INVALID,
            RefusalCode.MISSING_DEPENDENCY,
            RefusalCode.REQUEST_COUNT_EXCEEDED,
            RefusalCode.LIMIT_EXCEEDED,
        )
    )
}
_LAST_RESTRICTION: Final = _ORDER[RefusalCode.EDITION_MISMATCH]
#: L4: offline use of a cumulative item.
_CUMULATIVE_LEASE_MS: Final = 3 * DAY_MS
#: N8: to the end of the slot after the current one.
_CONCURRENCY_LEASE_S: Final = 2 * SLOT_SECONDS


@dataclass(slots=True)
class Verdict:
    """Granted by `item`, with the local license's end; or refused with `code`.

    `full` are device items without a place, `outside` per-domain items of another host, each with none that granted.
    """

    code: RefusalCode | None = None
    project: MeteredProject | None = None
    item: MeteredItem | None = None
    local_expires_ms: int | None = None
    full: list[MeteredItem] = field(default_factory=list)
    outside: list[MeteredItem] = field(default_factory=list)
    host: str = ""


def verdict(
    request: Authorization, state: OrganizationState | None, slots: SlotMemory, *, standby: bool = False
) -> Verdict:
    """Decide on a request; `state` None = the organization is not known. Nothing is changed.

    `standby`: this is the standby, and the main server works.
    """
    if standby:
        return Verdict(RefusalCode.STANDBY_REFUSES)
    if not request.project_id and not request.organization_id:
        return Verdict(RefusalCode.NOTHING_NAMED)
    catalog = None if state is None else state.catalog
    if state is None or catalog is None:
        return Verdict(RefusalCode.UNKNOWN_ORGANIZATION)
    refusal, project = _check_project(request, catalog)
    if refusal is not None or project is None:
        return Verdict(refusal, project)
    answer = _try_items(request, project, state, catalog, slots)
    if answer.item is not None and request.data.clone_suspected:
        return Verdict(RefusalCode.CLONE_DETECTED, project)
    return answer


def _check_project(request: Authorization, catalog: MeteredCatalog) -> tuple[RefusalCode | None, MeteredProject | None]:
    project = catalog.project(request.project_id)
    if project is None:
        return _unknown_project(request, catalog), None
    data = request.data
    if project.has_password and data.password_ok is not True:
        return RefusalCode.BAD_SESSION_PASSWORD, project
    if data.password_ok is False:
        return RefusalCode.BAD_SESSION_PASSWORD, project
    if project.fields:
        given = data.validation
        if given is None or field_key((given.kind, given.value), catalog.suffixes) not in project.fields:
            return RefusalCode.PROJECT_VALIDATION_MISMATCH, project
    disabled = project.disabled_ms is not None and request.at_ms >= project.disabled_ms
    if disabled or not project.items:
        return RefusalCode.NO_MATCHING_ITEM, project
    return None, project


def _unknown_project(request: Authorization, catalog: MeteredCatalog) -> RefusalCode:
    if request.project_id is None:
        return RefusalCode.UNKNOWN_ORGANIZATION  # it has no default project
    owner = request.project_id.partition("-")[0]
    if request.organization_id and owner != catalog.document.organization_id:
        return RefusalCode.PROJECT_ORGANIZATION_MISMATCH
    return RefusalCode.UNKNOWN_PROJECT


def _try_items(
    request: Authorization,
    project: MeteredProject,
    state: OrganizationState,
    catalog: MeteredCatalog,
    slots: SlotMemory,
) -> Verdict:
    given = request.data.validation
    validation = None if given is None else field_key((given.kind, given.value), catalog.suffixes)
    failures: list[RefusalCode] = []
    candidates: list[MeteredItem] = []
    answer = Verdict(project=project)
    for item in project.items:
        if request.data.feature is not None and not item.covers(request.data.feature):
            continue
        failure = _check_item(item, request, project, validation)
        if failure is None:
            candidates.append(item)
        else:
            failures.append(failure)
        refuses_host = failure is RefusalCode.ITEM_VALIDATION_MISMATCH and item.charge_way is ChargeWay.PER_DOMAIN
        if refuses_host and validation is not None and validation[0] == DOMAIN_KIND:
            answer.host = validation[1]
            answer.outside.append(item)
    contact = Contact(
        state,
        slots,
        request.client_uuid,
        slot_start(request.at_ms // 1000),
        request.at_ms,
        request.data.requested_instances,
    )
    for tier in (Tier.QUOTA, Tier.GRACE):
        for item in candidates:
            if _has_place(item, candidates, tier, contact):
                answer.item = item
                answer.local_expires_ms = _local_end(item, contact)
                return answer
    answer.full = [item for item in candidates if item.seated]
    answer.code = _furthest([*failures, *(RefusalCode.LIMIT_EXCEEDED for _ in candidates)])
    return answer


def _furthest(failures: Sequence[RefusalCode]) -> RefusalCode:
    """Return the code of the item that came furthest; 104 if all fail at once, for different reasons."""
    if not failures:
        return RefusalCode.NO_MATCHING_ITEM  # no item covers the feature that was asked for
    furthest = max(failures, key=_ORDER.__getitem__)
    if _ORDER[furthest] <= _LAST_RESTRICTION and len(set(failures)) > 1:
        return RefusalCode.NO_MATCHING_ITEM
    return furthest


def _check_item(
    item: MeteredItem, request: Authorization, project: MeteredProject, validation: tuple[str, str] | None
) -> RefusalCode | None:
    """Run the checks 106 to 130 of one item."""
    data = request.data
    product, version, edition, deployment = item.restrictions
    for code, mine, theirs in (
        (RefusalCode.PRODUCT_MISMATCH, product, data.product),
        (RefusalCode.VERSION_MISMATCH, version, data.version),
        (RefusalCode.DEPLOYMENT_MISMATCH, deployment, data.deployment_type),
        (RefusalCode.EDITION_MISMATCH, edition, data.edition),
    ):
        if mine is not None and theirs is not None and mine != theirs:
            return code
    if item.fields and validation not in item.fields:
        return RefusalCode.ITEM_VALIDATION_MISMATCH
    if data.charge_way not in ("auto", item.charge_way):
        return RefusalCode.CHARGE_WAY_MISMATCH
    return _check_time_and_size(item, request, project)


def _check_time_and_size(item: MeteredItem, request: Authorization, project: MeteredProject) -> RefusalCode | None:
    if request.at_ms < item.starts_ms:
        return RefusalCode.NOT_STARTED
    if request.at_ms >= item.ends_ms:
        return RefusalCode.EXPIRED
    if item.revoked_ms is not None and request.at_ms >= item.revoked_ms:
        return RefusalCode.ITEM_INVALID
    if item.base_item_ids and not any(other.item_id in item.base_item_ids for other in project.items):
        return RefusalCode.MISSING_DEPENDENCY
    quota = 1 if item.quota is None and item.charge_way is ChargeWay.PER_DOMAIN else item.quota  # O3
    if quota is not None and request.data.requested_instances > quota:
        return RefusalCode.REQUEST_COUNT_EXCEEDED
    return None


def _has_place(item: MeteredItem, candidates: Sequence[MeteredItem], tier: Tier, contact: Contact) -> bool:
    """Tell whether the item grants in a pass: within quota, or in grace (7.3)."""
    quota = item.quota
    if item.seated:
        return has_seat(item, candidates, tier, contact)
    if item.concurrent:
        return quota is None or _has_room(item, quota, tier, contact)
    if item.cumulative and quota is not None:
        return contact.state.use(item.item_id).used < quota + (item.grace if tier is Tier.GRACE else 0)
    return True


def _has_room(item: MeteredItem, quota: int, tier: Tier, contact: Contact) -> bool:
    """Look at what is held now: by live leases, and by devices that reported in this slot (decision 8, G15)."""
    if tier is Tier.GRACE:
        return not is_capped(item, contact)
    slot = contact.slots.slot(contact.state.organization_id, item.item_id, contact.slot_s)
    wanted, held = item.seats_of(contact.instances), slot.total
    mine = slot.holders.get(contact.client_uuid, 0)
    for client, lease in contact.state.seat_book(item.item_id).live_seats(contact.at_ms):
        held += max(0, lease.instances - slot.holders.get(client, 0))
        if client == contact.client_uuid:
            mine = max(mine, lease.instances)
    return mine >= wanted or held - mine + wanted <= quota


def _local_end(item: MeteredItem, contact: Contact) -> int:
    """Return the end of the local license (decision 8, G16)."""
    at_ms = contact.at_ms
    if item.seated:
        seat = contact.state.seat_book(item.item_id).live(contact.client_uuid, at_ms)
        end_ms = max(item.seat_end(at_ms), 0 if seat is None else seat.expires_ms)
    elif item.concurrent:
        end_ms = (slot_start(at_ms // 1000) + _CONCURRENCY_LEASE_S) * 1000
    elif item.cumulative:
        end_ms = at_ms + _CUMULATIVE_LEASE_MS
    else:
        end_ms = item.ends_ms
    return min(end_ms, item.ends_ms, item.ends_ms if item.revoked_ms is None else item.revoked_ms)
