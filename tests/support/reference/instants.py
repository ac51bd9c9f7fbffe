"""Instants, slots and integer percents (domain, sections 3 and 6)."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

SLOT = timedelta(minutes=3)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHECK = timedelta(minutes=10)
YEAR = timedelta(days=365)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)", re.ASCII)


def instant(value: Any) -> datetime:
    """T1: UTC; a number or an instant without a zone is refused."""
    if isinstance(value, str):
        if not _RFC_3339.fullmatch(value.upper()):
            raise ValueError(f"no instant with a zone: {value}")
        value = datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValueError(f"no instant with a zone: {value}")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"no instant: {value}") from None


def document_instant(value: Any) -> datetime:
    """Like `instant`; a bare date, which YAML knows, is that midnight in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return instant(value)


def text(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def floor_to(value: datetime, step: timedelta) -> datetime:
    return EPOCH + ((value - EPOCH) // step) * step


def ceil_to(value: datetime, step: timedelta) -> datetime:
    return EPOCH - ((EPOCH - value) // step) * step


def slot_start(value: datetime) -> datetime:
    return floor_to(value, SLOT)


def slot_index(value: datetime) -> int:
    midnight = value.replace(hour=0, minute=0, second=0, microsecond=0)
    return (value - midnight) // SLOT


def budget_year(at: datetime, starts_at: datetime) -> int:
    """G9: 0 also before the start."""
    return max(0, (at - starts_at) // YEAR)


def percent(value: int, whole: int | None) -> str | None:
    """Half up to two decimals."""
    if whole is None:
        return None
    hundredths = (value * 10_000 * 2 + whole) // (whole * 2)
    return f"{hundredths // 100}.{hundredths % 100:02d}"
