"""The core over a list of events, in arrival order: offline counting, audits, tests. No IO and no clock."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from licmeter.metering.alerting import HeldLevels, check_organization, next_check
from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import AuthDecision, meter_authorization
from licmeter.metering.breaches import BreachFact
from licmeter.metering.decoding import CatalogChange, Event
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.idleness import next_change
from licmeter.metering.items import MeteredItem
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.meter import Decision, count_refused, meter_report
from licmeter.metering.organization import NOBODY, OrganizationState
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.metering.requests import CHECK_INTERVAL_MS
from licmeter.metering.slot_use import DictSlots
from licmeter.schemas.alerts import UsageAlert
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import Outcome

__all__ = ["Counted", "Recount"]

Answer = Decision | AuthDecision | Refused | None


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of one event: a decision, a refusal, or None for a catalog change."""

    organization_id: str
    event: Event
    answer: Answer


@dataclass(slots=True)
class Recount:
    """Counts events one by one. Checks run between them, at the ten-minute instants that lie there (W1)."""

    limits: Limits = DEFAULT_LIMITS
    organizations: dict[str, OrganizationState] = field(default_factory=dict)
    slots: DictSlots = field(default_factory=DictSlots)
    held: dict[str, HeldLevels] = field(default_factory=lambda: defaultdict(HeldLevels))
    breaches: list[BreachFact] = field(default_factory=list)
    alerts: list[UsageAlert] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    items: dict[tuple[str, str], MeteredItem] = field(default_factory=dict)
    units: dict[tuple[str, str], dict[int, Counter[str]]] = field(default_factory=dict)
    now_ms: int = 0
    next_check_ms: int | None = None
    _memory: DictMemory | None = None

    @property
    def memory(self) -> DictMemory:
        """The duplicate memory, over all organizations: the identity names them."""
        if self._memory is None:
            self._memory = DictMemory(self.limits.duplicate_days)
        return self._memory

    def adopt(self, document: Organization) -> None:
        """Put a document in force."""
        state = self.organizations.setdefault(document.organization_id, OrganizationState(document.organization_id))
        state.adopt(document, 0)
        assert state.catalog is not None
        for item in state.catalog.items.values():
            self.items[document.organization_id, item.item_id] = item
        for project in document.projects:
            self.units.setdefault((document.organization_id, project.project_id), {})

    def count(self, organization_id: str, event: Event, received_ms: int | None) -> Counted:
        """Count one event that arrived at an instant, after the checks that were due before.

        None: it does not say when it arrived, so it can only be a refused one, and the clock stands.
        """
        if received_ms is not None:
            if self.next_check_ms is None:
                self.next_check_ms = next_check(received_ms - 1)
            self.check_until(received_ms)
            self.now_ms = max(self.now_ms, received_ms)
        self.totals["received"] += 1
        answer = self._apply(organization_id, event, self.now_ms if received_ms is None else received_ms)
        if answer is not None and not isinstance(answer, Refused):
            self.breaches += answer.breaches
        if organization_id in self.organizations:
            self.organizations[organization_id].contacts.clear()
        return Counted(organization_id, event, answer)

    def check_until(self, last_ms: int) -> None:
        """Run all checks up to and including an instant; without any event before, the last one of them."""
        if self.next_check_ms is None:
            self.next_check_ms = next_check(last_ms) - CHECK_INTERVAL_MS
        while self.next_check_ms <= last_ms:
            check_ms = self.next_check_ms
            for organization_id, state in sorted(self.organizations.items()):
                alert = check_organization(state, self.held[organization_id], check_ms)
                if alert is not None:
                    self.alerts.append(alert)
            self.now_ms = max(self.now_ms, check_ms)
            self.next_check_ms = self._next_check_worth_running(check_ms, last_ms)

    def _next_check_worth_running(self, check_ms: int, last_ms: int) -> int:
        """Pass over checks that would see what this one saw; the clock goes on to the last of them."""
        changes = [next_change(state, check_ms) for state in self.organizations.values()]
        known = [at_ms for at_ms in changes if at_ms is not None and at_ms <= last_ms]
        if known:
            return next_check(min(known) - 1)
        self.now_ms = max(self.now_ms, last_ms // CHECK_INTERVAL_MS * CHECK_INTERVAL_MS)
        return next_check(last_ms)

    def _apply(self, organization_id: str, event: Event, received_ms: int) -> Answer:
        if isinstance(event, CatalogChange):
            self.adopt(event.document)
            self.totals["catalogs"] += 1
            return None
        known = organization_id in self.organizations
        state = self.organizations[organization_id] if known else self._nobody()
        if isinstance(event, Report):
            return self._count_report(event, state)
        if isinstance(event, Authorization):
            granted = meter_authorization(event, state, self.memory, self.slots)
            self.totals[granted.outcome.value] += 1
            return granted
        self.breaches += count_refused(
            state,
            received_ms,
            reason=event.reason,
            organization_id=organization_id,
            client_uuid=event.client_uuid,
            project_id=event.project_id,
            late=event.late,
        )
        self.totals[Outcome.REJECTED.value] += 1
        return event

    def _nobody(self) -> OrganizationState:
        return self.organizations.setdefault(NOBODY, OrganizationState(NOBODY))

    def _count_report(self, report: Report, state: OrganizationState) -> Decision:
        decision = meter_report(report, state, self.memory, self.slots)
        self.totals[decision.outcome.value] += 1
        if decision.outcome in (Outcome.CHARGED, Outcome.UNCHARGED):
            units = self.units.setdefault((report.organization_id, decision.project_id), {})
            units.setdefault(report.slot_s, Counter()).update({f: n for f, n in report.counts.items() if n})
        return decision
