"""Lines in, the object of `licmeter meter --json --slots` out."""

from datetime import datetime
from typing import Any

from tests.support.reference.alerts import Checks, check_instants, every_check
from tests.support.reference.catalog import SEATED, is_organization_id, is_text, read_document
from tests.support.reference.charging import Charge, tell_crossings, tell_device_refused, tell_domain_refused
from tests.support.reference.domains import domain_key
from tests.support.reference.events import CODES, named_organization, read_authorization, read_report
from tests.support.reference.history import History, Limits, item_row
from tests.support.reference.instants import CHECK, EPOCH, SLOT, ceil_to, floor_to, instant, slot_start, text
from tests.support.reference.verdict import judge, local_end, locate, take

KINDS = {
    "license.usage.report.v1": "report",
    "license.authorization.v1": "authorization",
    "license.catalog.v1": "catalog",
}


def meter(
    documents: list[dict[str, Any]],
    events: list[dict[str, Any]],
    checks_until: datetime | None = None,
    limits: Limits | None = None,
    *,
    skip_idle_checks: bool = True,
) -> dict[str, Any]:
    """Count a log from the beginning."""
    run = _Run(documents, limits or Limits(), skip_idle_checks)
    for number, event in enumerate(events, start=1):
        run.line(number, event, checks_until)
    return run.result(len(events), checks_until)


def _code(slug: str | None) -> dict[str, Any] | None:
    return None if slug is None else {"number": CODES[slug], "slug": slug}


