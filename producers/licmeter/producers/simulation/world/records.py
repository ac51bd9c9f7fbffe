"""What a world sends, and which of it can go which way."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from licmeter.producers.simulation.kinds import REJECT_REASONS, Kind
from licmeter.schemas.outcomes import Outcome, RejectReason

__all__ = ["PASSABLE", "Transport", "What", "WorldRecord"]


class What(StrEnum):
    """What a record is."""

    REPORT = "report"
    AUTHORIZATION = "authorization"
    CATALOG = "catalog"


class WorldRecord(NamedTuple):
    """A record in its place. `at_s` is when it is sent in simulated time; `organization_id` is where it counts.

    Of a report `expected` is the outcome; of a request it is None unless it is rejected, else see `granted`.
    """

    key: bytes | None
    value: bytes | None
    organization_id: str
    at_s: int
    what: What = What.REPORT
    kind: Kind | None = None
    expected: Outcome | None = None
    reason: RejectReason | None = None
    granted: bool | None = None


class Transport(StrEnum):
    """How records travel."""

    KAFKA = "kafka"
    GATEWAY = "gateway"
    FILE = "file"


_WELL_FORMED: Final = frozenset(
    {
        Kind.CONFLICT,
        Kind.NEGATIVE_COUNT,
        Kind.HUGE_COUNT,
        Kind.MISALIGNED_SLOT,
        Kind.WRONG_CLOCK,
        Kind.FUTURE_SLOT,
        Kind.TOO_OLD,
        Kind.UNKNOWN_PROJECT,
    }
)
#: The kinds of bad records that arrive as they are. An array of JSON objects holds nothing that is no object, a license
#: key stands for one organization; and a line of a file is a report by the contract, whose organization is its key.
PASSABLE: Final[Mapping[Transport, frozenset[Kind]]] = MappingProxyType(
    {
        Transport.KAFKA: frozenset(REJECT_REASONS),
        Transport.GATEWAY: _WELL_FORMED
        | {Kind.LARGE, Kind.UNKNOWN_TYPE, Kind.FRACTIONAL_COUNT, Kind.OTHER_ORGANIZATION},
        Transport.FILE: _WELL_FORMED | {Kind.UNKNOWN_ORGANIZATION},
    }
)
