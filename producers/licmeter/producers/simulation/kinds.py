"""What a simulated record is: a good report, a repetition, or one of the ways to be wrong."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from licmeter.schemas.outcomes import RejectReason

__all__ = ["ACCEPTED_KINDS", "NOBODY", "REJECT_REASONS", "Kind"]

#: The organization under which licmeter counts what names no known one.
NOBODY: Final = ""


class Kind(StrEnum):
    """One kind of record; a scenario says how many of each there are in a thousand."""

    # Accepted: charged, or uncharged when the project has no item for them.
    FRESH = "fresh"
    LATE = "late"
    OUT_OF_ORDER = "out_of_order"
    ZERO = "zero"
    MULTI_FEATURE = "multi_feature"
    # Seen before.
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    # Broken records.
    TOMBSTONE = "tombstone"
    EMPTY_RECORD = "empty_record"
    LARGE = "large"
    NOT_JSON = "not_json"
    NOT_JSON_UNKNOWN_KEY = "not_json_unknown_key"
    UNKNOWN_TYPE = "unknown_type"
    # Readable, but not acceptable.
    NO_KEY = "no_key"
    WRONG_TYPES = "wrong_types"
    FRACTIONAL_COUNT = "fractional_count"
    OTHER_ORGANIZATION = "other_organization"
    NEGATIVE_COUNT = "negative_count"
    HUGE_COUNT = "huge_count"
    MISALIGNED_SLOT = "misaligned_slot"
    WRONG_CLOCK = "wrong_clock"
    FUTURE_SLOT = "future_slot"
    TOO_OLD = "too_old"
    UNKNOWN_PROJECT = "unknown_project"
    UNKNOWN_ORGANIZATION = "unknown_organization"


ACCEPTED_KINDS: Final = frozenset({Kind.FRESH, Kind.LATE, Kind.OUT_OF_ORDER, Kind.ZERO, Kind.MULTI_FEATURE})

#: Why each kind that is neither accepted nor a duplicate must be refused (domain, section 5).
REJECT_REASONS: Final[Mapping[Kind, RejectReason]] = MappingProxyType(
    {
        Kind.CONFLICT: RejectReason.CONFLICT,
        Kind.TOMBSTONE: RejectReason.TOMBSTONE,
        Kind.EMPTY_RECORD: RejectReason.EMPTY_RECORD,
        Kind.LARGE: RejectReason.PAYLOAD_TOO_LARGE,
        Kind.NOT_JSON: RejectReason.NOT_JSON,
        Kind.NOT_JSON_UNKNOWN_KEY: RejectReason.NOT_JSON,
        Kind.UNKNOWN_TYPE: RejectReason.UNKNOWN_EVENT_TYPE,
        Kind.NO_KEY: RejectReason.MISSING_KEY,
        Kind.WRONG_TYPES: RejectReason.INVALID_SCHEMA,
        Kind.FRACTIONAL_COUNT: RejectReason.INVALID_SCHEMA,
        Kind.OTHER_ORGANIZATION: RejectReason.KEY_MISMATCH,
        Kind.NEGATIVE_COUNT: RejectReason.NEGATIVE_COUNT,
        Kind.HUGE_COUNT: RejectReason.COUNT_OUT_OF_RANGE,
        Kind.MISALIGNED_SLOT: RejectReason.SLOT_MISALIGNED,
        Kind.WRONG_CLOCK: RejectReason.CLOCK_SKEW,
        Kind.FUTURE_SLOT: RejectReason.FUTURE_SLOT,
        Kind.TOO_OLD: RejectReason.TOO_OLD,
        Kind.UNKNOWN_PROJECT: RejectReason.UNKNOWN_PROJECT,
        Kind.UNKNOWN_ORGANIZATION: RejectReason.UNKNOWN_PROJECT,
    }
)
