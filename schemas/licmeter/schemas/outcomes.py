"""Words for what became of a report: outcomes, reasons of rejection, charge ways, item states."""

from enum import StrEnum

__all__ = ["ChargeWay", "ItemState", "Outcome", "RejectReason", "UsageKind"]


class Outcome(StrEnum):
    """What became of a report; exactly one applies (domain, section 5)."""

    CHARGED = "charged"
    UNCHARGED = "uncharged"
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
