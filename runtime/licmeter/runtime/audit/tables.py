"""What must stand in ClickHouse for the events of the log: the rows, written here a second time and independently of
the stream, and how both sides put a row into one text.

A day's rows are compared by sums and by the sum of their digests. A digest is SHA-256 of a key and the row's text; the
key is new with each audit, so nobody can choose rows that cancel out. The text of a row has its numbers, then the
lengths of its words, then the words: no two rows share one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from licmeter.metering.authorization import Authorization
from licmeter.metering.authorizing import AuthDecision
from licmeter.metering.breaches import BreachFact
from licmeter.metering.items import instant_ms, percent_of
from licmeter.metering.meter import Decision
from licmeter.metering.report import Report
from licmeter.metering.slots import is_late
from licmeter.schemas.alerts import Breach
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import DETAIL_CHARS_MAX

__all__ = [
    "AUTHORIZATIONS",
    "BREACHES",
    "MESSAGES",
    "REJECTED",
    "TABLES",
    "USAGE",
    "Row",
    "Table",
    "authorization_row",
    "breach_row",
    "log_place",
    "message_row",
    "rejected_row",
    "usage_rows",
]

#: Numbers first, then words, in the order of the table's columns.
Row = tuple[Any, ...]

_DAY_MS: Final = 86_400_000
_WRAP: Final = 2**64


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the audit reads it: columns with their SQL, and what a row belongs to.

    `group` is the organization, or `#partition` for rejects, whose keys may be anybody's words; `group_sql` says the
    same. `sums` are counted beside the digests, so that a difference can be told in figures.
    """

    name: str
    source: str
    numbers: Sequence[tuple[str, str]]
    words: Sequence[tuple[str, str]]
    group: Callable[[Row], str]
    group_sql: str
    day: Callable[[Row], int]  # days since 1970
    day_sql: str
    place: Callable[[Row], str]  # what makes the row this row; sorts as the log does
    sums: Sequence[tuple[str, str]]
    measure: Callable[[Row], tuple[int, ...]]
    in_log: bool = True  # rows name their partition and offset
    _format: str = field(init=False)

    def __post_init__(self) -> None:
        words = len(self.words)
        text = ",".join(["%d"] * (len(self.numbers) + words)) + "|" + "%s" * words
        object.__setattr__(self, "_format", text)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in the order of a row."""
        return [name for name, _ in (*self.numbers, *self.words)]

    def digest(self, row: Row, key: bytes) -> int:
        """Return the keyed digest of a row, 64 bits of it."""
        count = len(self.numbers)
        words = row[count:]
        lengths = [len(word) if word.isascii() else len(word.encode()) for word in words]
        text = self._format % (*row[:count], *lengths, *words)
        return int.from_bytes(sha256(key + text.encode()).digest()[:8], "little")

    def digest_sql(self) -> str:
        """Return the same as SQL, with the key as the parameter `key`."""
        parts = [f"toString({sql})" for _, sql in self.numbers] + [f"toString(length({sql}))" for _, sql in self.words]
        words = ", ".join(sql for _, sql in self.words)
        text = f"concat({{key:String}}, {', '.join(_joined(parts))}, '|', {words})"
        return f"reinterpretAsUInt64(substring(SHA256({text}), 1, 8))"


def _joined(parts: Sequence[str]) -> list[str]:
    """Put a comma between."""
    return [each for part in parts for each in (part, "','")][:-1]


def log_place(row: Row) -> str:
    """Return the place of a row that begins with partition and offset; it sorts as the log does."""
    return f"{row[0]}:{row[1]:019d}"


USAGE: Final = Table(
    name="usage_attributed",
    source="usage_attributed",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("line", "line"),
        ("slot", "toUnixTimestamp(slot)"),
        ("quantity", "quantity"),
        ("in_quota", "in_quota"),
        ("in_grace", "in_grace"),
        ("over", "over"),
        ("exceptions", "exceptions"),
        ("instances", "instances"),
        ("late", "toUInt8(late)"),
        ("in_expiry_grace", "toUInt8(in_expiry_grace)"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
    ),
    words=(
        ("organization_id", "organization_id"),
        ("project_id", "project_id"),
        ("item_id", "item_id"),
        ("client_uuid", "client_uuid"),
        ("report_id", "report_id"),
        ("feature", "feature"),
        ("outcome", "outcome"),
        ("usage_kind", "usage_kind"),
        ("tier", "tier"),
    ),
    group=lambda row: row[13],
    group_sql="organization_id",
    day=lambda row: row[3] // 86_400,
    day_sql="intDiv(toUnixTimestamp(slot), 86400)",
    place=lambda row: f"{log_place(row)}:{row[2]:05d}",
    sums=(
        ("rows", "count()"),
        ("reports", "countIf(line = 0)"),
        ("units", "sum(quantity)"),
        ("in quota", "sum(in_quota)"),
        ("in grace", "sum(in_grace)"),
        ("over", "sum(over)"),
        ("exceptions", "sum(exceptions)"),
    ),
    measure=lambda row: (1, row[2] == 0, row[4], row[5], row[6], row[7], row[8]),
)

AUTHORIZATIONS: Final = Table(
    name="authorizations",
    source="authorizations",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("at", "toUnixTimestamp64Milli(at)"),
        ("code_number", "code_number"),
        ("agrees", "toUInt8(agrees)"),
        ("requested_instances", "requested_instances"),
        ("local_expires_at", "toUnixTimestamp64Milli(local_expires_at)"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
    ),
    words=(
        ("organization_id", "organization_id"),
        ("project_id", "project_id"),
        ("item_id", "item_id"),
        ("client_uuid", "client_uuid"),
        ("auth_id", "auth_id"),
        ("outcome", "outcome"),
        ("code", "code"),
        ("charge_way", "charge_way"),
        ("feature", "feature"),
        ("product", "product"),
        ("version", "version"),
        ("edition", "edition"),
        ("deployment_type", "deployment_type"),
    ),
    group=lambda row: row[8],
    group_sql="organization_id",
    day=lambda row: row[2] // _DAY_MS,
    day_sql="intDiv(toUnixTimestamp64Milli(at), 86400000)",
    place=log_place,
    sums=(
        ("rows", "count()"),
        ("granted", "countIf(outcome = 'granted')"),
        ("refused", "countIf(outcome = 'refused')"),
        ("duplicate", "countIf(outcome = 'duplicate')"),
    ),
    measure=lambda row: (1, row[13] == "granted", row[13] == "refused", row[13] == "duplicate"),
)

REJECTED: Final = Table(
    name="usage_rejected",
    source="(SELECT * FROM usage_rejected WHERE source_topic = 'usage.events')",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
        ("payload_bytes", "payload_bytes"),
    ),
    words=(
        ("organization_id", "organization_id"),
        ("reason", "reason"),
        ("detail", "detail"),
        ("payload_sha256", "toString(payload_sha256)"),
    ),
    group=lambda row: f"#{row[0]}",
    group_sql="concat('#', toString(source_partition))",
    day=lambda row: row[2] // _DAY_MS,
    day_sql="intDiv(toUnixTimestamp64Milli(received_at), 86400000)",
    place=log_place,
    sums=(("rows", "count()"),),
    measure=lambda _: (1,),
)

_BREACH_NUMBERS: Final = (
    ("slot", "toUnixTimestamp(slot)"),
    ("late", "toUInt8(late)"),
    ("at", "toUnixTimestamp64Milli(at)"),
)
_BREACH_WORDS: Final = (
    ("breach_id", "breach_id"),
    ("organization_id", "organization_id"),
    ("kind", "kind"),
    ("project_id", "project_id"),
    ("item_id", "item_id"),
    ("client_uuid", "client_uuid"),
    ("quota", "ifNull(toString(quota), '')"),
    ("limit", "ifNull(toString(`limit`), '')"),
    ("value", "ifNull(toString(value), '')"),
    ("percent", "ifNull(toString(toInt128(percent * 100)), '')"),  # hundredths: a decimal has several texts
    ("detail", "detail"),
)

#: One row for each identity; of several the latest crossing stays.
BREACHES: Final = Table(
    name="breaches",
    source="breaches",
    numbers=_BREACH_NUMBERS,
    words=_BREACH_WORDS,
    group=lambda row: row[4],
    group_sql="organization_id",
    day=lambda row: row[0] // 86_400,
    day_sql="intDiv(toUnixTimestamp(slot), 86400)",
    place=lambda row: row[3],
    sums=(("rows", "count()"),),
    measure=lambda _: (1,),
    in_log=False,
)
#: The messages on `license.alerts`, repeats left out.
MESSAGES: Final = Table(
    name="license.alerts",
    source="",
    numbers=_BREACH_NUMBERS,
    words=_BREACH_WORDS,
    group=lambda row: row[4],
    group_sql="",
    day=lambda row: row[2] // _DAY_MS,
    day_sql="",
    place=lambda row: f"{row[3]}@{row[2]}",
    sums=(("messages", ""),),
    measure=lambda _: (1,),
    in_log=False,
)
#: Those in ClickHouse.
TABLES: Final = (USAGE, AUTHORIZATIONS, REJECTED, BREACHES)


def usage_rows(report: Report, decision: Decision, organization_id: str, partition: int, offset: int) -> list[Row]:
    """Return the rows of a report that was not rejected."""
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    return [
        (
            partition,
            offset,
            number,
            report.slot_s,
            line.quantity,
            line.in_quota,
            line.in_grace,
            line.over,
            line.exceptions,
            report.instances or 1,  # I3: nothing declared is one
            late,
            line.in_expiry_grace,
            report.received_ms,
            organization_id,
            decision.project_id,
            line.item_id,
            report.client_uuid,
            report.report_id,
            line.feature,
            decision.outcome.value,
            report.usage_kind,
            line.tier.value,
        )
        for number, line in enumerate(decision.lines)
    ]


def authorization_row(request: Authorization, decision: AuthDecision, partition: int, offset: int) -> Row:
    """Return the row of a request for leave that was not rejected."""
    data, code = request.data, decision.code
    return (
        partition,
        offset,
        request.at_ms,
        code.number if code else 0,
        decision.agrees,
        data.requested_instances,
        decision.local_expires_ms or 0,
        request.received_ms,
        request.organization_id,
        decision.project_id,
        decision.item_id,
        request.client_uuid,
        request.auth_id,
        decision.outcome.value,
        code.value if code else "",
        str(data.charge_way),
        data.feature or "",
        data.product or "",
        data.version or "",
        data.edition or "",
        data.deployment_type or "",
    )


def rejected_row(
    organization_id: str,
    value: bytes | None,
    received_ms: int,
    reason: RejectReason,
    detail: str,
    place: tuple[int, int],
) -> Row:
    """Return the row of a record that was refused; `organization_id` is what its key says."""
    payload = value or b""
    digest = sha256(payload).hexdigest()
    return (*place, received_ms, len(payload), organization_id, reason.value, detail[:DETAIL_CHARS_MAX], digest)


def breach_row(fact: BreachFact) -> Row:
    """Return the row of a breach."""
    percent = None if fact.value is None else percent_of(fact.value, fact.percent_base)
    return _breach(fact, fact.slot_s, fact.at_ms, percent)


def message_row(message: Breach) -> Row:
    """Return the row of a message on `license.alerts`."""
    return _breach(message, instant_ms(message.slot) // 1000, instant_ms(message.at), message.percent)


def _breach(breach: BreachFact | Breach, slot_s: int, at_ms: int, percent: str | None) -> Row:
    return (
        slot_s,
        breach.late,
        at_ms,
        breach.breach_id,
        breach.organization_id,
        breach.kind.value,
        breach.project_id or "",
        breach.item_id or "",
        breach.client_uuid or "",
        "" if breach.quota is None else str(breach.quota),
        "" if breach.limit is None else str(breach.limit),
        "" if breach.value is None else str(breach.value),
        "" if percent is None else str(int(percent.replace(".", ""))),
        breach.detail or "",
    )
