"""One partition of `usage.events` counted anew, record by record, by the functions of the pure core.

Not `metering.recount.Recount`, which keeps everything it meets and runs the ten-minute checks: an audit of months must
not, and alerts are no part of the books. And not the stream's `process_batch`: what that adds to the core (batches, the
index of accepted reports, records of facts and slots, the making of rows) is what an audit is to find wrong.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import meter_authorization
from licmeter.metering.breaches import BreachFact
from licmeter.metering.decoding import CatalogChange, decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.meter import count_refused, meter_report
from licmeter.metering.organization import NOBODY, OrganizationState
from licmeter.metering.report import Report
from licmeter.runtime.audit.memory import PackedMemory, SpilledSlots
from licmeter.runtime.audit.tables import (
    AUTHORIZATIONS,
    BREACHES,
    MESSAGES,
    REJECTED,
    USAGE,
    Row,
    Table,
    authorization_row,
    breach_row,
    rejected_row,
    usage_rows,
)
from licmeter.schemas.outcomes import RejectReason

__all__ = ["Books", "PartitionRecount", "Tally"]


class Books(Protocol):
    """Takes the rows that must be stored, in the order of the log."""

    def add(self, table: Table, row: Row, offset: int) -> None:
        """Take a row that the event at an offset leads to."""


@dataclass(slots=True)
class Tally:
    """What the log has of one organization: reports and authorizations, all of them and the settled ones.

    `touched` are the last settled offsets that changed the organization (""), and its items by id: published states
    must include them.
    """

    records: int = 0
    settled: int = 0
    touched: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class PartitionRecount:
    """Counts one partition from its first record; `only` = one organization, other records are passed over.

    `records_max` is how many records there are to count; those up to the offset `cut` are settled.
    """

    partition: int
    records_max: int
    books: Books
    cut: int
    only: str | None = None
    limits: Limits = DEFAULT_LIMITS
    organizations: dict[str, OrganizationState] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    slots: SpilledSlots = field(default_factory=SpilledSlots)
    memory: PackedMemory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = PackedMemory(self.records_max, self.limits.duplicate_days)

    def close(self) -> None:
        """Give the temporary files back."""
        self.memory.close()
        self.slots.close()

    def count(self, record: Any) -> None:
        """Count one Kafka record."""
        name = key_organization(record.key)
        if self.only is not None and name != self.only:
            return
        event = decode(record.key, record.value, record.timestamp, self.limits)
        if isinstance(event, CatalogChange):
            self._adopt(event, record)
            return
        state = self.organizations.get(name or NOBODY)
        if state is None:
            state = self.organizations.setdefault(NOBODY, OrganizationState(NOBODY))
        tally = self._tally(state.organization_id)
        tally.records += 1
        if record.offset <= self.cut:
            tally.settled += 1
            tally.touched[""] = record.offset
        if isinstance(event, Report):
            self._report(event, state, record)
        elif isinstance(event, Authorization):
            self._authorization(event, state, record)
        else:
            self._reject(record, name, event.reason, event.detail)
            self._say(
                count_refused(
                    state,
                    record.timestamp,
                    reason=event.reason,
                    organization_id=name or "",
                    client_uuid=event.client_uuid,
                    project_id=event.project_id,
                    late=event.late,
                ),
                record,
            )
        if state.contacts:
            state.contacts.clear()
        self.slots.settle()

    def _tally(self, organization_id: str) -> Tally:
        tally = self.tallies.get(organization_id)
        if tally is None:
            tally = self.tallies[organization_id] = Tally()
        return tally

    def _adopt(self, change: CatalogChange, record: Any) -> None:
        name = change.document.organization_id
        state = self.organizations.setdefault(name, OrganizationState(name))
        state.adopt(change.document, record.offset)
        state.updated_ms = record.timestamp
        if record.offset <= self.cut:
            # An item that is gone is not published any more, whatever came for it just before.
            self._tally(name).touched = dict.fromkeys(("", *change.document.items), record.offset)

    def _report(self, report: Report, state: OrganizationState, record: Any) -> None:
        decision = meter_report(report, state, self.memory, self.slots)
        self._say(decision.breaches, record)
        if decision.reason is not None:
            self._reject(record, report.organization_id, decision.reason, decision.detail)
            return
        for row in usage_rows(report, decision, state.organization_id, self.partition, record.offset):
            self.books.add(USAGE, row, record.offset)
        self._touch(state, [line.item_id for line in decision.lines], record)

    def _authorization(self, request: Authorization, state: OrganizationState, record: Any) -> None:
        decision = meter_authorization(request, state, self.memory, self.slots)
        self._say(decision.breaches, record)
        if decision.reason is not None:
            self._reject(record, request.organization_id, decision.reason, decision.detail)
            return
        row = authorization_row(request, decision, self.partition, record.offset)
        self.books.add(AUTHORIZATIONS, row, record.offset)
        self._touch(state, [decision.item_id], record)

    def _touch(self, state: OrganizationState, item_ids: list[str], record: Any) -> None:
        if record.offset <= self.cut and state.catalog is not None:
            known, touched = state.catalog.items, self.tallies[state.organization_id].touched
            touched.update((item_id, record.offset) for item_id in item_ids if item_id in known)

    def _reject(self, record: Any, name: str | None, reason: RejectReason, detail: str) -> None:
        self.rejected[reason.value] += 1
        place = (self.partition, record.offset)
        row = rejected_row(name or "", record.value, record.timestamp, reason, detail, place)
        self.books.add(REJECTED, row, record.offset)

    def _say(self, breaches: list[BreachFact], record: Any) -> None:
        for fact in breaches:
            row = breach_row(fact)
            self.books.add(BREACHES, row, record.offset)
            self.books.add(MESSAGES, row, record.offset)
