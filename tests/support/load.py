"""A load whose right count the oracle knows: several organizations, duplicates, conflicts, late and broken reports."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from licmeter.schemas.catalog import Organization, catalog_event
from licmeter.schemas.reports import encode_event, usage_report
from tests.support.build import item, organization

Pair = tuple[bytes, bytes]

SLOT_S = 180


def document(organization_id: str, quota: int, now: datetime) -> Organization:
    valid = {"starts_at": now - timedelta(days=90), "expires_at": now + timedelta(days=90)}
    later = valid | {"expires_at": now + timedelta(days=120)}
    projects = [
        {"project_id": f"{organization_id}-one", "item_ids": ["A", "B"]},
        {"project_id": f"{organization_id}-two", "item_ids": ["B"]},
        {"project_id": f"{organization_id}-none"},
    ]
    items = [item("A", quota=quota, **valid), item("B", quota=3 * quota, **later)]
    return organization(*items, organization_id=organization_id, projects=projects, default_project_id=None)


def catalogs(organizations: int, quota: int, now: datetime) -> Iterator[Pair]:
    for number in range(organizations):
        name = str(1000 + number)
        event = catalog_event(document(name, quota, now), event_id="c1", source="test", time=now)
        yield name.encode(), encode_event(event)


def reports(count: int, organizations: int, now: datetime, seed: int, *, first: int = 0) -> Iterator[Pair]:
    """Yield `count` records: nine in ten are fresh, the others repeat, contradict, or are broken."""
    random = Random(f"{seed}-{first}")
    newest = int(now.timestamp()) // SLOT_S * SLOT_S
    recent: list[Pair] = []
    for number in range(first, first + count):
        kind = random.random()
        if kind < 0.05 and recent:
            yield random.choice(recent)
            continue
        name = str(1000 + random.randrange(organizations))
        if kind < 0.06:
            yield name.encode(), random.choice((b"{", b"nope", b"[1,"))
            continue
        slot = newest - SLOT_S * (random.randrange(9_000) if kind < 0.10 else random.randrange(3))
        project = "gone" if kind < 0.11 else random.choice(("one", "one", "one", "two", "none"))
        event = usage_report(
            report_id=f"r{number}" if kind > 0.12 or not number else f"r{random.randrange(number)}",
            client_uuid=f"device-{random.randrange(500)}",
            slot=datetime.fromtimestamp(slot, UTC),
            counts={random.choice(("qr", "ean", "pdf417")): random.randrange(4)},
            project_id=f"{name}-{project}",
        )
        pair = name.encode(), encode_event(event)
        if len(recent) < 1_000:
            recent.append(pair)
        else:
            recent[random.randrange(1_000)] = pair
        yield pair
