"""Choices read off bytes reach all that can be chosen, and shrink to the first of it."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.choices import Choices, choices


def test_without_bytes_everything_is_the_first() -> None:
    chosen = Choices(b"")
    assert (chosen.of("abc"), chosen.integer(3, 9), chosen.one_in(4)) == ("a", 3, False)
    assert (chosen.some("abc"), chosen.permutation("abc")) == ([], ["a", "b", "c"])


def test_every_value_is_about_as_likely() -> None:
    for count in (1, 2, 7, 61, 100):
        found = [Choices(bytes([byte])).of(range(count)) for byte in range(256)]
        times = [found.count(value) for value in range(count)]
        assert max(times) - min(times) <= 1
    assert sum(Choices(bytes([byte])).one_in(16) for byte in range(256)) == 16


@given(choices(8), st.integers(0, 4))
def test_nothing_is_chosen_twice(chosen: Choices, at_most: int) -> None:
    some = chosen.some("abcd", at_most)
    assert len(some) == len(set(some)) <= at_most
    assert sorted(chosen.permutation("abcd")) == list("abcd")
