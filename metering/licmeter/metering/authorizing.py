"""What one authorization event does to an organization: the answer, the seat or lease, the failure ratio."""

from dataclasses import dataclass, field

from licmeter.metering.allotment import Contact
from licmeter.metering.authorization import Authorization
from licmeter.metering.breaches import BreachFact
from licmeter.metering.charging import Occasion, take_seat
from licmeter.metering.duplicates import DuplicateMemory
from licmeter.metering.items import DAY_MS, instant_ms
from licmeter.metering.organization import OrganizationState
from licmeter.metering.refusals import note_full_items, note_outside_host
from licmeter.metering.requests import GRANTED, NO_CODE
from licmeter.metering.slot_use import SlotMemory
from licmeter.metering.slots import slot_start
from licmeter.metering.verdict import Verdict, verdict
from licmeter.schemas.outcomes import AuthOutcome, Outcome, RefusalCode, RejectReason

__all__ = ["AuthDecision", "meter_authorization"]


@dataclass(slots=True)
class AuthDecision:
    """What became of a request: the recorded answer if there is one, else the verdict (decision 8, G4).

    `agrees` is False where the authorizer recorded another answer than the verdict.
    """

    outcome: AuthOutcome
    project_id: str = ""
    item_id: str = ""
    code: RefusalCode | None = None
    local_expires_ms: int | None = None
    agrees: bool = True
    breaches: list[BreachFact] = field(default_factory=list)
    reason: RejectReason | None = None
    detail: str = ""


def meter_authorization(
    request: Authorization, state: OrganizationState, memory: DuplicateMemory, slots: SlotMemory
) -> AuthDecision:
    """Decide on an authorization event, and count it."""
    state.updated_ms = request.received_ms
    identity, content, day = request.identity(), request.content(), request.received_ms // DAY_MS
    known = memory.get(identity, day)
    if known is not None:
        return _repeated(state, same=known == content)
    memory.add(identity, content, day)
    answer = verdict(request, state, slots)
    decision = _recorded(request, answer)
    granted = decision.outcome is AuthOutcome.GRANTED
    state.granted += granted
    state.refused += not granted
    if answer.project is not None:
        number = GRANTED if granted else str(decision.code.number) if decision.code else NO_CODE
        state.requests.add(answer.project.project_id, request.at_ms, number, request.received_ms)
    slot_s = slot_start(request.at_ms // 1000)
    contact = Contact(state, slots, request.client_uuid, slot_s, request.at_ms, request.data.requested_instances)
    occasion = Occasion(decision.project_id, request.received_ms, late=False, breaches=decision.breaches)
    if not granted and answer.item is None:
        note_full_items(answer.full, contact, occasion)
        note_outside_host(answer.host, answer.outside, contact, occasion)
    elif granted and answer.item is not None:
        _seat(answer, contact, occasion)
    return decision


def _repeated(state: OrganizationState, *, same: bool) -> AuthDecision:
    if same:
        state.outcomes[Outcome.DUPLICATE] += 1
        return AuthDecision(AuthOutcome.DUPLICATE)
    state.outcomes[Outcome.REJECTED] += 1
    return AuthDecision(
        AuthOutcome.REJECTED,
        reason=RejectReason.CONFLICT,
        detail="the client asked for something else under this id before",
    )


def _recorded(request: Authorization, answer: Verdict) -> AuthDecision:
    """Merge the verdict with the answer that the authorizer recorded."""
    data = request.data
    project_id = request.project_id or "" if answer.project is None else answer.project.project_id
    if data.result is None:
        outcome = AuthOutcome.REFUSED if answer.item is None else AuthOutcome.GRANTED
        item_id = "" if answer.item is None else answer.item.item_id
        return AuthDecision(outcome, project_id, item_id, answer.code, answer.local_expires_ms)
    if data.result == "refused":
        agrees = answer.item is None and data.code in (None, answer.code)
        return AuthDecision(AuthOutcome.REFUSED, project_id, code=data.code or answer.code, agrees=agrees)
    agrees = answer.item is not None and data.item_id in (None, answer.item.item_id)
    item_id = data.item_id or ("" if answer.item is None else answer.item.item_id)
    end_ms = answer.local_expires_ms
    if data.local_expires_at is not None:
        end_ms = instant_ms(data.local_expires_at)
    return AuthDecision(AuthOutcome.GRANTED, project_id, item_id, None, end_ms, agrees)


def _seat(answer: Verdict, contact: Contact, occasion: Occasion) -> None:
    item = answer.item
    assert item is not None
    if item.seated:
        take_seat(item, contact, occasion)
    elif item.concurrent and answer.local_expires_ms is not None:
        book = contact.state.seat_book(item.item_id)
        book.contact(contact.client_uuid, contact.at_ms, answer.local_expires_ms, item.seats_of(contact.instances))
