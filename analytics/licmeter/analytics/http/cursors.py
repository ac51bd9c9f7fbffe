"""Cursors: where a page ended, as text that a client hands back unread.

A cursor holds the key of the last row that was given, and not a number of rows: what is added or taken away elsewhere
moves nothing. It belongs to one question, and no other takes it. It grants nothing: whoever makes one up gets rows
that the token opens anyway.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

import msgspec

from licmeter.analytics.http.problems import BadRequest
from licmeter.analytics.query import Period

__all__ = [
    "CURSOR_CHARACTERS_MAX",
    "Cursor",
    "Key",
    "KeyValue",
    "Kind",
    "decode_cursor",
    "encode_cursor",
    "question_id",
]

KeyValue = str | int | date | datetime

#: Longer than any of ours: the longest key has three names of at most 512 bytes.
CURSOR_CHARACTERS_MAX: Final = 4_096
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]*")
_VERSION: Final = 1
_INTEGER_MAX: Final = 2**64 - 1
#: What ClickHouse can compare with.
_YEARS: Final = range(1970, 2200)


class Kind(Enum):
    """The type of a column of a key, as ClickHouse names it."""

    TEXT = "String"
    INTEGER = "UInt64"
    DAY = "Date"
    INSTANT = "DateTime64(3, 'UTC')"


@dataclass(frozen=True, slots=True)
class Key:
    """One column of what pages are sorted by; all of them together are unique."""

    name: str
    kind: Kind
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The key of the last row; how many rows all pages had so far; the days that `last=` stood for at the first."""

    after: tuple[KeyValue, ...]
    given: int
    period: Period


def question_id(path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return what is the same for all pages of one question, and differs from every other's."""
    asked = sorted(pair for pair in parameters if pair[0] not in ("cursor", "limit"))
    return hashlib.sha256(msgspec.json.encode([path, asked])).hexdigest()[:24]


def encode_cursor(cursor: Cursor, question: str) -> str:
    """Return the text of a cursor."""
    values = [_value_text(value) for value in cursor.after]
    days = [None if day is None else day.isoformat() for day in (cursor.period.first, cursor.period.last)]
    document = [_VERSION, question, values, cursor.given, days]
    return urlsafe_b64encode(msgspec.json.encode(document)).rstrip(b"=").decode()


def decode_cursor(text: str, question: str, keys: Sequence[Key]) -> Cursor:
    """Read a cursor; raises `BadRequest` for one of another question, and for what is none."""
    try:
        return _decoded(text, question, keys)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadRequest("ask without a cursor, and follow `next` with the other parameters unchanged") from error


def _decoded(text: str, question: str, keys: Sequence[Key]) -> Cursor:
    if not _BASE64.fullmatch(text):
        raise ValueError("not base64url")
    document = msgspec.json.decode(
        urlsafe_b64decode(text + "=" * (-len(text) % 4)),
        type=tuple[int, str, list[str | int], int, tuple[str | None, str | None]],
    )
    version, asked, values, given, days = document
    if version != _VERSION or asked != question:
        raise ValueError("of another question")
    if len(values) != len(keys) or given < 0:
        raise ValueError("of another form")
    after = tuple(_value(key.kind, value) for key, value in zip(keys, values, strict=True))
    return Cursor(after, given, Period(*(None if day is None else _day(day) for day in days)))


def _value_text(value: KeyValue) -> str | int:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    return value


def _value(kind: Kind, value: str | int) -> KeyValue:
    if kind is Kind.INTEGER:
        if not isinstance(value, int) or not 0 <= value <= _INTEGER_MAX:
            raise ValueError("not a number")
        return value
    if not isinstance(value, str):
        raise ValueError("not a text")
    if kind is Kind.DAY:
        return _day(value)
    if kind is Kind.INSTANT:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None or instant.year not in _YEARS:
            raise ValueError("not an instant")
        return instant.astimezone(UTC)
    return value


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if day.year not in _YEARS:
        raise ValueError("not a day")
    return day
