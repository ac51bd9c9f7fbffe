"""The raw records behind the entries: what the clients sent, byte for byte, held against the statement."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from hashlib import sha256
from itertools import groupby
from typing import Final

from pydantic import ValidationError

from licmeter.runtime.proof.canonical import CanonicalError, read_json
from licmeter.runtime.proof.statement import CLIENTS_PLAIN, Entry, Record, Statement, Subject, epoch_s
from licmeter.schemas.reports import UsageReportEvent, parse_report

__all__ = ["RECORD_BYTES_MAX", "check_records", "disagreements", "read_records"]

#: A report has 64 KiB at most; in JSON, with every byte escaped, six times as much.
RECORD_BYTES_MAX: Final = 8 * 64 * 1024


def read_records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Read a file of records, one JSON object a line; raises `CanonicalError` that names the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line) > RECORD_BYTES_MAX:
            raise CanonicalError(f"line {number}: it is too long for a report")
        try:
            yield Record.model_validate(read_json(line))
        except CanonicalError as error:
            raise CanonicalError(f"line {number}: {error}") from error
        except ValidationError as error:
            raise CanonicalError(f"line {number}: no object of partition, offset and value") from error


def check_records(statement: Statement, records: Iterable[Record]) -> tuple[str | None, str]:
    """Check each record against the entries of its place; return the failure, and what holds otherwise."""
    by_place = {
        place: list(entries)
        for place, entries in groupby(statement.entries, key=lambda entry: (entry.partition, entry.offset))
    }
    seen: set[tuple[int, int]] = set()
    for record in records:
        place = (record.partition, record.offset)
        name = f"record {record.partition}:{record.offset}"
        if place in seen:
            return f"{name} is there twice", ""
        seen.add(place)
        entries = by_place.get(place)
        if entries is None:
            return f"{name} is behind no entry", ""
        plain = statement.clients == CLIENTS_PLAIN
        for failure in disagreements(statement.subject, entries, record.value.encode(), plain=plain):
            return f"{name}: {failure}", ""
    missing = len(by_place) - len(seen)
    return None, f"{len(seen):,} agree with their entries" + (f"; {missing:,} reports without" if missing else "")


def disagreements(subject: Subject, entries: Sequence[Entry], value: bytes, *, plain: bool) -> Iterator[str]:
    """Yield what a record says otherwise than the entries of its place; `plain`: they name the client itself."""
    entry = entries[0]
    if entry.record_sha256 is None:
        yield "the statement has no hash of it"
    elif sha256(value).hexdigest() != entry.record_sha256:
        yield "its SHA-256 is not that of the entry"
    try:
        event = parse_report(value)
    except (ValidationError, ValueError, RecursionError):
        yield "it is no usage report"
        return
    yield from _fields(entry, event, plain=plain)
    yield from _counts(subject, entries, event)


def _fields(entry: Entry, event: UsageReportEvent, *, plain: bool) -> Iterator[str]:
    said = event["time"].astimezone(UTC)
    if int(said.timestamp()) != epoch_s(entry.slot):
        yield f"its slot is {said:%Y-%m-%dT%H:%M:%SZ} ≠ {entry.slot} of the entry"
    if event["id"] != entry.report_id:
        yield f"its id is {event['id']!r} ≠ {entry.report_id!r} of the entry"
    if plain and event["source"] != entry.client_uuid:
        yield f"its client is {event['source']!r} ≠ {entry.client_uuid!r} of the entry"
    project_id = event.get("subject")
    if project_id is not None and project_id != entry.project_id:
        yield f"its project is {project_id!r} ≠ {entry.project_id!r} of the entry"


def _counts(subject: Subject, entries: Sequence[Entry], event: UsageReportEvent) -> Iterator[str]:
    """Compare counts: all of them must be there, unless the subject is an item, which may have taken a part."""
    stated: dict[str, int] = {}
    for entry in entries:
        stated[entry.feature] = stated.get(entry.feature, 0) + entry.quantity
    counts = event["data"]["counts"]
    for feature, quantity in stated.items():
        if quantity > counts.get(feature, 0):
            yield f"it has {counts.get(feature, 0)} of {feature!r}, and the entries {quantity}"
    if subject.item_id is None:
        for feature, count in counts.items():
            if subject.feature in (None, feature) and count != stated.get(feature, 0):
                yield f"it has {count} of {feature!r}, and the entries {stated.get(feature, 0)}"
