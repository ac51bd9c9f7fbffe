"""Instants as people write them on a command line: an age, or a date with a time and a zone."""

import re
from datetime import datetime, timedelta
from typing import Final

from licmeter.runtime.errors import UsageError

__all__ = ["INSTANT_HELP", "instant_of"]

INSTANT_HELP: Final = "an age such as 90s, 15m, 6h, 7d, or an instant with a zone (2031-03-08T10:00:00Z)"
#: Beyond it there is no calendar, and no record.
_AGE_DAYS_MAX: Final = 36_500
_AGE: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def instant_of(option: str, text: str, now: datetime) -> datetime:
    """Return the instant; raises `UsageError` that names the option. Without a zone nobody knows when it is (T1)."""
    age = _AGE.fullmatch(text)
    if age is not None:
        return now - min(timedelta(seconds=int(age[1]) * _UNITS_S[age[2]]), timedelta(days=_AGE_DAYS_MAX))
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"{option} {text}: is no instant", hint=f"give {INSTANT_HELP}")
    return instant