class _Run:
    def __init__(self, documents: list[dict[str, Any]], limits: Limits, skip_idle_checks: bool) -> None:
        self.limits = limits
        self.history = History(limits)
        self.checks = Checks(self.history)
        self.skip = skip_idle_checks
        self.organizations: dict[str, dict[str, Any]] = {}
        #: The last definition of every item that ever was.
        self.definitions: dict[tuple[str, str], dict[str, Any]] = {}
        self.outcomes: list[dict[str, Any]] = []
        self.arrival: datetime | None = None
        self.checked: datetime | None = None  # the last instant of the grid that is behind us
        self.last_check: datetime | None = None
        for document in documents:
            self._apply(read_document(document))

    def _apply(self, document: dict[str, Any]) -> None:
        self.organizations[document["organization_id"]] = document
        for item in document["items"].values():
            self.definitions[document["organization_id"], item["item_id"]] = item

    # --- checks

    def _run_checks(self, until: datetime) -> None:
        until = floor_to(until, CHECK)
        if self.checked is None or until <= self.checked:
            return
        if self.skip:
            instants = check_instants(self.history, self.organizations, self.checked, until)
        else:
            instants = every_check(self.checked, until)
        for now in instants:
            self.checks.run(self.organizations, now)
        self.checked = self.last_check = until

    # --- lines

    def line(self, number: int, event: Any, checks_until: datetime | None) -> None:
        kind = KINDS.get(event["type"]) if isinstance(event, dict) and is_text(event.get("type")) else None
        try:
            arrival = instant(event.get("receivedat") if isinstance(event, dict) else None)
        except ValueError:
            arrival = None
        if arrival is not None:
            self.arrival = arrival if self.arrival is None else max(self.arrival, arrival)
            if self.checked is None:
                self.checked = ceil_to(self.arrival, CHECK) - CHECK
            self._run_checks(self.arrival if checks_until is None else min(self.arrival, checks_until))
        subject = event.get("subject") if isinstance(event, dict) and isinstance(event.get("subject"), str) else None
        outcome: dict[str, Any] = {
            "line": number,
            "kind": kind or "unknown",
            "organization_id": named_organization(event) if isinstance(event, dict) else None,
            "project_id": subject,
            "outcome": "rejected",
            "reason": None,
            "code": None,
            "detail": "",
        }
        if kind == "catalog":
            outcome |= {"organization_id": subject, "project_id": None}
        if kind == "report":
            outcome |= {"late": False, "charges": []}
        if kind == "authorization":
            outcome |= {"item_id": None, "local_expires_at": None}
        self.outcomes.append(outcome)
        if kind is None:
            outcome["reason"] = "unknown_event_type" if isinstance(event, dict) else "not_json"
        elif arrival is None:
            outcome["reason"] = "invalid_schema"
        elif kind == "catalog":
            self._catalog(event, outcome)
        elif kind == "report":
            self._report(event, outcome)
        else:
            self._authorization(event, outcome)

    def _catalog(self, event: dict[str, Any], outcome: dict[str, Any]) -> None:
        try:
            instant(event.get("time"))
            document = read_document(event.get("data"), exact=True)
            sound = (
                event.get("specversion") == "1.0"
                and is_text(event.get("id"), 1, 64)
                and is_text(event.get("source"), 1, 128)
                and is_organization_id(event.get("subject"))
                and event["subject"] == document["organization_id"]
            )
        except (ValueError, TypeError):
            sound = False
        if not sound:
            outcome["reason"] = "invalid_schema"
            return
        self._apply(document)
        outcome["outcome"] = "applied"

    # --- reports (section 5)

    def _report(self, event: dict[str, Any], outcome: dict[str, Any]) -> None:
        received = self.arrival
        assert received is not None
        try:
            report = read_report(event, self.limits.features_max)
        except ValueError:
            outcome["reason"] = "invalid_schema"
            return
        slot_end = report["slot"] + SLOT
        outcome["late"] = received >= slot_end + self.limits.closing
        reason, slug, project = self._checks_2_to_9(report, received)
        if project is not None:
            outcome["project_id"] = project["project_id"]
        if reason is not None:
            outcome |= {"reason": reason, "code": _code(slug)}
            self._tell_rejection(reason, report, received, outcome["late"])
            return
        assert project is not None
        if self._repeated("report", report, received, outcome):
            return
        charge = Charge(
            self.history,
            self.organizations[report["organization"]],
            project,
            report,
            outcome["line"],
            received,
            outcome["late"],
        )
        outcome["outcome"] = charge.run()
        outcome["charges"] = self._charges(outcome["line"])

    def _checks_2_to_9(
        self, report: dict[str, Any], received: datetime
    ) -> tuple[str | None, str | None, dict[str, Any] | None]:
        slot, counts, limits = report["slot"], report["counts"].values(), self.limits
        if any(count < 0 for count in counts):
            return "negative_count", None, None
        if any(count > limits.count_max for count in counts):
            return "count_out_of_range", None, None
        if slot_start(slot) != slot:
            return "slot_misaligned", None, None
        if report["sent_at"] is not None and abs(report["sent_at"] - received) > limits.skew:
            return "clock_skew", "clone_detected", None
        if slot > received + limits.future:
            return "future_slot", "clone_detected", None
        if received > slot + SLOT + limits.oldest:
            return "too_old", None, None
        slug, project = locate(self.organizations, report)
        if project is None:
            # Section 5 gives reports 101, 121 and 123 only.
            return "unknown_project", "unknown_project" if slug == "project_organization_mismatch" else slug, None
        if project["disabled_at"] is not None and slot >= project["disabled_at"]:
            return "project_disabled", "no_matching_item", project
        return None, None, project

    def _tell_rejection(self, reason: str, event: dict[str, Any], received: datetime, late: bool) -> None:
        """Breach events of checks 5, 6 and 8; an unknown organization is nobody (G21)."""
        name = event["organization"]
        if name not in self.organizations:
            return
        about = {"organization_id": name, "slot": slot_start(received), "late": late, "at": received}
        if reason in ("clock_skew", "future_slot"):
            identity = (name, event["client"], received.date())
            self.history.tell("clock_skew", identity, **about, client_uuid=event["client"], detail=reason)
        if reason == "unknown_project":
            identity = (name, event["subject"], received.date())
            self.history.tell("unknown_project", identity, **about, project_id=event["subject"])

    def _repeated(self, kind: str, event: dict[str, Any], received: datetime, outcome: dict[str, Any]) -> bool:
        name = event["organization"]
        first = self.history.seen(kind, name, event["client"], event["id"], received)
        if first is not None:
            if first["content"] == event["content"]:
                outcome["outcome"] = "duplicate"
            else:
                outcome["reason"] = "conflict"
            return True
        self.history.accepted.append(
            {
                "kind": kind,
                "organization_id": name,
                "client": event["client"],
                "id": event["id"],
                "content": event["content"],
                "received": received,
            }
        )
        return False

    def _charges(self, line: int) -> list[dict[str, Any]]:
        """The parts of a report, those of one feature and item put together."""
        parts = sorted(
            (part for part in self.history.parts if part["line"] == line),
            key=lambda part: (part["feature"], part["order"]),
        )
        charges: dict[tuple[str, str | None], dict[str, Any]] = {}
        for part in parts:
            key = (part["feature"], part["item_id"])
            charge = charges.setdefault(
                key,
                {
                    "feature": part["feature"],
                    "item_id": part["item_id"],
                    "quantity": 0,
                    "tier": "",
                    "in_quota": 0,
                    "in_grace": 0,
                    "over": 0,
                    "exceptions": 0,
                    "in_expiry_grace": part["in_expiry_grace"],
                },
            )
            charge["tier"] = part["tier"]  # the last pass in which the item took something
            for name in ("quantity", "in_quota", "in_grace", "over", "exceptions"):
                charge[name] += part[name]
        return list(charges.values())

    # --- authorizations (section 9, G2 to G4)

    def _authorization(self, event: dict[str, Any], outcome: dict[str, Any]) -> None:
        received = self.arrival
        assert received is not None
        try:
            request = read_authorization(event)
        except ValueError:
            outcome["reason"] = "invalid_schema"
            return
        at, name = request["at"], request["organization"]
        if abs(at - received) > self.limits.skew or at > received + self.limits.future:
            outcome |= {"reason": "clock_skew", "code": _code("clone_detected")}
            self._tell_rejection("clock_skew", request, received, False)
            return
        slug, project = locate(self.organizations, request)
        known = name in self.organizations
        if known and self._repeated("authorization", request, received, outcome):
            return
        verdict: dict[str, Any] = {"code": slug, "item": None, "full": [], "outside": []}
        if project is not None:
            outcome["project_id"] = project["project_id"]
            verdict = judge(self.history, self.organizations[name], project, request)
        self._answer(request, verdict, project, outcome, received)
        if project is not None:
            self._count_request(request, project, outcome)

    def _answer(
        self,
        request: dict[str, Any],
        verdict: dict[str, Any],
        project: dict[str, Any] | None,
        outcome: dict[str, Any],
        received: datetime,
    ) -> None:
        """G4: the recorded result counts where there is one; a seat needs the verdict's leave, too."""
        item, name, at = verdict["item"], request["organization"], request["at"]
        granted = item is not None if request["result"] is None else request["result"] == "ok"
        about = {
            "organization_id": name,
            "project_id": None if project is None else project["project_id"],
            "slot": slot_start(at),
            "late": False,
            "at": received,
        }
        if not granted:
            outcome |= {"outcome": "refused", "code": _code(request["code"] or verdict["code"])}
            for full in verdict["full"]:
                tell_device_refused(self.history, full, request["client"], at, **about)
            for outside in verdict["outside"]:
                key = domain_key(request["validation"][1], self.organizations[name]["platform_suffixes"])
                tell_domain_refused(self.history, outside, key, at, **about)
            return
        outcome["outcome"] = "granted"
        item_id, until = request["item_id"], request["local_expires_at"]
        if item is not None:
            before = len(self.history.live(name, item["item_id"], at))
            take(self.history, name, item, request)
            after = len(self.history.live(name, item["item_id"], at))
            if item["charge_way"] in SEATED:
                crossing = about | {"item_id": item["item_id"]}
                tell_crossings(self.history, item, before, after, slot_start(at), **crossing)
            item_id = item_id or item["item_id"]
            until = until or local_end(self.history, name, item, request)
        outcome |= {"item_id": item_id, "local_expires_at": None if until is None else text(until)}

    def _count_request(self, request: dict[str, Any], project: dict[str, Any], outcome: dict[str, Any]) -> None:
        """W8: code 100 is not counted."""
        number = None if outcome["code"] is None else outcome["code"]["number"]
        if number == 100:
            return
        self.history.requests.append(
            {
                "organization_id": request["organization"],
                "project_id": project["project_id"],
                "at": request["at"],
                "failed": outcome["outcome"] == "refused",
                "number": number,
            }
        )

    # --- output

    def result(self, lines: int, checks_until: datetime | None) -> dict[str, Any]:
        if checks_until is not None:
            if self.checked is None:
                self.checked = floor_to(checks_until, CHECK) - CHECK
            self._run_checks(checks_until)
        end = max([moment for moment in (self.arrival, self.last_check) if moment is not None], default=EPOCH)
        totals = {name: sum(1 for o in self.outcomes if o["outcome"] == name) for name in TOTALS}
        return {
            "outcomes": self.outcomes,
            "items": [item_row(self.history, *row, end) for row in self._items()],
            "projects": self._projects(),
            "breaches": [_told(breach, ("identity",)) for breach in self.history.breaches],
            "alerts": [_told(alert) for alert in self.history.alerts],
            "totals": {"received": lines, **totals, "catalogs": sum(o["outcome"] == "applied" for o in self.outcomes)},
        }

    def _items(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, item) for (name, _), item in sorted(self.definitions.items())]

    def _projects(self) -> list[dict[str, Any]]:
        known = {(name, project) for name, o in self.organizations.items() for project in o["projects"]}
        known |= {(part["organization_id"], part["project_id"]) for part in self.history.parts}
        rows = []
        for name, project_id in sorted(known):
            parts = [p for p in self.history.parts if (p["organization_id"], p["project_id"]) == (name, project_id)]
            by_feature: dict[str, int] = {}
            by_slot: dict[str, dict[str, int]] = {}
            for part in sorted(parts, key=lambda part: (part["slot"], part["feature"])):
                slot = by_slot.setdefault(text(part["slot"]), {})
                for counts in (by_feature, slot):
                    counts[part["feature"]] = counts.get(part["feature"], 0) + part["quantity"]
            rows.append(
                {
                    "organization_id": name,
                    "project_id": project_id,
                    "total": sum(by_feature.values()),
                    "by_feature": by_feature,
                    "by_slot": by_slot,
                }
            )
        return rows


TOTALS = ("charged", "uncharged", "duplicate", "rejected", "granted", "refused")


def _told(message: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A breach or an alert as it travels: no nulls, instants as text."""
    return {
        name: text(value) if isinstance(value, datetime) else value
        for name, value in message.items()
        if value is not None and name not in without
    }
