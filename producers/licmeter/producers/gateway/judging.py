"""What becomes of each event of a request: the answer for the client, and the record for the log. No IO, no clock.

The rules are the stream's own (`metering.decoding`), so that both say the same; the log has the last word, since only
there an event has its place and its arrival. What the rules refuse goes to the log all the same: the stream rejects it
there, and the original ends with its reason in `usage.rejected`, where it can be looked at and replayed. What the rules
would take and this door must not, a catalog or somebody's recorded authorization, goes nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from pydantic_core import from_json

from licmeter.metering.codes import client_code
from licmeter.metering.decoding import decode
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.producers.gateway.directory import Access, Tenant
from licmeter.producers.gateway.incoming import Incoming
from licmeter.producers.gateway.problems import code_of
from licmeter.schemas.outcomes import RefusalCode, RejectReason
from licmeter.schemas.reports import REPORT_TYPE, encode_event, organization_of

__all__ = ["Judgment", "judge"]

_to_json: Final = msgspec.json.encode
#: What is wrong with an event itself, whoever sent it: a request of such an event alone does not follow the contract.
_MALFORMED: Final = frozenset(
    {RejectReason.NOT_JSON, RejectReason.INVALID_SCHEMA, RejectReason.UNKNOWN_EVENT_TYPE, RejectReason.EMPTY_RECORD}
)


@dataclass(slots=True)
class Judgment:
    """All events of a request: `values` go to the log in this order, `results` to the client."""

    organization_id: str
    values: list[bytes] = field(default_factory=list)
    results: list[bytes] = field(default_factory=list)
    reasons: list[RejectReason] = field(default_factory=list)
    foreign: int = 0
    malformed: list[bytes] = field(default_factory=list)
    withheld: int = 0
    dropped_reports: int = 0
    dropped_units: int = 0

    @property
    def accepted(self) -> int:
        """How many events were accepted."""
        return len(self.results) - len(self.reasons)


def judge(
    events: Sequence[Incoming], access: Access, tenant: Tenant, received_ms: int, limits: Limits = DEFAULT_LIMITS
) -> Judgment:
    """Decide on the events of a request that came with a key."""
    judgment = Judgment(access.organization_id)
    key = access.organization_id.encode()
    suffix = b',"subject":' + _to_json(access.project_id) + b"}"
    for incoming in events:
        value = _addressed(incoming.value, suffix, access.project_id)
        if incoming.mistake:
            judgment.values.append(incoming.value)
            _reject(judgment, incoming.value, RejectReason.INVALID_SCHEMA, incoming.mistake, None)
            continue
        event = decode(key, value, received_ms, limits)
        if isinstance(event, Report):
            judgment.values.append(value)
            _judge_report(judgment, event, tenant, received_ms)
            if b'"dropped_' in value:
                _note_dropped(judgment, value)
        elif isinstance(event, Refused):
            judgment.values.append(value)
            _reject(judgment, value, event.reason, event.detail, client_code(event.reason, event.project_id))
        else:
            judgment.withheld += 1
            _reject(judgment, value, RejectReason.UNKNOWN_EVENT_TYPE, f"type: only {REPORT_TYPE} is taken here", None)
    return judgment


def _addressed(value: bytes, suffix: bytes, project_id: str) -> bytes:
    """Name the key's project in an event that names nobody; leave every other as it is."""
    if b'"subject"' not in value and b'"organizationid"' not in value:
        # Cut in, not encoded anew: it is nearly always so, and a report is most of the work.
        return value[:-1] + suffix if value.endswith(b"}") and value != b"{}" else value
    try:
        fields = from_json(value)
    except ValueError:
        return value
    if not isinstance(fields, dict) or fields.get("subject") is not None or fields.get("organizationid") is not None:
        return value
    return encode_event(fields | {"subject": project_id})


def _judge_report(judgment: Judgment, report: Report, tenant: Tenant, received_ms: int) -> None:
    """Run the checks 8 and 9, which need the catalog."""
    project = tenant.catalog.project(report.project_id)
    if project is None or project.is_disabled(report.slot_s):
        reason = RejectReason.UNKNOWN_PROJECT if project is None else RejectReason.PROJECT_DISABLED
        detail = report.project_id or "the organization has no default project"
        code = client_code(reason, report.project_id)
        judgment.results.append(_rejected(report.report_id, report.client_uuid, reason, detail, code))
        judgment.reasons.append(reason)
        return
    judgment.results.append(
        b'{"id":%b,"source":%b,"outcome":"accepted",%b}'
        % (_to_json(report.report_id), _to_json(report.client_uuid), tenant.standing(project, report, received_ms))
    )


def _note_dropped(judgment: Judgment, value: bytes) -> None:
    """Add up what the client says that it had to drop; it is said again until it is confirmed."""
    data = from_json(value)["data"]
    judgment.dropped_reports += data.get("dropped_reports") or 0
    judgment.dropped_units += data.get("dropped_units") or 0


def _reject(judgment: Judgment, value: bytes, reason: RejectReason, detail: str, code: RefusalCode | None) -> None:
    judgment.reasons.append(reason)
    if reason in _MALFORMED:
        judgment.malformed.append(value)
    fields = _fields(value)
    # Also what is malformed besides: who reaches for another organization is told the same, and it is logged.
    judgment.foreign += reason is RejectReason.KEY_MISMATCH or _names_other(fields, judgment.organization_id)
    event_id, source = _text(fields, "id", "report_id"), _text(fields, "source", "client_uuid")
    if reason is RejectReason.KEY_MISMATCH:
        detail = "the report is of another organization than the license key"
    judgment.results.append(_rejected(event_id, source, reason, detail, code))


def _fields(value: bytes) -> dict[str, Any]:
    """Read an event that is none as far as that goes."""
    try:
        fields = from_json(value)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _text(fields: dict[str, Any], *names: str) -> str | None:
    """Return the first of these members that is a text."""
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def _names_other(fields: dict[str, Any], organization_id: str) -> bool:
    project_id, named = _text(fields, "subject", "project_id"), _text(fields, "organizationid", "organization_id")
    owner = None if project_id is None else organization_of(project_id)
    return any(name is not None and name != organization_id for name in (owner, named))


def _rejected(
    event_id: str | None, source: str | None, reason: RejectReason, detail: str, code: RefusalCode | None
) -> bytes:
    result: dict[str, Any] = {
        "id": event_id,
        "source": source,
        "outcome": "rejected",
        "reason": reason.value,
        "detail": detail,
    }
    if code is not None:
        result["code"] = code_of(code)
    return _to_json(result)
