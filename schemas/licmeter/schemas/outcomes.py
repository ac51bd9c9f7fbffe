"""Words for what became of a report: outcomes, reasons of rejection, charge ways, item states."""

from enum import StrEnum
from typing import Final, Self

__all__ = [
    "CONCURRENCY",
    "CUMULATIVE",
    "SEATED",
    "ActivityPeriod",
    "AuthOutcome",
    "BreachKind",
    "ChargeWay",
    "ItemState",
    "Outcome",
    "RefusalCode",
    "RejectReason",
    "Tier",
    "UsageKind",
]


class Outcome(StrEnum):
    """What became of a report; exactly one applies (domain, section 5)."""

    CHARGED = "charged"
    UNCHARGED = "uncharged"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class AuthOutcome(StrEnum):
    """What became of an authorization; exactly one applies (decision 8, G3 and G4)."""

    GRANTED = "granted"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class RejectReason(StrEnum):
    """Why a record went to `usage.rejected`, in the order in which the checks run."""

    # What is wrong with the record itself, before anything in it can be read.
    TOMBSTONE = "tombstone"
    EMPTY_RECORD = "empty_record"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    NOT_JSON = "not_json"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    # Checks 1 to 10 of the domain, section 5; a record's key is part of its schema.
    MISSING_KEY = "missing_key"
    INVALID_SCHEMA = "invalid_schema"
    KEY_MISMATCH = "key_mismatch"
    NEGATIVE_COUNT = "negative_count"
    COUNT_OUT_OF_RANGE = "count_out_of_range"
    SLOT_MISALIGNED = "slot_misaligned"
    CLOCK_SKEW = "clock_skew"
    FUTURE_SLOT = "future_slot"
    TOO_OLD = "too_old"
    UNKNOWN_PROJECT = "unknown_project"
    PROJECT_DISABLED = "project_disabled"
    CONFLICT = "conflict"


class ChargeWay(StrEnum):
    """How an item is counted (domain, section 6)."""

    PER_SCAN = "per_scan"
    PER_PAGE = "per_page"
    PER_DEVICE = "per_device"
    PER_CONCURRENT_DEVICE = "per_concurrent_device"
    PER_CONCURRENT_INSTANCE = "per_concurrent_instance"
    PER_SERVER = "per_server"
    PER_DOMAIN = "per_domain"


#: The kinds of charge ways: units of a quota, seats at a time, use of a slot.
CUMULATIVE: Final = frozenset({ChargeWay.PER_SCAN, ChargeWay.PER_PAGE})
SEATED: Final = frozenset({ChargeWay.PER_DEVICE, ChargeWay.PER_SERVER})
CONCURRENCY: Final = frozenset({ChargeWay.PER_CONCURRENT_DEVICE, ChargeWay.PER_CONCURRENT_INSTANCE})


class ActivityPeriod(StrEnum):
    """How long a seat of a device item lives without contact (domain, V1); rolling, not calendar."""

    YEARLY = "yearly"
    QUARTERLY = "quarterly"
    MONTHLY = "monthly"
    DAILY = "daily"


class Tier(StrEnum):
    """In which pass an item took usage (domain, 7.3); a cumulative item may take it in several."""

    NONE = ""
    QUOTA = "quota"
    GRACE = "grace"
    OVER = "over"


class BreachKind(StrEnum):
    """What a breach event says (domain, 8.2)."""

    QUOTA_REACHED = "quota_reached"
    GRACE_EXHAUSTED = "grace_exhausted"
    DEVICE_REFUSED = "device_refused"
    CONCURRENCY_EXCEEDED = "concurrency_exceeded"
    OVERUSE_EXHAUSTED = "overuse_exhausted"
    DOMAIN_REFUSED = "domain_refused"
    UNLICENSED_USE = "unlicensed_use"
    CLOCK_SKEW = "clock_skew"
    UNKNOWN_PROJECT = "unknown_project"


class RefusalCode(StrEnum):
    """Why an authorization is refused (domain, section 12); `number` is the code, which two slugs may share."""

    number: int

    def __new__(cls, slug: str, number: int) -> Self:
        """Make a slug with its number."""
        member = str.__new__(cls, slug)
        member._value_ = slug
        member.number = number
        return member

    STANDBY_REFUSES = "standby_refuses", 100
    UNDER_CONSTRUCTION = "under_construction", 100
    UNKNOWN_PROJECT = "unknown_project", 101
    BAD_SESSION_PASSWORD = "bad_session_password", 102
    PROJECT_VALIDATION_MISMATCH = "project_validation_mismatch", 103
    NO_MATCHING_ITEM = "no_matching_item", 104
    BAD_PROJECT_FORMAT = "bad_project_format", 105
    PRODUCT_MISMATCH = "product_mismatch", 106
    VERSION_MISMATCH = "version_mismatch", 107
    DEPLOYMENT_MISMATCH = "deployment_mismatch", 108
    EDITION_MISMATCH = "edition_mismatch", 109
    EXPIRED = "expired", 111
    EXPIRED_FOR_ADDRESS = "expired_for_address", 111
    NOT_STARTED = "not_started", 112
    ITEM_INVALID = "item_invalid", 113
    ITEM_VALIDATION_MISMATCH = "item_validation_mismatch", 114
    CHARGE_WAY_MISMATCH = "charge_way_mismatch", 115
    LIMIT_EXCEEDED = "limit_exceeded", 120
    UNKNOWN_ORGANIZATION = "unknown_organization", 121
    PROJECT_ORGANIZATION_MISMATCH = "project_organization_mismatch", 122
    NOTHING_NAMED = "nothing_named", 123
    MISSING_DEPENDENCY = "missing_dependency", 124
    REQUEST_COUNT_EXCEEDED = "request_count_exceeded", 130
    CLONE_DETECTED = "clone_detected", 151


class ItemState(StrEnum):
    """Where an item stands (domain, 8.1); first match wins."""

    REVOKED = "revoked"
    PENDING = "pending"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    CAPPED = "capped"
    GRACE = "grace"
    OVERUSING = "overusing"
    ACTIVE = "active"


class UsageKind(StrEnum):
    """What a report's counts are: use, or licenses that a server holds back for a group."""

    USE = "use"
    RESERVATION = "reservation"
