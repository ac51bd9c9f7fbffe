"""`usage.rejected`: the original record, untouched, with headers that say why and where it stood.

Headers, not an envelope: the value stays byte for byte what was sent, so that it can be replayed as it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from licmeter.schemas.outcomes import RejectReason

__all__ = ["HEADER_PREFIX", "RejectOrigin", "parse_reject_headers", "reject_headers"]

HEADER_PREFIX: Final = "licmeter-"
DETAIL_CHARS_MAX: Final = 500

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RejectOrigin:
    """Why a record was refused, and where it stood."""

    reason: RejectReason
    detail: str
    topic: str
    partition: int
    offset: int
    received_at_ms: int


def reject_headers(origin: RejectOrigin, original: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the original headers followed by ours."""
    ours = {
        "reason": origin.reason.value,
        "detail": origin.detail[:DETAIL_CHARS_MAX],
        "source-topic": origin.topic,
        "source-partition": str(origin.partition),
        "source-offset": str(origin.offset),
        "received-at-ms": str(origin.received_at_ms),
    }
    return [*original, *((HEADER_PREFIX + name, value.encode()) for name, value in ours.items())]


def parse_reject_headers(headers: Iterable[tuple[str, bytes]]) -> RejectOrigin:
    """Read the origin back; the last header of a name is ours, whatever the sender had put before it.

    Raises `KeyError` or `ValueError` where a header is missing or malformed.
    """
    found = {
        name.removeprefix(HEADER_PREFIX): value.decode() for name, value in headers if name.startswith(HEADER_PREFIX)
    }
    return RejectOrigin(
        reason=RejectReason(found["reason"]),
        detail=found["detail"],
        topic=found["source-topic"],
        partition=int(found["source-partition"]),
        offset=int(found["source-offset"]),
        received_at_ms=int(found["received-at-ms"]),
    )
