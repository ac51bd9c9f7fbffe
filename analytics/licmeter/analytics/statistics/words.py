"""What can be asked of the statistics: measures, dimensions, scopes (domain, section 10)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

__all__ = [
    "BUCKET_SECONDS",
    "ORGANIZATION",
    "Basis",
    "Bucket",
    "Measure",
    "Scope",
    "ScopeKind",
    "Split",
    "StatisticsError",
]


class StatisticsError(ValueError):
    """A question that has no answer, such as new devices by feature."""


class Measure(StrEnum):
    """What is measured."""

    COUNT = "count"
    SUBMIT = "submit"
    AUTH = "auth"
    AUTH_FAILED = "auth_failed"
    DEVICES = "devices"
    NEW_DEVICES = "new_devices"
    ACTIVE_DEVICES = "active_devices"
    PEAK_CONCURRENT = "peak_concurrent"
    EXCEPTIONS = "exceptions"
    #: Parts of `count`: units that no item took, and the three parts of what cumulative items took (C3).
    UNCHARGED = "uncharged"
    IN_QUOTA = "in_quota"
    IN_GRACE = "in_grace"
    OVER = "over"


class Bucket(StrEnum):
    """Into which intervals the range is cut; all of them begin in UTC (T1)."""

    SLOT = "slot"
    HOUR = "1h"
    TWO_HOURS = "2h"
    DAY = "day"
    ALL = "all"


BUCKET_SECONDS: Final = {Bucket.SLOT: 180, Bucket.HOUR: 3_600, Bucket.TWO_HOURS: 7_200, Bucket.DAY: 86_400}


class Split(StrEnum):
    """By what a measure is divided."""

    FEATURE = "feature"
    CLIENT = "client"
    PROJECT = "project"
    ITEM = "item"
    LATE = "late"


class Basis(StrEnum):
    """Which time puts a report into a bucket: that of the slot, or of the arrival (Q8)."""

    USAGE = "usage"
    RECEIVED = "received"


class ScopeKind(StrEnum):
    """Of what statistics are."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Scope:
    """An organization as a whole, one of its projects, or one of its items (Q1)."""

    kind: ScopeKind = ScopeKind.ORGANIZATION
    name: str = ""

    @classmethod
    def project(cls, project_id: str) -> Self:
        """Usage through one project, of whatever item."""
        return cls(ScopeKind.PROJECT, project_id)

    @classmethod
    def item(cls, item_id: str) -> Self:
        """Usage of one item, through whatever project."""
        return cls(ScopeKind.ITEM, item_id)


#: All projects together.
ORGANIZATION: Final = Scope()
