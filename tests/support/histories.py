"""Hypothesis strategies: organizations with all charge ways, and histories of events that meet their limits.

Quotas are small and clocks jump, so that a few dozen events cross limits, end seats, turn budget years and meet
catalog changes. Everything is plain dictionaries, as they stand in files.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.support.choices import Choices, choices

ORGANIZATION = "7"
START = datetime(2031, 3, 8, 9, 58, tzinfo=UTC)
CLIENTS = ("a", "b", "c", "d", "e")
FEATURES = ("core", "ocr", "qr")
HOSTS = ("shop.example.org", "EXAMPLE.org.:8443", "other.net", "10.0.0.1", "x.github.io")
WAYS = (
    "per_scan",
    "per_page",
    "per_device",
    "per_concurrent_device",
    "per_concurrent_instance",
    "per_server",
    "per_domain",
)
#: How far the broker's clock goes between two events.
STEPS = [timedelta(seconds=s) for s in (0, 0, 0, 1, 50, 181, 400, 601, 3_600, 86_400, 86_400 * 31, 86_400 * 100)]
#: How old a report's slot is when it arrives.
AGES = [timedelta(0)] * 6 + [timedelta(seconds=180), timedelta(hours=2), timedelta(days=29), timedelta(days=31)]


def text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


#: More choices than a document, or an event, has.
_DOCUMENT_CHOICES = 176
_EVENT_CHOICES = 32
#: Catalogs that the changes of one history take turns with.
_CATALOGS = 3


def _item(item_id: str, chosen: Choices) -> dict[str, Any]:
    way = WAYS[int(item_id) % 10]  # an item keeps its charge way, whatever else a catalog changes
    starts = START + chosen.of([timedelta(days=-400), timedelta(days=-30), timedelta(hours=3)])
    lasts = chosen.of([timedelta(days=420), timedelta(days=800), timedelta(days=800), timedelta(days=2)])
    item: dict[str, Any] = {
        "item_id": item_id,
        "charge_way": way,
        "starts_at": text(starts),
        "expires_at": text(max(starts, START) + lasts),
    }
    quota = chosen.of([None, 1, 1, 2, 3, 5, 10, 15, 20])
    if quota is not None:
        item["quota"] = quota
    if chosen.one_in(2):
        item["modules"] = chosen.some(FEATURES, 2)
    if way == "per_device":
        item["activity_period"] = chosen.of(["yearly", "quarterly", "monthly", "daily"])
    if way.startswith("per_concurrent") and chosen.one_in(2):
        item["overuse_budget"] = chosen.integer(1, 6)
    if way == "per_domain":
        item["validation_fields"] = [{"kind": "domain", "value": chosen.of(HOSTS)}]
    elif chosen.one_in(10):
        item["validation_fields"] = [{"kind": "process", "value": "p1"}]
    optional: list[tuple[str, int, list[Any]]] = [
        ("expiry_grace_days", 4, [0, 1, 7]),
        ("revoked_at", 10, [text(START + timedelta(days=1)), text(START + timedelta(hours=1))]),
        ("product", 10, ["P", "Q"]),
        ("version", 10, ["1", "2"]),
        ("edition", 10, ["pro"]),
        ("deployment_type", 10, ["server", "browser"]),
        ("base_item_ids", 10, [["00"], ["11", "02"]]),
    ]
    return item | _some(chosen, optional)


def _some(chosen: Choices, optional: list[tuple[str, int, list[Any]]]) -> dict[str, Any]:
    """Choose fields, each of them once in so many times, with any of its values."""
    return {name: chosen.of(values) for name, one_in, values in optional if chosen.one_in(one_in)}


def _document(chosen: Choices) -> dict[str, Any]:
    ids = [f"{number}{chosen.integer(0, len(WAYS) - 1)}" for number in range(chosen.integer(0, 4))]
    entries = [_item(item_id, chosen) for item_id in ids]
    projects = []
    for number in range(chosen.integer(1, 3)):
        linked = chosen.some(ids) if number else list(ids)
        project: dict[str, Any] = {"project_id": f"{ORGANIZATION}-p{number}", "item_ids": linked}
        if linked and chosen.one_in(3):
            project["usage_order"] = chosen.permutation(linked)[: chosen.integer(1, len(linked))]
        if chosen.one_in(10):
            project["disabled_at"] = text(START + chosen.of([timedelta(0), timedelta(days=1)]))
        if chosen.one_in(10):
            project["session_password_hash"] = "h"
        if chosen.one_in(10):
            project["validation_fields"] = [{"kind": "domain", "value": "example.org"}]
        projects.append(project)
    document: dict[str, Any] = {"organization_id": ORGANIZATION, "projects": projects}
    if entries:
        document["license_files"] = [{"license_id": "L", "items": entries}]
    if not chosen.one_in(5):
        document["default_project_id"] = projects[0]["project_id"]
    alerts = _some(chosen, [("preset", 2, ["default", "legacy"]), ("failure_requests_min", 2, [1, 2, 3])])
    return document | ({"alerts": alerts} if alerts else {})


def _validation(chosen: Choices) -> dict[str, Any]:
    kind = chosen.of([None, None, "domain", "domain", "process"])
    if kind is None:
        return {}
    return {"validation": {"kind": kind, "value": chosen.of(HOSTS if kind == "domain" else ("p1", "p2"))}}


def _restrictions(chosen: Choices) -> dict[str, Any]:
    optional: list[tuple[str, int, list[Any]]] = [
        ("product", 6, ["P", "Q"]),
        ("version", 6, ["1", "2"]),
        ("deployment_type", 6, ["server", "browser"]),
    ]
    return _some(chosen, optional)


def _report(now: datetime, chosen: Choices) -> dict[str, Any]:
    slot = now - chosen.of(AGES)
    epoch_s = int(slot.timestamp())
    slot_s = epoch_s - epoch_s % 180 + chosen.of([0] * 12 + [180, 540, 7])
    counts = {
        feature: chosen.of([0, 1, 1, 2, 3, 7, 20, -1] if feature == "qr" else [0, 1, 1, 2, 3, 7, 20])
        for feature in chosen.some(FEATURES)
    }
    data: dict[str, Any] = {"counts": counts} | _restrictions(chosen) | _validation(chosen)
    if chosen.one_in(4):
        data["instances"] = chosen.integer(1, 4)
    if chosen.one_in(16):
        data["total"] = sum(counts.values()) + chosen.integer(0, 1)
    if chosen.one_in(16):
        data["sent_at"] = text(now + chosen.of([timedelta(0), timedelta(days=2)]))
    return _event("license.usage.report.v1", text(datetime.fromtimestamp(slot_s, UTC)), now, data, chosen)


def _authorization(now: datetime, chosen: Choices) -> dict[str, Any]:
    at = now - timedelta(seconds=chosen.of([0, 0, 0, 1, 30, 200, 3_600, -60, -400, 90_000]))
    optional: list[tuple[str, int, list[Any]]] = [
        ("charge_way", 5, ["auto", *WAYS]),
        ("feature", 5, list(FEATURES)),
        ("requested_instances", 4, [1, 2, 3, 6]),
        ("password_ok", 4, [True, False]),
        ("clone_suspected", 16, [True]),
        ("result", 6, ["ok", "refused"]),
    ]
    data = _restrictions(chosen) | _validation(chosen) | _some(chosen, optional)
    return _event("license.authorization.v1", text(at), now, data, chosen)


def _event(kind: str, time: str, now: datetime, data: dict[str, Any], chosen: Choices) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": kind,
        "id": str(chosen.integer(0, 60)),
        "source": chosen.of(CLIENTS),
        "time": time,
        "receivedat": text(now),
        "data": data,
    }
    named = chosen.of(["p0"] * 6 + ["p1", "p2", "gone", None])
    if named is None:
        event["organizationid"] = ORGANIZATION
    else:
        event["subject"] = f"{ORGANIZATION}-{named}"
    return event


def _change(document: dict[str, Any], now: datetime) -> dict[str, Any]:
    data = {"subject": ORGANIZATION, "data": document, "type": "license.catalog.v1", "source": "x", "id": "x"}
    return {"specversion": "1.0", "time": text(now), "receivedat": text(now)} | data


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a license document."""
    return choices(_DOCUMENT_CHOICES).map(_document)


#: Made once: a strategy takes longer to make than to draw from.
_catalogs = st.tuples(*[documents()] * (1 + _CATALOGS))
_event_choices = choices(_EVENT_CHOICES)


@st.composite
def histories(draw: st.DrawFn, events_max: int = 40) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw a document and the events that follow it, in the order of their arrival; some are repeats."""
    document, *changes = draw(_catalogs)
    events: list[dict[str, Any]] = []
    now = START
    for _ in range(draw(st.integers(1, events_max))):
        chosen = draw(_event_choices)
        now += chosen.of(STEPS)
        kind = chosen.integer(0, 19)
        if kind < 13:
            events.append(_report(now, chosen))
        elif kind < 18:
            events.append(_authorization(now, chosen))
        elif kind == 18 and events:
            events.append(chosen.of(events) | {"receivedat": text(now)})
        else:
            events.append(_change(chosen.of(changes), now))
    return document, events
