"""What a log says, one fact for each event that counts, as the reference of the metering rules answered it."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from licmeter.stream.batch import InputRecord
from tests.support.reference.catalog import SEATED
from tests.support.reference.engine import _Run
from tests.support.reference.history import History, Limits
from tests.support.reference.instants import EPOCH, instant

__all__ = ["NONE", "Contact", "Facts", "Line", "Report", "Request", "facts_of"]

#: No item, no project, no feature, no code.
NONE = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What one feature of a report was charged to."""

    feature: str
    item_id: str
    quantity: int = 0
    in_quota: int = 0
    in_grace: int = 0
    over: int = 0
    exceptions: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """An accepted report; its lines are those of features that were used, or of those named, if none was."""

    offset: int
    organization_id: str
    project_id: str
    client: str
    report_id: str
    slot_s: int
    received_ms: int
    late: bool
    instances: int
    outcome: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An authorization request that is no repeat, and its answer; also one that names an unknown project."""

    offset: int
    organization_id: str
    project_id: str
    item_id: str
    client: str
    auth_id: str
    at_ms: int
    granted: bool
    code: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact with a seat of a device item; without use it belongs to no project."""

    organization_id: str
    item_id: str
    client: str
    project_id: str
    at_ms: int
    end_ms: int


@dataclass(slots=True)
class Facts:
    """All facts in the order of the log; `items` are the latest definitions by organization and item."""

    reports: list[Report] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    received_ms: int = 0  # of the last record


class _Shelves(History):
    """The reference's history, with shelves for the two questions that would go through everything each time."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._parts: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._accepted: dict[tuple[str, str, str, str], list[dict[str, Any]]] = defaultdict(list)
        self._shelved = [0, 0]

    def parts_of(self, organization_id: str, item_id: str) -> list[dict[str, Any]]:
        for part in self.parts[self._shelved[0] :]:
            self._parts[part["organization_id"], part["item_id"]].append(part)
        self._shelved[0] = len(self.parts)
        return self._parts[organization_id, item_id]

    def seen(self, kind: str, organization_id: str, client: str, event_id: str, now: datetime) -> dict[str, Any] | None:
        for entry in self.accepted[self._shelved[1] :]:
            key = (entry["kind"], entry["organization_id"], entry["client"], entry["id"])
            self._accepted[key].append(entry)
        self._shelved[1] = len(self.accepted)
        everything, self.accepted = self.accepted, self._accepted[kind, organization_id, client, event_id]
        found = super().seen(kind, organization_id, client, event_id, now)
        self.accepted = everything
        return found


def facts_of(log: Iterable[InputRecord]) -> Facts:
    """Let the reference answer every record, and keep what statistics count."""
    run, facts = _Run([], Limits(), True), Facts()
    run.history = _Shelves(run.limits)
    for record in log:
        event = _event(record)
        known = len(run.history.contacts)
        run.line(record.offset, event, EPOCH)  # no checks: they count nothing
        outcome = run.outcomes[-1]
        if outcome["outcome"] in ("charged", "uncharged"):
            facts.reports.append(_report(record, event, outcome))
        elif outcome["outcome"] in ("granted", "refused"):
            facts.requests.append(_request(record, event, outcome))
        project = outcome["project_id"] or NONE
        if outcome["kind"] == "report" and not any(event["data"]["counts"].values()):
            project = NONE
        facts.contacts += [_contact(contact, project) for contact in run.history.contacts[known:]]
        facts.received_ms = record.received_ms
    facts.items, facts.outcomes = run.definitions, run.outcomes
    assert all(facts.items[c.organization_id, c.item_id]["charge_way"] in SEATED for c in facts.contacts)
    return facts


def _event(record: InputRecord) -> Any:
    try:
        event = json.loads(record.value or b"")
    except ValueError:
        return None
    seconds, ms = divmod(record.received_ms, 1000)
    received = datetime.fromtimestamp(seconds, UTC) + timedelta(milliseconds=ms)
    return event | {"receivedat": received.isoformat()} if isinstance(event, dict) else event


def _report(record: InputRecord, event: dict[str, Any], outcome: dict[str, Any]) -> Report:
    parts = [{name: value for name, value in c.items() if name in Line.__slots__} for c in outcome["charges"]]
    lines = [Line(**part | {"item_id": part["item_id"] or NONE}) for part in parts]
    if not lines:  # A6: a contact that says of which features there was no use
        lines = [Line(feature, NONE) for feature in sorted(event["data"]["counts"]) or [NONE]]
    return Report(
        record.offset,
        outcome["organization_id"],
        outcome["project_id"],
        event["source"],
        event["id"],
        int(instant(event["time"]).timestamp()),
        record.received_ms,
        outcome["late"],
        event["data"].get("instances") or 1,
        outcome["outcome"],
        tuple(lines),
    )


def _request(record: InputRecord, event: dict[str, Any], outcome: dict[str, Any]) -> Request:
    return Request(
        record.offset,
        outcome["organization_id"],
        outcome["project_id"] or NONE,
        outcome["item_id"] or NONE,
        event["source"],
        event["id"],
        _ms(instant(event["time"])),
        outcome["outcome"] == "granted",
        NONE if outcome["code"] is None else outcome["code"]["slug"],
    )


def _contact(contact: dict[str, Any], project: str) -> Contact:
    place = (contact["organization_id"], contact["item_id"], contact["client"])
    return Contact(*place, project, _ms(contact["t"]), _ms(contact["end"]))


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
