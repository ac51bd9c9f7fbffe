"""Makes a statement: lines from ClickHouse, raw records from the log, and a check of one against the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licmeter.analytics.query import run
from licmeter.metering.items import instant_ms
from licmeter.runtime.audit.log import Log
from licmeter.runtime.audit.report import AuditReport
from licmeter.runtime.audit.scene import OnProgress, Published, await_sink, read_counters
from licmeter.runtime.audit.stored import Stored
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.proof.keys import pseudonym_secret, sign
from licmeter.runtime.proof.listing import LinesQuery, entry_of_row, statistic_of
from licmeter.runtime.proof.originals import disagreements
from licmeter.runtime.proof.statement import (
    CLIENTS_PLAIN,
    CLIENTS_PSEUDONYMS,
    DAY_S,
    ENTRIES_MAX,
    AsOf,
    Entry,
    Record,
    Subject,
    epoch_s,
    figures_of,
    first_link,
    instant_of_ms,
    links,
    pseudonym,
    settled_before,
)
from licmeter.schemas.counters import OrganizationCounters
from licmeter.schemas.topics import USAGE_EVENTS

__all__ = ["Evidence", "document_of", "gather"]

_EPOCH: Final = date(1970, 1, 1)


@dataclass(slots=True)
class Evidence:
    """What is behind a number.

    `records` are the raw ones that the log still has; `disagreements` say where a line is not what its record says.
    `statistic` is what the statistics show, `later` of it what came after the statement's offset.
    """

    subject: Subject
    as_of: AsOf
    entries: list[Entry]
    statistic: int
    later: int
    records: list[Record] = field(default_factory=list)
    kept: int = 0  # reports whose record the log still has
    disagreements: list[str] = field(default_factory=list)


async def gather(
    log: Log,
    stored: Stored,
    subject: Subject,
    *,
    now: datetime,
    wait_s: float,
    keep_records: bool,
    on_progress: OnProgress,
) -> Evidence:
    """Gather what is behind the numbers of a subject.

    Raises `UsageError` for what was never counted or is too much for one statement, and `ServiceError` when a service
    does not do its part or the sink is behind, as reports would then be left out.
    """
    published = await read_counters(log, None, AuditReport())
    as_of = await _as_of(log, published, subject, now)
    behind = await await_sink(log, wait_s, on_progress)
    if behind:
        raise ServiceError(
            f"the sink has {sum(behind.values()):,} records still to write: reports would be left out",
            service="sink",
            hint="does `licmeter sink` run?",
        )
    query = LinesQuery(subject, as_of.applied_offset)
    text, parameters = query.to_sql()
    entries = [entry_of_row(row) for row in stored.stream(text, parameters)]
    if len(entries) > ENTRIES_MAX:
        raise UsageError(f"there are more than {ENTRIES_MAX:,} lines", hint="ask for a shorter range, or a feature")
    ((later,),) = stored.query(*query.later_sql())
    with stored.said():
        statistic = statistic_of(subject, lambda asked: run(stored.client, asked))
    evidence = Evidence(subject, as_of, entries, statistic, later)
    await _read_records(log, evidence, keep_records=keep_records, on_progress=on_progress)
    return evidence


async def _as_of(log: Log, published: Published, subject: Subject, now: datetime) -> AsOf:
    """Say up to where the log was counted, and so which slots are closed."""
    own = published.get((subject.organization_id, "", -1))
    if not isinstance(own, OrganizationCounters):
        raise UsageError(f"nothing was counted of organization {subject.organization_id}")
    partition = own.source_partition
    span = (await log.spans(USAGE_EVENTS.name))[partition]
    others = [each for each in published.values() if each.source_partition == partition]
    latest = max(others, key=lambda each: (each.applied_offset, each.updated_at))
    # `now` was taken before the log's end was asked for, so nothing that had come by then is left to be counted.
    through = now if latest.applied_offset >= span.end - 1 else latest.updated_at
    counted_through = instant_of_ms(instant_ms(through))
    before = settled_before(counted_through)
    end_s = (date.fromisoformat(subject.last_day) - _EPOCH).days * DAY_S + DAY_S
    return AsOf(
        partition=partition,
        applied_offset=latest.applied_offset,
        counted_through=counted_through,
        settled_before=before,
        settled=end_s <= epoch_s(before),
    )


async def _read_records(log: Log, evidence: Evidence, *, keep_records: bool, on_progress: OnProgress) -> None:
    """Read the raw records that the log still has, and hash them; hold each against its lines."""
    span = (await log.spans(USAGE_EVENTS.name))[evidence.as_of.partition]
    places = _by_offset(evidence.entries)
    wanted = [offset for offset in places if span.begin <= offset < span.end]
    hashes: dict[int, str] = {}
    async for record in log.read_places(USAGE_EVENTS.name, span.partition, wanted):
        value = record.value or b""
        digest = hashes[record.offset] = sha256(value).hexdigest()
        lines = [entry.model_copy(update={"record_sha256": digest}) for entry in places[record.offset]]
        place = f"{span.partition}:{record.offset}"
        evidence.disagreements += [
            f"{place}: {each}" for each in disagreements(evidence.subject, lines, value, plain=True)
        ]
        if keep_records:
            text = value.decode("utf-8", "replace")
            evidence.records.append(Record(partition=span.partition, offset=record.offset, value=text))
        if len(hashes) % 1_000 == 0:
            on_progress(len(hashes), len(wanted), "reading the raw records")
    on_progress(len(hashes), len(wanted), "reading the raw records")
    evidence.kept = len(hashes)
    evidence.disagreements += [
        f"{span.partition}:{offset}: the log has no such record" for offset in wanted if offset not in hashes
    ]
    evidence.entries = [
        entry.model_copy(update={"record_sha256": hashes.get(entry.offset)}) for entry in evidence.entries
    ]


def _by_offset(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    return {offset: list(lines) for offset, lines in groupby(entries, key=lambda entry: entry.offset)}


def document_of(
    evidence: Evidence,
    *,
    issued_at: str,
    key: Ed25519PrivateKey | None,
    pseudonyms: bool,
    include_records: bool,
) -> dict[str, Any]:
    """Return the statement as a document: signed with a key, or else a listing with no signature."""
    entries = [entry.model_dump() for entry in evidence.entries]
    if pseudonyms:
        assert key is not None
        secret = pseudonym_secret(key)
        entries = [entry | {"client_uuid": pseudonym(secret, entry["client_uuid"])} for entry in entries]
    chained = links(evidence.subject, entries)
    document = {
        "type": "licmeter.statement",
        "version": 1,
        "issued_at": issued_at,
        "clients": CLIENTS_PSEUDONYMS if pseudonyms else CLIENTS_PLAIN,
        "subject": evidence.subject.model_dump(),
        "figures": _lists(figures_of(evidence.entries).model_dump()),
        "as_of": evidence.as_of.model_dump(),
        "chain": {"entries": len(entries), "head": chained[-1] if chained else first_link(evidence.subject).hex()},
        "entries": [entry | {"link": link} for entry, link in zip(entries, chained, strict=True)],
        "records": [record.model_dump() for record in evidence.records] if include_records else None,
    }
    return document | {"signature": None} if key is None else sign(document, key)


def _lists(figures: dict[str, Any]) -> dict[str, Any]:
    return figures | {"features": list(figures["features"])}
