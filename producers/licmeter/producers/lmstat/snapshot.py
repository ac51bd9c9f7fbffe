"""What one run of `lmstat` saw: servers, features and who holds licenses, as values.

A line number says where something stood and takes no part in comparing: the same check-out read from two files
is the same value.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = [
    "Checkout",
    "Feature",
    "FeatureStatus",
    "LicenseServer",
    "Notice",
    "NoticeKind",
    "Pool",
    "QueuedRequest",
    "Reservation",
    "Snapshot",
    "VendorDaemon",
]


class NoticeKind(StrEnum):
    """What the importer has to say about a line or a file."""

    # About figures.
    HEADER_DISAGREES = "header_disagrees"
    FEATURE_REPEATED = "feature_repeated"
    SNAPSHOT_REPEATED = "snapshot_repeated"
    ZERO_LICENSES = "zero_licenses"
    COUNT_OUT_OF_RANGE = "count_out_of_range"
    # About lines.
    HEADER_MISSING = "header_missing"
    HEADER_UNREADABLE = "header_unreadable"
    LINE_UNREADABLE = "line_unreadable"
    LINE_ORPHANED = "line_orphaned"
    CHECKOUT_INCOMPLETE = "checkout_incomplete"
    CLIENT_AMBIGUOUS = "client_ambiguous"
    SUFFIX_UNKNOWN = "suffix_unknown"
    QUEUED = "queued"
    NAME_SHORTENED = "name_shortened"
    # About dates.
    START_UNREADABLE = "start_unreadable"
    START_WITHOUT_YEAR = "start_without_year"
    TIME_UNREADABLE = "time_unreadable"
    DATE_AMBIGUOUS = "date_ambiguous"
    WEEKDAY_DISAGREES = "weekday_disagrees"
    # About servers.
    SERVER_DOWN = "server_down"
    DAEMON_DOWN = "daemon_down"
    FEATURE_ERROR = "feature_error"
    NO_USAGE = "no_usage"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know; `line_number` counts from 1, and 0 means the file as a whole."""

    kind: NoticeKind
    line_number: int
    text: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """One line of a client that holds licenses; `suffix` keeps what follows the start, such as `(linger: 1800)`."""

    user: str
    host: str
    display: str = ""
    version: str = ""
    server: str = ""
    handle: str = ""
    start: datetime | None = None  # local time of whoever ran lmstat, as printed
    licenses: int = 1
    suffix: str = ""
    line_number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Licenses that the server holds back for a group, a host or a user."""

    licenses: int
    kind: str
    name: str
    server: str = ""
    line_number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRequest:
    """A client that waits for licenses and holds none."""

    user: str
    host: str
    display: str = ""
    licenses: int = 1
    line_number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One license line behind a feature: `"MATLAB" v53, vendor: MLM, expiry: 01-jan-2099`."""

    name: str
    version: str = ""
    vendor: str = ""
    expiry: str = ""
    line_number: int = field(default=0, compare=False)


class FeatureStatus(StrEnum):
    """What the header of a feature said."""

    COUNTED = "counted"
    UNCOUNTED = "uncounted"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One `Users of …` block; `issued` and `in_use` are its header's figures, None when it printed none."""

    name: str
    status: FeatureStatus = FeatureStatus.COUNTED
    issued: int | None = None
    in_use: int | None = None
    server_line: str = ""
    pools: tuple[Pool, ...] = ()
    checkouts: tuple[Checkout, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    queued: tuple[QueuedRequest, ...] = ()
    line_number: int = field(default=0, compare=False)

    @property
    def checked_out(self) -> int:
        """Licenses that clients hold, by the lines."""
        return sum(checkout.licenses for checkout in self.checkouts)

    @property
    def reserved(self) -> int:
        """Licenses held back, by the lines."""
        return sum(reservation.licenses for reservation in self.reservations)

    @property
    def difference(self) -> int | None:
        """Return lines minus header; None without figures in the header."""
        return None if self.in_use is None else self.checked_out + self.reserved - self.in_use


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseServer:
    """One `lmgrd`, such as `host2: license server UP (MASTER) v11.13`."""

    name: str
    up: bool
    detail: str = ""
    line_number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorDaemon:
    """One vendor daemon, such as `MLM: UP v11.19.7`."""

    name: str
    up: bool
    detail: str = ""
    line_number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One output of `lmstat`; `taken_at` is the server's local time as printed, without a zone."""

    taken_at: datetime | None = None
    time_text: str = ""
    servers: tuple[LicenseServer, ...] = ()
    daemons: tuple[VendorDaemon, ...] = ()
    features: tuple[Feature, ...] = ()
    notices: tuple[Notice, ...] = field(default=(), compare=False)
    line_number: int = field(default=0, compare=False)
