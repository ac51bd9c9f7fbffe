"""What one event does to an organization: the outcome, the attribution lines, the new counters.

A decision depends only on the event and on the state at its offset, so a repeat gives the same lines.
"""

from dataclasses import dataclass, field
from typing import Final

from licmeter.metering.consumption import allot
from licmeter.metering.duplicates import DuplicateMemory
from licmeter.metering.organization import MeteredProject, OrganizationState
from licmeter.metering.report import Report
from licmeter.schemas.outcomes import Outcome, RejectReason

__all__ = ["UNATTRIBUTED", "Decision", "Line", "count_refused", "meter_report"]

#: The item of a line that no item could take.
UNATTRIBUTED: Final = ""
_DAY_MS: Final = 86_400_000


@dataclass(slots=True)
class Line:
    """What one feature of a report was charged to; `item_id` "" = to nothing."""

    feature: str
    item_id: str
    quantity: int
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0
    in_expiry_grace: bool = False


@dataclass(slots=True)
class Decision:
    """What became of a report. Lines are in order, at least one unless it was rejected."""

    outcome: Outcome
    project_id: str = ""
    lines: list[Line] = field(default_factory=list)
    reason: RejectReason | None = None
    detail: str = ""


def count_refused(state: OrganizationState, received_ms: int) -> None:
    """Count a record that was refused before or by the checks."""
    state.outcomes[Outcome.REJECTED] += 1
    state.updated_ms = received_ms


def meter_report(report: Report, state: OrganizationState, memory: DuplicateMemory) -> Decision:
    """Decide on a report that passed the checks 1 to 7, and count it (domain, sections 5 to 7)."""
    refusal = _check_project(report, state)
    if isinstance(refusal, Decision):
        count_refused(state, report.received_ms)
        return refusal
    project = refusal
    identity, content, day = report.identity(), report.content(), report.received_ms // _DAY_MS
    known = memory.get(identity, day)
    if known is None:
        memory.add(identity, content, day)
        decision = _charge(report, project, state)
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
    state.updated_ms = report.received_ms
    return decision


def _check_project(report: Report, state: OrganizationState) -> MeteredProject | Decision:
    """Run the checks 8 and 9."""
    project = None if state.catalog is None else state.catalog.project(report.project_id)
    if project is None:
        name = report.project_id or f"the default project of {report.organization_id}"
        return Decision(Outcome.REJECTED, reason=RejectReason.UNKNOWN_PROJECT, detail=name)
    if project.disabled_ms is not None and report.slot_s * 1000 >= project.disabled_ms:
        return Decision(Outcome.REJECTED, reason=RejectReason.PROJECT_DISABLED, detail=project.project_id)
    return project


def _charge(report: Report, project: MeteredProject, state: OrganizationState) -> Decision:
    """Attribute every feature, in alphabetical order: equal reports must give equal lines."""
    decision = Decision(Outcome.UNCHARGED, project.project_id)
    counts = report.counts
    for feature in counts if len(counts) == 1 else sorted(counts):
        count = counts[feature]
        if count and _charge_feature(feature, count, report, project, state, decision.lines):
            decision.outcome = Outcome.CHARGED
    if not decision.lines:
        _note_contact(decision, project, report)
    return decision


def _note_contact(decision: Decision, project: MeteredProject, report: Report) -> None:
    """Give a report without use its lines (A6): "none of this feature" is an observation, too.

    It is charged if some item could have taken use.
    """
    features: list[str | None] = [*sorted(report.counts)] or [None]
    if any(project.eligible(feature, report) for feature in features):
        decision.outcome = Outcome.CHARGED
    decision.lines += [Line(feature or "", UNATTRIBUTED, 0) for feature in features]


def _charge_feature(
    feature: str,
    count: int,
    report: Report,
    project: MeteredProject,
    state: OrganizationState,
    lines: list[Line],
) -> bool:
    """Attribute one feature; tell whether an item took it."""
    items = project.eligible(feature, report)
    for item in items:
        state.use(item.item_id)
    shares = allot(count, items, state.uses)
    for share in shares:
        use = state.uses[share.item.item_id]
        use.in_quota += share.in_quota
        use.in_grace += share.in_grace
        use.over += share.over
        lines.append(
            Line(
                feature,
                share.item.item_id,
                share.in_quota + share.in_grace + share.over,
                share.in_quota,
                share.in_grace,
                share.over,
                share.item.in_expiry_grace(report.slot_s * 1000),
            )
        )
    if not shares:
        lines.append(Line(feature, UNATTRIBUTED, count))
    return bool(shares)
