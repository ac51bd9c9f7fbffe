"""A record of `usage.rejected`, taken apart: the original, why it was refused, and where it had stood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import HEADER_PREFIX, RejectOrigin, parse_reject_headers
from licmeter.schemas.replays import Place, ReplayMark, split_replay_headers
from licmeter.schemas.topics import USAGE_EVENTS
from licmeter.sinks.records import Record

__all__ = ["UNDECODABLE", "Reject", "Selection", "read_reject"]

#: The reason of a record on `usage.rejected` that nobody of ours put there.
UNDECODABLE: Final = "undecodable"
_OUR_HEADERS: Final = 6  # how many `reject_headers` adds


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected record. Key, value and headers are the original's, without what the worker or a replay added.

    `place` is where the original stood, which is its identity: a worker that was killed may have put it here twice.
    """

    place: Place
    partition: int
    offset: int
    reason: str
    detail: str
    received_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    mark: ReplayMark | None = None

    @property
    def organization_id(self) -> str:
        """The key where it is UTF-8, otherwise empty."""
        try:
            return (self.key or b"").decode()
        except UnicodeDecodeError:
            return ""

    @property
    def of_events(self) -> bool:
        """Whether it came from `usage.events`; the sink puts what it cannot read of other topics here, too."""
        return self.place.topic == USAGE_EVENTS.name


def read_reject(record: Record) -> Reject:
    """Take a record apart; one that is not ours is its own origin."""
    headers = [(name, value or b"") for name, value in record.headers]
    origin = _origin(headers[-_OUR_HEADERS:])
    if origin is None:
        return Reject(
            place=Place(record.topic, record.partition, record.offset),
            partition=record.partition,
            offset=record.offset,
            reason=UNDECODABLE,
            detail="not put here by licmeter",
            received_ms=max(record.timestamp, 0),
            key=record.key,
            value=record.value,
            headers=headers,
        )
    original, mark = split_replay_headers(headers[:-_OUR_HEADERS])
    value = record.value
    if origin.reason is RejectReason.TOMBSTONE and record.key is None:
        value = None  # Kafka clients send no record without both, so the worker had to put something there
    return Reject(
        place=Place(origin.topic, origin.partition, origin.offset),
        partition=record.partition,
        offset=record.offset,
        reason=origin.reason.value,
        detail=origin.detail,
        received_ms=origin.received_at_ms,
        key=record.key,
        value=value,
        headers=original,
        mark=mark,
    )


def _origin(ours: Sequence[tuple[str, bytes]]) -> RejectOrigin | None:
    if len(ours) != _OUR_HEADERS or not all(name.startswith(HEADER_PREFIX) for name, _ in ours):
        return None
    try:
        return parse_reject_headers(ours)
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rejects are meant; nothing given means all. Instants are those of arrival on `usage.events`, in ms."""

    reasons: frozenset[str] = frozenset()
    organization_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    places: frozenset[Place] = frozenset()

    def takes(self, reject: Reject) -> bool:
        """Tell whether a reject is meant; `until_ms` itself is not."""
        return (
            (not self.reasons or reject.reason in self.reasons)
            and (self.organization_id is None or reject.organization_id == self.organization_id)
            and (self.since_ms is None or reject.received_ms >= self.since_ms)
            and (self.until_ms is None or reject.received_ms < self.until_ms)
            and (not self.places or reject.place in self.places)
        )
