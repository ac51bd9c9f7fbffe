"""Rows of the statistics' tables, written as the sink writes them."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pyarrow as pa

from licmeter.schemas.attribution import encode_blocks
from licmeter.schemas.catalog import Organization
from licmeter.schemas.seat_rows import SEAT_SCHEMA, SEATS_KEY
from licmeter.schemas.topics import LICENSE_CATALOG
from licmeter.sinks.conversion import RowBatch
from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.writer import ClickHouseWriter
from tests.unit.sinks.records import (
    FakeRecord,
    attribution_blocks,
    attribution_row,
    authorization_blocks,
    authorization_row,
    columns,
    counters_record,
    item_counters,
    organization_counters,
)

_offsets = count(1)


def usage(
    organization: str, project: str, item: str, client: str, slot: datetime, units: int, **changes: Any
) -> dict[str, Any]:
    """One line of one report; it arrives a minute after its slot."""
    offset = next(_offsets)
    fields = {
        "organization_id": organization,
        "project_id": project,
        "item_id": item,
        "client_uuid": client,
        "report_id": f"r{offset}",
        "slot": slot,
        "feature": "qr",
        "outcome": "charged" if item else "uncharged",
        "quantity": units,
        "in_quota": units if item else 0,
        "in_grace": 0,
        "over": 0,
        "tier": "quota" if item else "",
        "exceptions": 0,
        "instances": 1,
        "late": False,
        "received_at": slot + timedelta(minutes=4),
        "source_offset": offset,
        "line": 0,
    }
    return attribution_row(**(fields | changes))


def request(
    organization: str, project: str, client: str, at: datetime, code: str = "", **changes: Any
) -> dict[str, Any]:
    """One request for leave to run; without a code it is granted on item 41."""
    offset = next(_offsets)
    fields = {
        "organization_id": organization,
        "project_id": project,
        "item_id": "" if code else "41",
        "client_uuid": client,
        "auth_id": f"a{offset}",
        "at": at,
        "outcome": "refused" if code else "granted",
        "code": code,
        "code_number": 120 if code else 0,
        "local_expires_at": datetime(1970, 1, 1, tzinfo=UTC) if code else at + timedelta(days=3),
        "received_at": at,
        "source_offset": offset,
    }
    return authorization_row(**(fields | changes))


def seat(
    organization: str, item: str, client: str, project: str, first: datetime, last: datetime, end: datetime
) -> dict[str, Any]:
    return {
        "organization_id": organization,
        "item_id": item,
        "client_uuid": client,
        "first_at": first,
        "project_id": project,
        "since": first,
        "last_contact_at": last,
        "expires_at": end,
    }


def seat_blocks(rows: list[dict[str, Any]]) -> list[FakeRecord]:
    return [FakeRecord(block, key=SEATS_KEY) for block in encode_blocks(columns(rows, SEAT_SCHEMA), SEAT_SCHEMA)]


def catalog(document: Organization, offset: int = 1) -> FakeRecord:
    return FakeRecord(
        document.model_dump_json().encode(),
        topic=LICENSE_CATALOG.name,
        offset=offset,
        key=document.organization_id.encode(),
    )


def counted(organization: str, updated_at: datetime, offset: int = 1) -> FakeRecord:
    """Tell that the organization was counted up to an instant."""
    return counters_record(
        organization_counters(organization_id=organization, updated_at=updated_at, applied_offset=offset)
    )


def used(organization: str, item: str, units: int, **changes: Any) -> FakeRecord:
    fields = {"used": units, "in_quota": units, "in_grace": 0, "over": 0, "attributed": units, "active": 0}
    fields |= {"consumed": 0, "budget": None, "budget_year": None, "percent": None, "state": "active"}
    return counters_record(item_counters(organization_id=organization, item_id=item, **(fields | changes)))


def write(target: ClickHouseTarget, records: Iterable[FakeRecord]) -> None:
    """Write records as the sink does."""
    batch = RowBatch()
    for record in records:
        batch.add(record)
    assert batch.undecodable == []

    async def insert(tables: dict[str, pa.RecordBatch]) -> None:
        writer = ClickHouseWriter(target)
        await writer.write(tables)
        await writer.close()

    asyncio.run(insert(batch.tables()))


KIOSK, MUSEUM = "300417-kiosk", "300417-museum"
DAY = datetime(2031, 3, 8, tzinfo=UTC)


def _item(item_id: str, **changes: Any) -> dict[str, Any]:
    valid = {"starts_at": "2026-01-01T00:00:00Z", "expires_at": "2036-01-01T00:00:00Z"}
    return {"item_id": item_id, "charge_way": "per_scan", "quota": 1_000, **valid} | changes


def example_day(organization: str = "300417", factor: int = 1) -> list[FakeRecord]:
    """The example of the domain, section 10: project K has items A (41) and B (42), project M shares B.

    One of K's scans of 08:50 came in a report of its own, on the day after.
    """
    k, m = f"{organization}-kiosk", f"{organization}-museum"
    document = Organization.model_validate(
        {
            "organization_id": organization,
            "default_project_id": k,
            "license_files": [
                {
                    "license_id": "L7",
                    "alias": "DM_L7_Date20260101",
                    "items": [
                        _item("41", description="Kiosk scans", product="barcode-reader", modules=["qr"]),
                        _item("42", description="Shared scans", product="barcode-reader"),
                    ],
                }
            ],
            "projects": [{"project_id": k, "item_ids": ["41", "42"]}, {"project_id": m, "item_ids": ["42"]}],
        }
    )
    late = {"late": True, "received_at": DAY + timedelta(days=1, hours=9)}
    rows = [
        usage(organization, k, "41", "door", DAY.replace(hour=8, minute=9), 4 * factor),
        usage(organization, k, "42", "door", DAY.replace(hour=8, minute=48), 5 * factor),
        usage(organization, k, "42", "hall", DAY.replace(hour=8, minute=48), factor, **late),
        usage(organization, m, "42", "shop", DAY.replace(hour=11, minute=18), 5 * factor, feature="code128"),
    ]
    requests = [
        request(organization, k, "door", DAY.replace(hour=8, minute=1)),
        request(organization, m, "gate", DAY.replace(hour=11), "limit_exceeded"),
    ]
    counters = [used(organization, "41", 4 * factor), used(organization, "42", 11 * factor)]
    updated = counted(organization, DAY + timedelta(days=1, hours=9))
    return [*attribution_blocks(rows), *authorization_blocks(requests), *counters, catalog(document), updated]


WALKED = "900001"
#: Names that meet everything a name may hold.
PROJECTS = (f"{WALKED}-a", f"{WALKED}-'quoted\\", f'{WALKED}-Ünï,😀"')
FEATURES = ("qr", "with, comma", 'with "quotes"', "line\nbreak", "zß", "=1+1")
ITEMS = ("i1", "i2'", "ï3")


def busy_weeks(seed: int, today: datetime) -> list[FakeRecord]:
    """Forty days until yesterday of an organization with much of everything, in random order."""
    random = Random(seed)
    clients = [f"client-{number}" for number in range(60)] + ["ünï\"c'", "tab\tclient"]
    rows, requests, seats = [], [], []
    for _ in range(2_500):
        slot = today - timedelta(days=random.randrange(1, 41), seconds=-180 * random.randrange(480))
        item = random.choice([*ITEMS, ""])
        changes = {
            "feature": random.choice(FEATURES),
            "late": random.random() < 0.1,
            "instances": random.randrange(1, 4),
        }
        if changes["late"]:
            changes["received_at"] = min(slot + timedelta(hours=random.randrange(1, 60)), today)
        rows.append(
            usage(
                WALKED, random.choice(PROJECTS), item, random.choice(clients), slot, random.randrange(0, 9), **changes
            )
        )
    for number in range(25):  # heard of once, and silent since
        slot = today - timedelta(days=random.randrange(2, 29), seconds=180 * random.randrange(3))
        rows.append(usage(WALKED, PROJECTS[0], "i1", f"silent-{number}", slot, 1))
    yesterday = today - timedelta(days=1)
    for _ in range(1_300):  # more than the detail of a day shows
        at = yesterday + timedelta(milliseconds=random.randrange(3_600) * 24_000)
        code = random.choice(["", "", "limit_exceeded", "expired"])
        requests.append(request(WALKED, random.choice(PROJECTS), random.choice(clients), at, code))
        rows.append(usage(WALKED, random.choice(PROJECTS), "i1", random.choice(clients), yesterday, 1))
    for client in clients:
        for item in ("seats", "sëats2"):
            first = today - timedelta(days=random.randrange(1, 20), milliseconds=random.randrange(1_000))
            last = first + timedelta(hours=random.randrange(20))
            end = last + timedelta(days=random.choice([1, 60]))
            seats.append(seat(WALKED, item, client, random.choice(PROJECTS), first, last, end))
    random.shuffle(rows)
    document = Organization.model_validate(
        {
            "organization_id": WALKED,
            "default_project_id": PROJECTS[0],
            "license_files": [{"license_id": "L1", "items": _many_items(today)}],
            "projects": [{"project_id": name, "item_ids": list(ITEMS)} for name in PROJECTS],
        }
    )
    counters = [used(WALKED, item, 100) for item in ITEMS]
    blocks = [*attribution_blocks(rows), *authorization_blocks(requests), *seat_blocks(seats)]
    return [*blocks, *counters, catalog(document), counted(WALKED, today - timedelta(minutes=1))]


def _many_items(today: datetime) -> list[dict[str, Any]]:
    def at(days: int) -> str:
        return (today + timedelta(days=days)).isoformat()

    device = {"charge_way": "per_device", "activity_period": "monthly", "quota": 50}
    return [
        *(_item(name, starts_at=at(-300), expires_at=at(65), quota=100_000) for name in ITEMS),
        _item("seats", starts_at=at(-300), expires_at=at(65), **device),
        _item("sëats2", starts_at=at(-300), expires_at=at(65), **device),
        _item("crowd", charge_way="per_concurrent_device", quota=2, starts_at=at(-300), expires_at=at(65)),
        _item("ended", starts_at=at(-400), expires_at=at(-35)),
        _item("in-grace", starts_at=at(-400), expires_at=at(-3)),
        _item("revoked", starts_at=at(-300), expires_at=at(65), revoked_at=at(-10)),
        _item("early", starts_at=at(10), expires_at=at(375)),
        _item("unlimited", quota=None, starts_at=at(-300), expires_at=at(65)),
    ]
