"""Cursors come back as they went out, and belong to one question."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from licmeter.analytics.http.cursors import (
    CURSOR_CHARACTERS_MAX,
    Cursor,
    Key,
    Kind,
    decode_cursor,
    encode_cursor,
    question_id,
)
from licmeter.analytics.http.problems import BadRequest
from licmeter.analytics.query import ALWAYS, Period

KEYS = (Key("text", Kind.TEXT), Key("number", Kind.INTEGER), Key("day", Kind.DAY), Key("at", Kind.INSTANT))
AFTER = ("a", 7, date(2031, 3, 8), datetime(2031, 3, 8, 10, 0, 0, 123_000, tzinfo=UTC))
CURSOR = Cursor(AFTER, 3, Period(date(2031, 3, 1), date(2031, 3, 8)))
QUESTION = question_id("/series", [("split", "feature")])

days = st.dates(date(1970, 1, 1), date(2199, 12, 31))
instants = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda instant: instant.replace(microsecond=instant.microsecond // 1000 * 1000)
)
texts = st.text(st.characters(codec="utf-8"), max_size=128)


@given(texts, st.integers(0, 2**64 - 1), days, instants, st.integers(0, 10_000))
@example("\x00\n\"\\'", 2**64 - 1, date(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), 0)
def test_what_goes_out_comes_back(text: str, number: int, day: date, at: datetime, given_rows: int) -> None:
    cursor = Cursor((text, number, day, at), given_rows, Period(day, None))
    assert decode_cursor(encode_cursor(cursor, QUESTION), QUESTION, KEYS) == cursor


def test_cursors_of_the_longest_names_are_taken_back() -> None:
    longest = Cursor(("\U0001f600" * 128, "\U0001f600" * 64, "\U0001f600" * 128), 1_000, ALWAYS)
    assert len(encode_cursor(longest, QUESTION)) <= CURSOR_CHARACTERS_MAX


@pytest.mark.parametrize(
    "other",
    [
        question_id("/series", [("split", "item")]),
        question_id("/series", [("split", "feature"), ("item", "41")]),
        question_id("/trend", [("split", "feature")]),
        question_id("/series", []),
    ],
)
def test_a_cursor_of_another_question_is_refused(other: str) -> None:
    with pytest.raises(BadRequest):
        decode_cursor(encode_cursor(CURSOR, other), QUESTION, KEYS)


def test_a_question_is_the_same_in_any_order_and_with_any_size_of_its_pages() -> None:
    asked = [("split", "feature"), ("item", "41")]
    same = question_id("/series", asked)
    assert question_id("/series", [*reversed(asked), ("limit", "5"), ("cursor", "x")]) == same


def changed(**fields: Any) -> str:
    text = encode_cursor(CURSOR, QUESTION)
    document = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for name, value in fields.items():
        document[("version", "question", "after", "given", "days").index(name)] = value
    return urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def test_the_test_can_make_up_cursors() -> None:
    assert decode_cursor(changed(), QUESTION, KEYS) == CURSOR


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "====",
        "not base64!",
        "é",
        "e30",
        "bnVsbA",
        "A" * 4_000,
        encode_cursor(CURSOR, QUESTION)[:-3],
        changed(version=2),
        changed(after=[]),
        changed(after=["a", 7, "2031-03-08"]),
        changed(after=[7, "a", "2031-03-08", "2031-03-08T10:00:00Z"]),
        changed(after=["a", -1, "2031-03-08", "2031-03-08T10:00:00Z"]),
        changed(after=["a", 2**64, "2031-03-08", "2031-03-08T10:00:00Z"]),
        changed(after=["a", 7, "9999-12-31", "2031-03-08T10:00:00Z"]),
        changed(after=["a", 7, "2031-03-08", "2031-03-08T10:00:00"]),
        changed(after=["a", 7, "2031-03-08", "9999-12-31T23:59:59Z"]),
        changed(after=["a", 7, "2031-03-08", "0001-01-01T00:00:00+14:00"]),
        changed(after=["a", 1.5, "2031-03-08", "2031-03-08T10:00:00Z"]),
        changed(after="a"),
        changed(given=-1),
        changed(given="1"),
        changed(days=["x", None]),
        changed(days=[None]),
        changed(question=None),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_cursor(text, QUESTION, KEYS)


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_cursor(text, QUESTION, KEYS)
