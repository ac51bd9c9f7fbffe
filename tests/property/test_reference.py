"""The incremental core agrees with a slow reference that knows the whole history (tests/support/reference)."""

import json
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings

from licmeter.runtime.offline import OfflineMeter
from licmeter.schemas.catalog import Organization
from tests.support import reference
from tests.support.histories import histories

EXAMPLES = 2_000


def count(document: dict[str, Any], events: list[dict[str, Any]], until: datetime) -> dict[str, Any]:
    """Count with the core, as `licmeter meter` does."""
    meter = OfflineMeter()
    meter.adopt([Organization.model_validate(document)])
    outcomes = [meter.count(number, json.dumps(event).encode()) for number, event in enumerate(events, 1)]
    meter.check_until(until)
    return json.loads(json.dumps({"outcomes": outcomes} | meter.results(slots=True)))


def comparable(results: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the reference does not state: wordings and hashes."""
    for outcome in results["outcomes"]:
        outcome["detail"] = ""
        if outcome["reason"] == "conflict":
            outcome["code"] = None
        if outcome["outcome"] == "rejected":
            outcome.pop("late", None)
            outcome.pop("charges", None)
            outcome.pop("item_id", None)
            outcome.pop("local_expires_at", None)
    for item in results["items"]:
        # Asked for and not used; the reference lists it, too.
        slots = item.get("slots", {})
        item.update({"slots": {slot: use for slot, use in slots.items() if use["allotted"]}} if slots else {})
    for breach in results["breaches"]:
        breach.pop("breach_id", None)
    for alert in results["alerts"]:
        alert.pop("alert_id", None)
    return results


@given(histories())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_model_of_all_charge_ways(history: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    document, events = history
    until = datetime.fromisoformat(events[-1]["receivedat"]) + timedelta(hours=2)
    ours = comparable(count(document, events, until))
    theirs = comparable(reference.meter([document], events, until))
    for part in ("outcomes", "items", "projects", "breaches", "alerts", "totals"):
        assert ours[part] == theirs[part]
