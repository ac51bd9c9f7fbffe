"""`licmeter meter`: the core over files, and what came out as one document (docs/meter.md has the formats)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from licmeter.metering.authorizing import AuthDecision
from licmeter.metering.breaches import breach_message
from licmeter.metering.codes import client_code
from licmeter.metering.counters import item_counters
from licmeter.metering.decoding import CatalogChange, decode
from licmeter.metering.items import instant_ms
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.meter import Decision
from licmeter.metering.organization import OrganizationState
from licmeter.metering.recount import Counted, Recount
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.metering.slots import is_late
from licmeter.schemas.catalog import CATALOG_TYPE, Organization
from licmeter.schemas.outcomes import RefusalCode, RejectReason
from licmeter.schemas.reports import REPORT_TYPE, Instant, organization_of

__all__ = ["OfflineMeter"]

_TOTALS: Final = ("received", "charged", "uncharged", "duplicate", "rejected", "granted", "refused", "catalogs")
_KINDS: Final = {REPORT_TYPE: "report", CATALOG_TYPE: "catalog", "license.authorization.v1": "authorization"}
_NOT_OFFLINE: Final = {"kind", "source_partition", "applied_offset", "updated_at"}
_instant: Final = TypeAdapter(Instant).validate_python


@dataclass(slots=True)
class OfflineMeter:
    """Counts lines in their order; `notes` say what was done about lines that go back in time."""

    recount: Recount = field(default_factory=Recount)
    notes: list[str] = field(default_factory=list)
    _now_ms: int | None = None

    def adopt(self, documents: Iterable[Organization]) -> None:
        """Put documents in force before the first event."""
        for document in documents:
            self.recount.adopt(document)

    def count(self, number: int, line: bytes) -> dict[str, Any]:
        """Count one line; return what `outcomes` says of it."""
        try:
            parsed = from_json(line)
        except ValueError:
            parsed = None
        fields: Mapping[str, Any] = parsed if isinstance(parsed, dict) else {}
        owner, kind = _owner(fields), fields.get("type")
        received_ms = self._arrival(number, fields)
        if received_ms is None and fields:
            event: Any = Refused(RejectReason.INVALID_SCHEMA, "receivedat: is missing, or no instant with a zone")
        else:
            event = decode(owner.encode() or None, line, received_ms or 0, DEFAULT_LIMITS)
        counted = self.recount.count(owner, event, self._now_ms)
        head = {"line": number, "kind": _KINDS.get(kind, "unknown") if isinstance(kind, str) else "unknown"}
        return head | {"organization_id": owner or None} | _answer(counted, fields)

    def _arrival(self, number: int, fields: Mapping[str, Any]) -> int | None:
        """Return when a line arrived; a line that is no JSON arrived with the one before, if there was one."""
        if not fields:
            return self._now_ms
        try:
            received_ms = instant_ms(_instant(fields.get("receivedat")))
        except (ValidationError, OverflowError):
            return None
        if self._now_ms is not None and received_ms < self._now_ms:
            self.notes.append(f"line {number}: receivedat is before that of the line before; counted as if with it")
            received_ms = self._now_ms
        self._now_ms = received_ms
        return received_ms

    def check_until(self, last: datetime) -> None:
        """Run the checks up to and including an instant."""
        self.recount.check_until(instant_ms(last))

    def results(self, *, slots: bool = False) -> dict[str, Any]:
        """Return everything but the outcomes of single lines."""
        recount = self.recount
        states = [state for name, state in sorted(recount.organizations.items()) if name]
        return {
            "items": [item for state in states for item in self._items(state, slots=slots)],
            "projects": list(self._projects()),
            "breaches": [breach_message(fact).model_dump(mode="json", exclude_none=True) for fact in recount.breaches],
            "alerts": [alert.model_dump(mode="json", exclude_none=True) for alert in recount.alerts],
            "totals": {name: recount.totals[name] for name in _TOTALS},
        }

    def _items(self, state: OrganizationState, *, slots: bool) -> Iterator[dict[str, Any]]:
        """Yield the items of all documents that were in force, with their last definition."""
        recount = self.recount
        for (organization_id, item_id), item in sorted(recount.items.items()):
            if organization_id != state.organization_id:
                continue
            (counters,) = item_counters(state, 0, [item], recount.now_ms)
            entry = counters.model_dump(mode="json", exclude=_NOT_OFFLINE)
            if slots and item.concurrent:
                entry["slots"] = self._slots(organization_id, item_id)
            yield entry

    def _slots(self, organization_id: str, item_id: str) -> dict[str, Any]:
        return {
            _rfc3339(slot_s * 1000): {"allotted": use.total, "exceptions": use.exceptions}
            for (organization, owner, slot_s), use in sorted(self.recount.slots.slots.items())
            if (organization, owner) == (organization_id, item_id) and use.total
        }

    def _projects(self) -> Iterator[dict[str, Any]]:
        for (organization_id, project_id), by_slot in sorted(self.recount.units.items()):
            catalog = self.recount.organizations[organization_id].catalog
            if not any(by_slot.values()) and (catalog is None or project_id not in catalog.projects):
                continue  # gone, and never used
            by_feature: dict[str, int] = {}
            for counts in by_slot.values():
                for feature, count in counts.items():
                    by_feature[feature] = by_feature.get(feature, 0) + count
            yield {
                "organization_id": organization_id,
                "project_id": project_id,
                "total": sum(by_feature.values()),
                "by_feature": dict(sorted(by_feature.items())),
                "by_slot": {
                    _rfc3339(slot_s * 1000): dict(sorted(c.items())) for slot_s, c in sorted(by_slot.items()) if c
                },
            }


def _owner(fields: Mapping[str, Any]) -> str:
    """Return the organization of an event: as in the stream, where it is the record's key."""
    named, subject = fields.get("organizationid"), fields.get("subject")
    if isinstance(named, str):
        return named
    return organization_of(subject) if isinstance(subject, str) else ""


