"""A load of all charge ways: reports and authorizations of several organizations, with repeats and refusals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from licmeter.schemas.authorizations import authorization
from licmeter.schemas.catalog import Organization, catalog_event
from licmeter.schemas.reports import encode_event, usage_report
from tests.support.build import item

Pair = tuple[bytes, bytes]

SLOT_S = 180
CLIENTS = 60
#: Each feature has an item of its own, so that no charge way hides another.
WAYS: dict[str, dict[str, Any]] = {
    "qr": {"charge_way": "per_scan", "quota": 500},
    "core": {"charge_way": "per_page", "quota": 2_000},
    "seat": {"charge_way": "per_device", "activity_period": "monthly", "quota": 40},
    "host": {"charge_way": "per_server", "quota": 10},
    "slot": {"charge_way": "per_concurrent_device", "quota": 5, "overuse_budget": 100},
    "load": {"charge_way": "per_concurrent_instance", "quota": 8},
    "web": {"charge_way": "per_domain", "validation_fields": [{"kind": "domain", "value": "example.org"}]},
}


def document(organization_id: str, now: datetime) -> Organization:
    valid = {"starts_at": now - timedelta(days=90), "expires_at": now + timedelta(days=90)}
    entries = [item(f"i-{feature}", modules=[feature], **fields, **valid) for feature, fields in WAYS.items()]
    entries = [{k: v for k, v in e.items() if not (k == "quota" and e["charge_way"] == "per_domain")} for e in entries]
    project = {"project_id": f"{organization_id}-all", "item_ids": [entry["item_id"] for entry in entries]}
    return Organization.model_validate(
        {
            "organization_id": organization_id,
            "default_project_id": project["project_id"],
            "license_files": [{"license_id": "L", "items": entries}],
            "projects": [project, {"project_id": f"{organization_id}-none"}],
        }
    )


def catalogs(organizations: int, now: datetime) -> Iterator[Pair]:
    for number in range(organizations):
        name = str(2000 + number)
        event = catalog_event(document(name, now), event_id="c1", source="test", time=now)
        yield name.encode(), encode_event(event)


def events(count: int, organizations: int, now: datetime, seed: int, *, first: int = 0) -> Iterator[Pair]:
    """Yield `count` records, one in twenty a repeat."""
    random = Random(f"{seed}-{first}")
    newest = int(now.timestamp()) // SLOT_S * SLOT_S
    recent: list[Pair] = []
    for number in range(first, first + count):
        if recent and random.random() < 0.05:
            yield random.choice(recent)
            continue
        name, client = str(2000 + random.randrange(organizations)), f"device-{random.randrange(CLIENTS)}"
        project = f"{name}-{random.choice(('all',) * 20 + ('none', 'gone'))}"
        feature = random.choice(tuple(WAYS))
        validation = {"kind": "domain", "value": random.choice(("a.example.org", "example.org:80", "other.net"))}
        if random.random() < 0.2:
            event = authorization(
                auth_id=f"a{number}",
                client_uuid=client,
                at=now,
                project_id=project,
                feature=feature,
                requested_instances=random.choice((1, 1, 2, 9)),
                validation=validation,
            )
        else:
            slot = newest - SLOT_S * random.choice((0, 0, 1, random.randrange(9_000)))
            event = usage_report(
                report_id=f"r{number}",
                client_uuid=client,
                slot=datetime.fromtimestamp(slot, UTC),
                counts={feature: random.randrange(4)},
                project_id=project,
                instances=random.choice((None, 2, 3)),
                validation=validation if feature == "web" else None,
            )
        pair = name.encode(), encode_event(event)
        recent.append(pair)
        del recent[:-500]
        yield pair
