"""Dates as lmstat writes them: `Fri 10/20 16:40`, `Fri 10/20/2017 17:02`, and the local dialects of both.

`read_date` takes a text apart, word by word; `licmeter.producers.lmstat.calendar` puts the result on the calendar.
"""

import re
from dataclasses import dataclass
from datetime import time
from enum import Enum
from functools import lru_cache
from typing import Final

__all__ = ["DateOrder", "WrittenDate", "read_date"]


class DateOrder(Enum):
    """Which of two numbers is the month."""

    MONTH_FIRST = "month_first"
    DAY_FIRST = "day_first"

    @property
    def other(self) -> "DateOrder":
        """The opposite order."""
        return DateOrder.DAY_FIRST if self is DateOrder.MONTH_FIRST else DateOrder.MONTH_FIRST


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date as written; `order` is None while two numbers could be month and day either way."""

    first: int = 0
    second: int = 0
    order: DateOrder | None = None
    year: int | None = None
    weekday: int | None = None  # Monday is 0
    clock: time | None = None


TEXT_CHARS_MAX: Final = 64  # the longest dialect known has 31
_ISO_TIME: Final = re.compile(r"(\d{4}-\d{2}-\d{2})T(?=\d)")  # 2026-03-16T12:16
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?([ap]\.?m\.?)?", re.I)  # 16:40, 4:40:07pm
_MERIDIEM: Final = re.compile(r"[ap]\.?m\.?", re.I)  # PM
_NUMBERS: Final = re.compile(r"(\d{1,4})([/.-])(\d{1,2})(?:\2(\d{1,4}))?\.?")  # 10/20, 20.10.2017, 2026-03-16
_DAY_MONTH: Final = re.compile(r"(\d{1,2})[./-]?([^\W\d_]{3,9})\.?(?:[./-](\d{2,4}))?")  # 16-Mar, 16-Mar-2026
_MONTH_DAY: Final = re.compile(r"([^\W\d_]{3,9})[./-](\d{1,2})(?:[./-](\d{2,4}))?")  # Mar-16
_INTEGER: Final = re.compile(r"(\d{1,4})(?:st|nd|rd|th|\.)?", re.I)  # 16, 2026, 16th
_WORD: Final = re.compile(r"[^\W\d_]+\.?")  # Fri, Mar

#: English, German and French, Monday first; only the first three letters are looked at.
_WEEKDAY_NAMES: Final = (
    "mon mo lun",
    "tue di die",
    "wed mi mit mer",
    "thu do don jeu",
    "fri fr fre ven",
    "sat sa sam",
    "sun so son dim",
)
_WEEKDAYS: Final = {name: number for number, names in enumerate(_WEEKDAY_NAMES) for name in names.split()}
_WEEKDAY_UNKNOWN: Final = -1  # a word in the place of a weekday, in a language we do not know
_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: German, French and Spanish, where they differ from English.
_OTHER_MONTHS: Final = {"fév": 2, "mrz": 3, "mär": 3, "avr": 4, "abr": 4, "mai": 5, "aoû": 8, "ago": 8, "okt": 10}
_LAST_MONTHS: Final = {"ene": 1, "dez": 12, "déc": 12, "dic": 12}
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)} | _OTHER_MONTHS | _LAST_MONTHS


class _Draft:
    """The parts of a date, as its words come by."""

    def __init__(self) -> None:
        self.numbers: tuple[int, int] | None = None
        self.order: DateOrder | None = None
        self.month: int | None = None
        self.day: int | None = None
        self.year: int | None = None
        self.weekday: int | None = None
        self.clock: time | None = None
        self.afternoon: bool | None = None
        self.march_or_mardi = False

    def take(self, word: str) -> bool:
        """Take in one word; False when it has no place in a date."""
        takers = (self._clock, self._meridiem, self._numbers, self._named, self._word, self._integer)
        return any(taker(word) for taker in takers)

    def _clock(self, word: str) -> bool:
        match = _CLOCK.fullmatch(word)
        if match is None or self.clock is not None:
            return False
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if hour > 23 or minute > 59 or second > 59:
            return False
        self.clock = time(hour, minute, second)
        return self._meridiem(match[4]) if match[4] else True

    def _meridiem(self, word: str) -> bool:
        clock = self.clock
        if clock is None or self.afternoon is not None or not _MERIDIEM.fullmatch(word) or not 1 <= clock.hour <= 12:
            return False
        self.afternoon = word[0] in "pP"
        self.clock = clock.replace(hour=clock.hour % 12 + (12 if self.afternoon else 0))
        return True

    def _numbers(self, word: str) -> bool:
        match = _NUMBERS.fullmatch(word)
        if match is None or self.numbers is not None or self.month is not None:
            return False
        first, second, third = int(match[1]), int(match[3]), match[4]
        if len(match[1]) > 2:  # 2026-03-16: the year leads, and then the month
            if third is None or len(match[1]) != 4:
                return False
            self.year, self.numbers, self.order = first, (second, int(third)), DateOrder.MONTH_FIRST
            return True
        self.numbers = (first, second)
        if match[2] == ".":  # dots are written where the day comes first
            self.order = DateOrder.DAY_FIRST
        return third is None or self._year(third)

    def _named(self, word: str) -> bool:
        if match := _DAY_MONTH.fullmatch(word):
            day, name, year = match.groups()
        elif match := _MONTH_DAY.fullmatch(word):
            name, day, year = match.groups()
        else:
            return False
        month = _MONTHS.get(name[:3].lower())
        if month is None or self.month is not None or self.numbers is not None:
            return False
        self.month, self.day = month, int(day)
        return year is None or self._year(year)

    def _word(self, word: str) -> bool:
        if not _WORD.fullmatch(word):
            return False
        name = word.rstrip(".").lower()[:3]
        leads = self.weekday is None and self.day is None and self.numbers is None
        self.march_or_mardi |= leads and name == "mar"
        if name in _MONTHS and not (leads and name == "mar") and self.month is None and self.numbers is None:
            self.month = _MONTHS[name]
            return True
        if leads:
            self.weekday = _WEEKDAYS.get(name, _WEEKDAY_UNKNOWN)
        return leads

    def _integer(self, word: str) -> bool:
        match = _INTEGER.fullmatch(word)
        if match is None:
            return False
        if len(match[1]) == 4:
            return self._year(match[1])
        if self.day is not None or self.numbers is not None:
            return False
        self.day = int(match[1])
        return True

    def _year(self, digits: str) -> bool:
        if self.year is not None or len(digits) not in (2, 4):
            return False
        self.year = int(digits) + (2000 if len(digits) == 2 else 0)
        return True

    def finish(self) -> WrittenDate | None:
        """Return the date, or None when month or day is missing."""
        if self.numbers is None:
            month = 3 if self.month is None and self.march_or_mardi else self.month
            if month is None or self.day is None:
                return None
            self.numbers, self.order = (month, self.day), DateOrder.MONTH_FIRST
        weekday = None if self.weekday == _WEEKDAY_UNKNOWN else self.weekday
        return WrittenDate(*self.numbers, self.order, self.year, weekday, self.clock)


@lru_cache(maxsize=4096)  # thousands of check-outs share few starts, and each is read twice
def read_date(text: str) -> WrittenDate | None:
    """Take a date apart; None when any word of it has no place in one."""
    if len(text) > TEXT_CHARS_MAX:
        return None
    draft = _Draft()
    words = _ISO_TIME.sub(r"\1 ", text.replace(",", " ")).split()
    return draft.finish() if all(draft.take(word) for word in words) else None
