"""The bounds of what is accepted (domain, sections 5 and 14)."""

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_LIMITS", "Limits"]

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one report; times in milliseconds."""

    count_max: int = 1_000_000  # 5,500 operations a second from one device is a fault, not usage
    report_bytes_max: int = 64 * 1024  # 64 features with the longest names and counts need half of it
    catalog_bytes_max: int = 4 * 1024 * 1024  # some ten thousand items; also what `license.catalog` takes
    future_ms: int = 5 * 60 * 1000
    skew_ms: int = _DAY_MS
    age_ms: int = 30 * _DAY_MS
    #: Days for which a report id is remembered (A3): what is older is refused by `age_ms` anyway, unless an
    #: id is used again for another slot, and then the horizon must be the same in a replay, hence whole days.
    duplicate_days: int = 32


DEFAULT_LIMITS: Final = Limits()