def _rfc3339(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def _answer(counted: Counted, fields: Mapping[str, Any]) -> dict[str, Any]:
    answer, event = counted.answer, counted.event
    subject = fields.get("subject")
    named = subject if isinstance(subject, str) and fields.get("type") != CATALOG_TYPE else None
    if isinstance(answer, AuthDecision):
        granted = _of_authorization(answer)
        return {"project_id": answer.project_id or named} | granted
    if isinstance(answer, Decision):
        assert isinstance(event, Report)
        code = client_code(answer.reason, event.project_id) if answer.reason else None
        return {
            "project_id": answer.project_id or named,
            "outcome": answer.outcome.value,
            "reason": None if answer.reason is None else answer.reason.value,
            "code": _code(code),
            "detail": answer.detail,
            "late": is_late(slot_s=event.slot_s, received_ms=event.received_ms),
            "charges": [_charge(line) for line in answer.lines if line.quantity],
        }
    if isinstance(event, CatalogChange) or answer is None:
        return {"project_id": None, "outcome": "applied", "reason": None, "code": None, "detail": ""}
    code = client_code(answer.reason, answer.project_id)
    return {
        "project_id": named,
        "outcome": "rejected",
        "reason": answer.reason.value,
        "code": _code(code),
        "detail": answer.detail,
    }


def _of_authorization(answer: AuthDecision) -> dict[str, Any]:
    end_ms = answer.local_expires_ms
    return {
        "outcome": answer.outcome.value,
        "reason": None if answer.reason is None else answer.reason.value,
        "code": _code(answer.code),
        "detail": answer.detail or ("" if answer.agrees else "the recorded answer is not the verdict"),
        "item_id": answer.item_id or None,
        "local_expires_at": None if end_ms is None else _rfc3339(end_ms),
    }


def _code(code: RefusalCode | None) -> dict[str, Any] | None:
    return None if code is None else {"number": code.number, "slug": code.value}


def _charge(line: Any) -> dict[str, Any]:
    return {
        "feature": line.feature or None,
        "item_id": line.item_id or None,
        "quantity": line.quantity,
        "tier": line.tier.value,
        "in_quota": line.in_quota,
        "in_grace": line.in_grace,
        "over": line.over,
        "exceptions": line.exceptions,
        "in_expiry_grace": line.in_expiry_grace,
    }
