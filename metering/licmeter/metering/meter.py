"""What one report does to an organization: the outcome, the attribution lines, the new counters, the breaches.

A decision depends only on the event and on the state at its offset, so a repeat gives the same lines.
"""

from dataclasses import dataclass, field
from typing import Final

from licmeter.metering.allotment import Contact, allot
from licmeter.metering.breaches import BreachFact
from licmeter.metering.charging import UNATTRIBUTED, Line, Occasion, charge_share
from licmeter.metering.duplicates import DuplicateMemory
from licmeter.metering.items import DAY_MS
from licmeter.metering.organization import MeteredProject, OrganizationState
from licmeter.metering.refusals import (
    note_clock_skew,
    note_full_items,
    note_outside_host,
    note_unknown_project,
    note_unlicensed,
)
from licmeter.metering.report import Report
from licmeter.metering.slot_use import SlotMemory
from licmeter.metering.slots import is_late
from licmeter.schemas.outcomes import Outcome, RejectReason

__all__ = ["UNATTRIBUTED", "Decision", "Line", "count_refused", "meter_report"]

_SKEWED: Final = frozenset({RejectReason.CLOCK_SKEW, RejectReason.FUTURE_SLOT})


@dataclass(slots=True)
class Decision:
    """What became of a report. Lines are in order, at least one unless it was rejected."""

    outcome: Outcome
    project_id: str = ""
    lines: list[Line] = field(default_factory=list)
    breaches: list[BreachFact] = field(default_factory=list)
    reason: RejectReason | None = None
    detail: str = ""


def count_refused(
    state: OrganizationState,
    received_ms: int,
    *,
    reason: RejectReason | None = None,
    organization_id: str = "",
    client_uuid: str | None = None,
    project_id: str | None = None,
    late: bool = False,
) -> list[BreachFact]:
    """Count a record that was refused before or by the checks; return what is to be said of it (8.2)."""
    state.outcomes[Outcome.REJECTED] += 1
    state.updated_ms = received_ms
    if reason in _SKEWED and client_uuid is not None:
        return note_clock_skew(state, organization_id, client_uuid, received_ms, reason.value, late=late)
    if reason is RejectReason.UNKNOWN_PROJECT:
        return note_unknown_project(state, organization_id, project_id, received_ms, late=late)
    return []


def meter_report(report: Report, state: OrganizationState, memory: DuplicateMemory, slots: SlotMemory) -> Decision:
    """Decide on a report that passed the checks 1 to 7, and count it (domain, sections 5 to 8)."""
    project = None if state.catalog is None else state.catalog.project(report.project_id)
    if project is None or project.is_disabled(report.slot_s):
        return _refuse(report, project, state)
    received_ms = report.received_ms
    identity, content, day = report.identity(), report.content(), received_ms // DAY_MS
    known = memory.get(identity, day)
    if known is None:
        memory.add(identity, content, day)
        decision = _charge(report, project, state, slots)
    elif known == content:
        decision = Decision(Outcome.DUPLICATE, project.project_id, [Line("", UNATTRIBUTED, 0)])
    else:
        decision = Decision(
            Outcome.REJECTED,
            project.project_id,
            reason=RejectReason.CONFLICT,
            detail="the client reported other content under this id before",
        )
    state.outcomes[decision.outcome] += 1
    state.updated_ms = received_ms
    return decision


def _refuse(report: Report, project: MeteredProject | None, state: OrganizationState) -> Decision:
    """Answer for the checks 8 and 9."""
    if project is None:
        reason = RejectReason.UNKNOWN_PROJECT
        detail = report.project_id or f"the default project of {report.organization_id}"
    else:
        reason, detail = RejectReason.PROJECT_DISABLED, project.project_id
    breaches = count_refused(
        state,
        report.received_ms,
        reason=reason,
        organization_id=report.organization_id,
        client_uuid=report.client_uuid,
        project_id=report.project_id,
        late=is_late(slot_s=report.slot_s, received_ms=report.received_ms),
    )
    project_id = "" if project is None else project.project_id
    return Decision(Outcome.REJECTED, project_id, breaches=breaches, reason=reason, detail=detail)


def _charge(report: Report, project: MeteredProject, state: OrganizationState, slots: SlotMemory) -> Decision:
    """Attribute every feature, in alphabetical order: equal reports must give equal lines."""
    decision = Decision(Outcome.UNCHARGED, project.project_id)
    contact = Contact(state, slots, report.client_uuid, report.slot_s, report.received_ms, report.instances)
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    occasion = Occasion(project.project_id, report.received_ms, late, decision.breaches)
    counts, refused = report.counts, list[str]()
    for feature in counts if len(counts) == 1 else sorted(counts):
        count = counts[feature]
        if not count:
            continue
        if _charge_feature(feature, count, report, project, contact, occasion, decision.lines):
            decision.outcome = Outcome.CHARGED
        else:
            refused.append(feature)
    if not decision.lines:
        _note_contact(decision, project, report, contact)
    if refused:
        _note_refusals(refused, report, project, contact, occasion)
        if decision.outcome is Outcome.UNCHARGED:
            note_unlicensed(contact, occasion)
    return decision


def _note_refusals(
    features: list[str], report: Report, project: MeteredProject, contact: Contact, occasion: Occasion
) -> None:
    """Say who turned the device away, for the features that no item took (decision 8, G11 and G24)."""
    full = {item.item_id for feature in features for item in project.eligible(feature, report)}
    note_full_items([item for item in project.items if item.item_id in full], contact, occasion)
    key, outside = "", set()
    for feature in features:
        key, items = project.refusing_domain(feature, report)
        outside |= {item.item_id for item in items}
    note_outside_host(key, [item for item in project.items if item.item_id in outside], contact, occasion)


def _charge_feature(
    feature: str,
    count: int,
    report: Report,
    project: MeteredProject,
    contact: Contact,
    occasion: Occasion,
    lines: list[Line],
) -> bool:
    """Attribute one feature; tell whether an item took some of it."""
    items = project.eligible(feature, report)
    shares = allot(count, items, contact) if items else []
    for share in shares:
        lines.append(charge_share(feature, share, contact, occasion))
        count -= share.quantity
    if count:
        # What is left is left by items that count devices: they take all or nothing.
        lines.append(Line(feature, UNATTRIBUTED, count))
    return bool(shares)


def _note_contact(decision: Decision, project: MeteredProject, report: Report, contact: Contact) -> None:
    """Give a report without use its lines (A6): "none of this feature" is an observation, too.

    It is charged if some item could have taken use, and refreshes live seats (decision 8, G5 and G23).
    """
    features: list[str | None] = [*sorted(report.counts)] or [None]
    for feature in features:
        for item in project.eligible(feature, report):
            decision.outcome = Outcome.CHARGED
            if item.seated:
                book = contact.state.seat_book(item.item_id)
                if book.live(contact.client_uuid, contact.at_ms) is not None:
                    book.contact(contact.client_uuid, contact.at_ms, item.seat_end(contact.at_ms))
                    contact.state.contacts.append((item.item_id, contact.client_uuid, "", contact.at_ms))
    decision.lines += [Line(feature or "", UNATTRIBUTED, 0) for feature in features]
