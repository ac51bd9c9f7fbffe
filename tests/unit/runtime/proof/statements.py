"""A signed statement of a few reports, with its records, made without any service."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licmeter.runtime.proof.checks import Verification, verify
from licmeter.runtime.proof.issuing import Evidence, document_of
from licmeter.runtime.proof.keys import sign
from licmeter.runtime.proof.listing import UNLINKED
from licmeter.runtime.proof.statement import (
    AsOf,
    Entry,
    Record,
    Subject,
    figures_of,
    first_link,
    instant,
    instant_of_ms,
    links,
    settled_before,
)
from licmeter.schemas.reports import encode_event, usage_report

__all__ = ["KEY", "failed", "made", "read", "resigned"]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DAY = datetime(2031, 3, 8, tzinfo=UTC)
COUNTS = ({"qr": 3}, {"qr": 2, "größe": 4}, {"core": 0}, {"core": 7})


def subject(**changes: Any) -> Subject:
    fields = {
        "organization_id": "300417",
        "project_id": "300417-kiosk",
        "item_id": None,
        "feature": None,
        "first_day": "2031-03-08",
        "last_day": "2031-03-09",
        "basis": "usage",
    }
    return Subject(**(fields | changes))


def evidence(chosen: Subject) -> Evidence:
    """Four reports in hours of one day, one with two features and one without use."""
    entries, records = [], []
    for number, counts in enumerate(COUNTS):
        slot = DAY + timedelta(hours=number)
        event = usage_report(
            report_id=f"r{number}",
            client_uuid=f"device-{number % 2}",
            slot=slot,
            counts=counts,
            project_id="300417-kiosk",
        )
        value, offset = encode_event(event), 10 + 5 * number
        records.append(Record(partition=2, offset=offset, value=value.decode()))
        for line, (feature, count) in enumerate(sorted(counts.items())):
            over = 1 if feature == "core" and count else 0
            entries.append(
                Entry(
                    partition=2,
                    offset=offset,
                    line=line,
                    project_id="300417-kiosk",
                    item_id="41" if count else "",
                    client_uuid=f"device-{number % 2}",
                    report_id=f"r{number}",
                    slot=instant(int(slot.timestamp())),
                    received_at=instant_of_ms(int(slot.timestamp()) * 1000 + 90_500),
                    feature=feature,
                    quantity=count,
                    in_quota=count - over,
                    in_grace=0,
                    over=over,
                    exceptions=0,
                    record_sha256=sha256(value).hexdigest(),
                    link=UNLINKED,
                )
            )
    through = "2031-03-10T12:00:00.000Z"
    as_of = AsOf(
        partition=2,
        applied_offset=99,
        counted_through=through,
        settled_before=settled_before(through),
        settled=False,
    )
    units = sum(entry.quantity for entry in entries)
    return Evidence(chosen, as_of, entries, statistic=units, later=0, records=records, kept=4)


def made(**options: Any) -> dict[str, Any]:
    fields = {"issued_at": "2031-03-10T12:00:01Z", "key": KEY, "pseudonyms": False, "include_records": True}
    return document_of(evidence(options.pop("subject", subject())), **(fields | options))


def resigned(document: dict[str, Any], *, chained: bool = True) -> dict[str, Any]:
    """Sign a changed document as its signer could: the links, the head and the figures made anew."""
    document = deepcopy(document)
    if chained:
        chosen = Subject(**document["subject"])
        found = links(chosen, document["entries"])
        document["entries"] = [entry | {"link": link} for entry, link in zip(document["entries"], found, strict=True)]
        head = found[-1] if found else first_link(chosen).hex()
        document["chain"] = {"entries": len(found), "head": head}
        figures = figures_of(Entry(**entry) for entry in document["entries"]).model_dump()
        document["figures"] = figures | {"features": list(figures["features"])}
    return sign(document, KEY)


def read(document: dict[str, Any]) -> Verification:
    return verify(json.dumps(document).encode(), KEY.public_key())


def failed(found: Verification) -> dict[str, str]:
    return {check.name: check.said for check in found.checks if not check.ok}
