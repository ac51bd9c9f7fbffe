"""Hypothesis strategies: organizations with all charge ways, and histories of events that meet their limits.

Quotas are small and clocks jump, so that a few dozen events cross limits, end seats, turn budget years and meet
catalog changes. Everything is plain dictionaries, as they stand in files.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

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


@st.composite
def items(draw: st.DrawFn, item_id: str) -> dict[str, Any]:
    way = WAYS[int(item_id) % 10]  # an item keeps its charge way, whatever else a catalog changes
    starts = START + draw(st.sampled_from([timedelta(days=-400), timedelta(days=-30), timedelta(hours=3)]))
    lasts = draw(st.sampled_from([timedelta(days=420), timedelta(days=800), timedelta(days=800), timedelta(days=2)]))
    item: dict[str, Any] = {
        "item_id": item_id,
        "charge_way": way,
        "starts_at": text(starts),
        "expires_at": text(max(starts, START) + lasts),
    }
    quota = draw(st.sampled_from([None, 1, 1, 2, 3, 5, 10, 15, 20]))
    if quota is not None:
        item["quota"] = quota
    if draw(st.booleans()):
        item["modules"] = draw(st.lists(st.sampled_from(FEATURES), unique=True, max_size=2))
    if way == "per_device":
        item["activity_period"] = draw(st.sampled_from(["yearly", "quarterly", "monthly", "daily"]))
    if way.startswith("per_concurrent") and draw(st.booleans()):
        item["overuse_budget"] = draw(st.integers(1, 6))
    if way == "per_domain":
        item["validation_fields"] = [{"kind": "domain", "value": draw(st.sampled_from(HOSTS))}]
    elif draw(st.integers(0, 9)) == 0:
        item["validation_fields"] = [{"kind": "process", "value": "p1"}]
    for name, chance, values in (
        ("expiry_grace_days", 3, [0, 1, 7]),
        ("revoked_at", 9, [text(START + timedelta(days=1)), text(START + timedelta(hours=1))]),
        ("product", 9, ["P", "Q"]),
        ("version", 9, ["1", "2"]),
        ("edition", 9, ["pro"]),
        ("deployment_type", 9, ["server", "browser"]),
        ("base_item_ids", 9, [["00"], ["11", "02"]]),
    ):
        if draw(st.integers(0, chance)) == 0:
            item[name] = draw(st.sampled_from(values))
    return item


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 4))
    ids = [f"{number}{draw(st.integers(0, len(WAYS) - 1))}" for number in range(count)]
    entries = [draw(items(item_id)) for item_id in ids]
    projects = []
    for number in range(draw(st.integers(1, 3))):
        chosen = draw(st.lists(st.sampled_from(ids), unique=True)) if ids and number else list(ids)
        project: dict[str, Any] = {"project_id": f"{ORGANIZATION}-p{number}", "item_ids": chosen}
        if chosen and draw(st.integers(0, 2)) == 0:
            project["usage_order"] = draw(st.permutations(chosen))[: draw(st.integers(1, len(chosen)))]
        if draw(st.integers(0, 9)) == 0:
            project["disabled_at"] = text(START + draw(st.sampled_from([timedelta(0), timedelta(days=1)])))
        if draw(st.integers(0, 9)) == 0:
            project["session_password_hash"] = "h"
        if draw(st.integers(0, 9)) == 0:
            project["validation_fields"] = [{"kind": "domain", "value": "example.org"}]
        projects.append(project)
    document: dict[str, Any] = {"organization_id": ORGANIZATION, "projects": projects}
    if entries:
        document["license_files"] = [{"license_id": "L", "items": entries}]
    if draw(st.integers(0, 4)):
        document["default_project_id"] = projects[0]["project_id"]
    alerts: dict[str, Any] = {}
    if draw(st.booleans()):
        alerts["preset"] = draw(st.sampled_from(["default", "legacy"]))
    if draw(st.booleans()):
        alerts["failure_requests_min"] = draw(st.integers(1, 3))
    if alerts:
        document["alerts"] = alerts
    return document


@st.composite
def validations(draw: st.DrawFn) -> dict[str, str] | None:
    kind = draw(st.sampled_from([None, None, "domain", "domain", "process"]))
    if kind is None:
        return None
    return {"kind": kind, "value": draw(st.sampled_from(HOSTS if kind == "domain" else ("p1", "p2")))}


@st.composite
def restrictions(draw: st.DrawFn) -> dict[str, str]:
    wanted = {}
    for name, values in (("product", "PQ"), ("version", "12"), ("deployment_type", ("server", "browser"))):
        if draw(st.integers(0, 5)) == 0:
            wanted[name] = draw(st.sampled_from(values))
    return wanted


@st.composite
def reports(draw: st.DrawFn, now: datetime) -> dict[str, Any]:
    slot = now - draw(st.sampled_from(AGES))
    epoch_s = int(slot.timestamp())
    slot_s = epoch_s - epoch_s % 180 + draw(st.sampled_from([0] * 12 + [180, 540, 7]))
    counts = {
        feature: draw(st.sampled_from([0, 1, 1, 2, 3, 7, 20, -1] if feature == "qr" else [0, 1, 1, 2, 3, 7, 20]))
        for feature in draw(st.lists(st.sampled_from(FEATURES), unique=True, max_size=3))
    }
    data: dict[str, Any] = {"counts": counts} | draw(restrictions())
    validation = draw(validations())
    if validation is not None:
        data["validation"] = validation
    if draw(st.integers(0, 3)) == 0:
        data["instances"] = draw(st.integers(1, 4))
    if draw(st.integers(0, 15)) == 0:
        data["total"] = sum(counts.values()) + draw(st.integers(0, 1))
    if draw(st.integers(0, 15)) == 0:
        data["sent_at"] = text(now + draw(st.sampled_from([timedelta(0), timedelta(days=2)])))
    return _event("license.usage.report.v1", draw, text(datetime.fromtimestamp(slot_s, UTC)), now, data)


@st.composite
def authorizations(draw: st.DrawFn, now: datetime) -> dict[str, Any]:
    at = now - timedelta(seconds=draw(st.sampled_from([0, 0, 0, 1, 30, 200, 3_600, -60, -400, 90_000])))
    data: dict[str, Any] = draw(restrictions())
    validation = draw(validations())
    if validation is not None:
        data["validation"] = validation
    for name, chance, values in (
        ("charge_way", 4, ["auto", *WAYS]),
        ("feature", 4, list(FEATURES)),
        ("requested_instances", 3, [1, 2, 3, 6]),
        ("password_ok", 3, [True, False]),
        ("clone_suspected", 15, [True]),
        ("result", 5, ["ok", "refused"]),
    ):
        if draw(st.integers(0, chance)) == 0:
            data[name] = draw(st.sampled_from(values))
    return _event("license.authorization.v1", draw, text(at), now, data)


def _event(kind: str, draw: st.DrawFn, time: str, now: datetime, data: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": kind,
        "id": str(draw(st.integers(0, 60))),
        "source": draw(st.sampled_from(CLIENTS)),
        "time": time,
        "receivedat": text(now),
        "data": data,
    }
    named = draw(st.sampled_from(["p0"] * 6 + ["p1", "p2", "gone", None]))
    if named is None:
        event["organizationid"] = ORGANIZATION
    else:
        event["subject"] = f"{ORGANIZATION}-{named}"
    return event


@st.composite
def histories(draw: st.DrawFn, events_max: int = 40) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw a document and the events that follow it, in the order of their arrival; some are repeats."""
    document, events, now = draw(documents()), [], START
    for _ in range(draw(st.integers(1, events_max))):
        now += draw(st.sampled_from(STEPS))
        kind = draw(st.integers(0, 19))
        if kind == 0:
            changed = draw(documents())
            data = {"subject": ORGANIZATION, "data": changed, "type": "license.catalog.v1", "source": "x", "id": "x"}
            events.append({"specversion": "1.0", "time": text(now), "receivedat": text(now)} | data)
        elif kind == 1 and events:
            events.append(draw(st.sampled_from(events)) | {"receivedat": text(now)})
        elif kind < 7:
            events.append(draw(authorizations(now)))
        else:
            events.append(draw(reports(now)))
    return document, events
