from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.sinks.notify.ledger import METADATA_BYTES_MAX, Ledger, parse_metadata


def taken(ledger: Ledger, *offsets: int) -> list[bool]:
    return [ledger.take(offset) for offset in offsets]


def test_only_what_lies_before_the_first_open_offset_is_committed() -> None:
    ledger = Ledger(10)
    taken(ledger, 10, 11, 12, 13)
    assert ledger.commit_point() == (10, "")
    ledger.settle(12)
    assert ledger.commit_point() == (10, "licmeter1:2")
    ledger.settle(10)
    assert ledger.commit_point() == (11, "licmeter1:1")
    ledger.settle(11)
    assert ledger.commit_point() == (13, "")
    ledger.settle(13)
    assert ledger.commit_point() == (14, "")
    assert ledger.open == 0


def test_what_is_committed_is_not_committed_again() -> None:
    ledger = Ledger(0)
    taken(ledger, 0, 1)
    ledger.settle(0)
    point = ledger.commit_point()
    assert point == (1, "")
    ledger.committed(point)
    assert ledger.commit_point() is None


def test_an_offset_that_comes_again_is_not_taken_again() -> None:
    ledger = Ledger(5)
    assert taken(ledger, 5, 6, 5, 4, 7) == [True, True, False, False, True]


def test_what_an_earlier_life_settled_is_not_taken() -> None:
    ledger = Ledger(10, parse_metadata(10, "licmeter1:2-4,7"))
    assert taken(ledger, *range(10, 19)) == [True, True, False, False, False, True, True, False, True]


@pytest.mark.parametrize("text", [None, "", "other", "licmeter1:x", "licmeter1:", "licmeter1:1-", "licmeter2:1"])
def test_metadata_of_others_mean_nothing(text: str | None) -> None:
    assert parse_metadata(3, text) == ()


def test_metadata_that_grow_too_long_forget_the_highest() -> None:
    ledger = Ledger(0)
    taken(ledger, *range(10_000))
    for offset in range(1, 10_000, 2):
        ledger.settle(offset)
    point = ledger.commit_point()
    assert point is not None
    assert len(point[1]) <= METADATA_BYTES_MAX
    known = parse_metadata(*point)
    assert known[0] == range(1, 2)
    assert 500 < len(known) < 5_000


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 41), st.integers(0, 1_000))
def test_a_life_after_a_crash_takes_exactly_what_was_open_or_came_later(
    settled: list[int], read: int, first: int
) -> None:
    before = Ledger(first)
    for offset in range(read):
        before.take(first + offset)
    for offset in settled:
        if offset < read:
            before.settle(first + offset)
    point = before.commit_point()
    assert point is not None
    after = Ledger(point[0], parse_metadata(*point))
    again = {offset for offset in range(41) if first + offset >= point[0] and after.take(first + offset)}
    assert again == {offset for offset in range(41) if offset >= read or offset not in set(settled)}


def test_offsets_that_the_log_leaves_out_hold_up_nothing() -> None:
    ledger = Ledger(0)
    taken(ledger, 0, 5, 9)
    for offset in (0, 5, 9):
        ledger.settle(offset)
    assert ledger.commit_point() == (10, "")
    assert Counter(taken(ledger, 10)) == {True: 1}
