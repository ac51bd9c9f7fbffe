"""An organization on the core: events in, answers out; no clock but that of the events, and checks when asked for."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from licmeter.metering.alerting import HeldLevels, check_organization
from licmeter.metering.authorizing import AuthDecision
from licmeter.metering.breaches import BreachFact
from licmeter.metering.counters import item_counters
from licmeter.metering.decoding import decode
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.meter import Decision
from licmeter.metering.organization import ItemUse, OrganizationState
from licmeter.metering.recount import Recount
from licmeter.metering.refused import Refused
from licmeter.metering.seats import SeatBook
from licmeter.metering.slot_use import SlotUse
from licmeter.schemas.alerts import UsageAlert
from licmeter.schemas.authorizations import authorization
from licmeter.schemas.catalog import Organization
from licmeter.schemas.counters import ItemCounters
from licmeter.schemas.outcomes import ItemState
from licmeter.schemas.reports import encode_event
from tests.support.build import PROJECT, RECEIVED, SLOT, ms, report

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SLOT_LENGTH = timedelta(minutes=3)
_NEVER = 2**62


def instant(text: str) -> datetime:
    """Read an instant as the domain writes it."""
    return datetime.fromisoformat(text).astimezone(UTC)


class Bench:
    """One organization; reports and authorizations get ids of their own unless a test names one."""

    def __init__(self, document: Organization) -> None:
        self.organization_id = document.organization_id
        self.recount = Recount(next_check_ms=_NEVER)
        self.recount.adopt(document)
        self.held = HeldLevels()
        self.number = 0

    @property
    def state(self) -> OrganizationState:
        return self.recount.organizations[self.organization_id]

    @property
    def breaches(self) -> list[BreachFact]:
        return self.recount.breaches

    def adopt(self, document: Organization) -> None:
        self.recount.adopt(document)

    def count(self, event: dict[str, Any], received: datetime) -> Any:
        value = encode_event(event)
        decoded = decode(self.organization_id.encode(), value, ms(received), DEFAULT_LIMITS)
        return self.recount.count(self.organization_id, decoded, ms(received)).answer

    def send(self, received: datetime = RECEIVED, **changes: Any) -> Decision:
        """Count a report that passes the checks 1 to 7."""
        answer = self.try_to_send(received, **changes)
        assert isinstance(answer, Decision), answer
        return answer

    def try_to_send(self, received: datetime = RECEIVED, **changes: Any) -> Decision | Refused:
        self.number += 1
        answer = self.count(report(**({"report_id": f"r{self.number}"} | changes)), received)
        assert isinstance(answer, Decision | Refused)
        return answer

    def use(self, client: str, slot: datetime = SLOT, received: datetime | None = None, **changes: Any) -> Decision:
        """Count a report of a client; it arrives a minute into its slot unless the test says otherwise."""
        return self.send(slot + MINUTE if received is None else received, client_uuid=client, slot=slot, **changes)

    def authorize(
        self, client: str = "device-1", at: datetime = RECEIVED, received: datetime | None = None, **data: Any
    ) -> AuthDecision:
        answer = self.try_to_authorize(client, at, received, **data)
        assert isinstance(answer, AuthDecision), answer
        return answer

    def try_to_authorize(
        self,
        client: str = "device-1",
        at: datetime = RECEIVED,
        received: datetime | None = None,
        *,
        auth_id: str | None = None,
        project_id: str | None = PROJECT,
        organization_id: str | None = None,
        **data: Any,
    ) -> AuthDecision | Refused:
        self.number += 1
        event = authorization(
            auth_id=auth_id or f"a{self.number}",
            client_uuid=client,
            at=at,
            project_id=project_id,
            organization_id=organization_id,
            **data,
        )
        answer = self.count(event, at if received is None else received)
        assert isinstance(answer, AuthDecision | Refused)
        return answer

    def check(self, at: datetime) -> UsageAlert | None:
        """Run one ten-minute check."""
        return check_organization(self.state, self.held, ms(at))

    def item_use(self, item_id: str = "41") -> ItemUse:
        return self.state.use(item_id)

    def parts(self, item_id: str = "41") -> tuple[int, int, int]:
        use = self.item_use(item_id)
        return use.in_quota, use.in_grace, use.over

    def seats(self, item_id: str = "41") -> SeatBook:
        return self.state.seat_book(item_id)

    def active(self, at: datetime, item_id: str = "41") -> int:
        return self.seats(item_id).count(ms(at))

    def slot(self, slot: datetime = SLOT, item_id: str = "41") -> SlotUse:
        return self.recount.slots.slot(self.organization_id, item_id, int(slot.timestamp()))

    def consumed(self, item_id: str = "41", year: int = 0) -> int:
        return self.item_use(item_id).consumed.get(year, 0)

    def counters(self, item_id: str = "41", at: datetime = RECEIVED) -> ItemCounters:
        metered = self.recount.items[self.organization_id, item_id]
        (counters,) = item_counters(self.state, 0, [metered], ms(at))
        return counters

    def item_state(self, item_id: str = "41", at: datetime = RECEIVED) -> ItemState:
        return self.counters(item_id, at).state

    def kinds(self) -> list[str]:
        return [fact.kind.value for fact in self.breaches]

    def project(self, project_id: str = PROJECT) -> dict[str, int]:
        """Return the project's units by feature."""
        total: Counter[str] = Counter()
        for counts in self.recount.units[self.organization_id, project_id].values():
            total.update(counts)
        return dict(total)


def charged(decision: Decision) -> list[tuple[str, str, int]]:
    """Return what a report was charged to: feature, item, quantity."""
    return [(line.feature, line.item_id, line.quantity) for line in decision.lines]
