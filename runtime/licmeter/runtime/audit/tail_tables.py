"""What a single record says of its rows, whatever was counted before it: the columns that need no state.

Which item took the use, and how much of it was in quota, is not among them: that rests on the whole log.
"""

from hashlib import sha256
from typing import Any, Final

from licmeter.metering.authorization import Authorization
from licmeter.metering.report import Report
from licmeter.metering.slots import is_late
from licmeter.runtime.audit.tables import Row, Table, log_place

__all__ = ["AUTHORIZATIONS_TAIL", "REJECTED_TAIL", "TAILS", "USAGE_TAIL", "rejected_tail", "request_tail", "usage_tail"]

_DAY_MS: Final = 86_400_000

USAGE_TAIL: Final = Table(
    name="usage_attributed",
    source="""(
        SELECT organization_id, source_partition, source_offset, slot, received_at, late, instances, client_uuid,
               report_id, usage_kind, feature, toUInt8(outcome = 'duplicate') AS again, sum(quantity) AS units
        FROM usage_attributed GROUP BY ALL
    )""",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("slot", "toUnixTimestamp(slot)"),
        ("quantity", "units"),
        ("duplicate", "again"),
        ("instances", "instances"),
        ("late", "toUInt8(late)"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
    ),
    words=(
        ("organization_id", "organization_id"),
        ("client_uuid", "client_uuid"),
        ("report_id", "report_id"),
        ("feature", "feature"),
        ("usage_kind", "usage_kind"),
    ),
    group=lambda row: row[8],
    group_sql="organization_id",
    day=lambda row: row[2] // 86_400,
    day_sql="intDiv(toUnixTimestamp(slot), 86400)",
    place=lambda row: f"{log_place(row)}:{row[11]}",
    sums=(("features of reports", "count()"), ("units", "sum(units)")),
    measure=lambda row: (1, row[3]),
)

AUTHORIZATIONS_TAIL: Final = Table(
    name="authorizations",
    source="authorizations",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("at", "toUnixTimestamp64Milli(at)"),
        ("requested_instances", "requested_instances"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
    ),
    words=(
        ("organization_id", "organization_id"),
        ("client_uuid", "client_uuid"),
        ("auth_id", "auth_id"),
        ("charge_way", "charge_way"),
        ("feature", "feature"),
    ),
    group=lambda row: row[5],
    group_sql="organization_id",
    day=lambda row: row[2] // _DAY_MS,
    day_sql="intDiv(toUnixTimestamp64Milli(at), 86400000)",
    place=log_place,
    sums=(("rows", "count()"),),
    measure=lambda _: (1,),
)

REJECTED_TAIL: Final = Table(
    name="usage_rejected",
    source="(SELECT * FROM usage_rejected WHERE source_topic = 'usage.events')",
    numbers=(
        ("source_partition", "source_partition"),
        ("source_offset", "source_offset"),
        ("received_at", "toUnixTimestamp64Milli(received_at)"),
        ("payload_bytes", "payload_bytes"),
    ),
    words=(("organization_id", "organization_id"), ("payload_sha256", "toString(payload_sha256)")),
    group=lambda row: f"#{row[0]}",
    group_sql="concat('#', toString(source_partition))",
    day=lambda row: row[2] // _DAY_MS,
    day_sql="intDiv(toUnixTimestamp64Milli(received_at), 86400000)",
    place=log_place,
    sums=(("rows", "count()"),),
    measure=lambda _: (1,),
)
TAILS: Final = (USAGE_TAIL, AUTHORIZATIONS_TAIL, REJECTED_TAIL)


def usage_tail(report: Report, place: tuple[int, int], *, again: bool) -> list[Row]:
    """Return a row for each feature of a report that was accepted; of a repeat there is one, without use."""
    used = {} if again else {feature: count for feature, count in report.counts.items() if count}
    features = used or (dict.fromkeys(report.counts, 0) if not again else {}) or {"": 0}
    late = is_late(slot_s=report.slot_s, received_ms=report.received_ms)
    return [
        (
            *place,
            report.slot_s,
            count,
            again,
            report.instances or 1,
            late,
            report.received_ms,
            report.organization_id,
            report.client_uuid,
            report.report_id,
            feature,
            report.usage_kind,
        )
        for feature, count in features.items()
    ]


def request_tail(request: Authorization, place: tuple[int, int]) -> Row:
    """Return what is known of the row of a request for leave."""
    data = request.data
    numbers = (*place, request.at_ms, data.requested_instances, request.received_ms)
    words = (request.organization_id, request.client_uuid, request.auth_id, str(data.charge_way), data.feature or "")
    return (*numbers, *words)


def rejected_tail(record: Any, name: str | None) -> Row:
    """Return what is known of the row of a record that was refused."""
    payload = record.value or b""
    place = (record.partition, record.offset)
    return (*place, record.timestamp, len(payload), name or "", sha256(payload).hexdigest())
