"""Where the worker's outputs go, and how a batch becomes records for them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from licmeter.metering.breaches import BreachFact, breach_message
from licmeter.metering.counters import item_counters, organization_counters
from licmeter.schemas import topics
from licmeter.schemas.alerts import Breach, UsageAlert, alert_event
from licmeter.schemas.attribution import encode_blocks
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA, AUTHORIZATIONS_KEY
from licmeter.schemas.envelope import CLOUD_EVENT_HEADERS
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.reports import encode_event
from licmeter.schemas.seat_rows import SEAT_SCHEMA, SEATS_KEY
from licmeter.schemas.verdicts import Verdict, verdict_event
from licmeter.stream.batch import BatchResult

__all__ = ["MemoryOutputs", "OutputRecord", "Outputs", "alert_record", "output_records"]


class OutputRecord(NamedTuple):
    """A record for an output topic; its partition is that of the input."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Outputs(Protocol):
    """Takes records for a topic; `send` returns when the broker has all of them (acks=all)."""

    async def send(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        """Send records in their order."""


@dataclass
class MemoryOutputs:
    """Keeps records in memory: for tests."""

    def __post_init__(self) -> None:
        self.sent: dict[str, list[OutputRecord]] = {}

    async def send(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        """Keep the records."""
        self.sent.setdefault(topic, []).extend(records)


def output_records(result: BatchResult, source_topic: str) -> Iterator[tuple[str, list[OutputRecord]]]:
    """Yield what a batch sends, topic by topic."""
    if result.rows:
        columns = list(zip(*result.rows, strict=True))
        yield topics.USAGE_ATTRIBUTED.name, [OutputRecord(None, block) for block in encode_blocks(columns)]
    if result.authorizations:
        columns = list(zip(*result.authorizations, strict=True))
        blocks = encode_blocks(columns, AUTHORIZATION_SCHEMA)
        yield topics.USAGE_ATTRIBUTED.name, [OutputRecord(AUTHORIZATIONS_KEY, block) for block in blocks]
    if result.seats:
        columns = list(zip(*((*identity, *span) for identity, span in result.seats.items()), strict=True))
        blocks = encode_blocks(columns, SEAT_SCHEMA)
        yield topics.USAGE_ATTRIBUTED.name, [OutputRecord(SEATS_KEY, block) for block in blocks]
    if result.verdicts:
        yield topics.LICENSE_VERDICTS.name, [_verdict(message) for message in result.verdicts]
    if result.breaches:
        yield topics.LICENSE_ALERTS.name, [_breach(fact) for fact in result.breaches]
    if result.rejects:
        yield topics.USAGE_REJECTED.name, list(_rejected(result, source_topic))
    if result.documents:
        documents = {organization_id.encode(): document for (organization_id, _), document in result.documents.items()}
        yield topics.LICENSE_CATALOG.name, [OutputRecord(*record) for record in documents.items()]
    if result.touched:
        yield topics.LICENSE_COUNTERS.name, list(_counters(result))


def _verdict(message: Verdict) -> OutputRecord:
    return OutputRecord(message.organization_id.encode(), encode_event(verdict_event(message)), CLOUD_EVENT_HEADERS)


def _breach(fact: BreachFact) -> OutputRecord:
    return alert_record(breach_message(fact))


def alert_record(message: Breach | UsageAlert) -> OutputRecord:
    """Return the record of a message on `license.alerts`."""
    return OutputRecord(message.organization_id.encode(), encode_event(alert_event(message)), CLOUD_EVENT_HEADERS)


def _rejected(result: BatchResult, source_topic: str) -> Iterable[OutputRecord]:
    for record, reason, detail in result.rejects:
        origin = RejectOrigin(
            reason=reason,
            detail=detail,
            topic=source_topic,
            partition=result.partition,
            offset=record.offset,
            received_at_ms=record.received_ms,
        )
        # Kafka clients refuse a record with neither key nor value; the reason says that there was none.
        value = b"" if record.key is None and record.value is None else record.value
        yield OutputRecord(record.key, value, reject_headers(origin, record.headers))


def _counters(result: BatchResult) -> Iterable[OutputRecord]:
    for organization_id, state in result.touched.items():
        organization = organization_counters(state, result.partition)
        yield OutputRecord(organization.key, organization.model_dump_json().encode())
        known = {} if state.catalog is None else state.catalog.items
        touched = [known[name] for name in sorted(result.touched_items.get(organization_id, ())) if name in known]
        for item in item_counters(state, result.partition, touched, state.updated_ms):
            yield OutputRecord(item.key, item.model_dump_json().encode())
