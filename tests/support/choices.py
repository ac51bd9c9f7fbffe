"""Choices read off drawn bytes: what Hypothesis draws in one piece, instead of draw by draw.

A history of forty events has some five hundred choices, and drawing each by itself takes longer than counting all of
them. Shrinking works as before: a zero byte is the first, and simplest, of what can be chosen.
"""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

__all__ = ["Choices", "choices"]

T = TypeVar("T")


class Choices:
    """One byte a choice; those after the last byte are the first of what can be chosen."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def of(self, values: Sequence[T]) -> T:
        """Return any of at most 100 values, all about as likely."""
        assert len(values) <= 100
        return values[next(self._bytes, 0) % len(values)]

    def integer(self, low: int, high: int) -> int:
        """Return an integer, both ends included."""
        return self.of(range(low, high + 1))

    def one_in(self, count: int) -> bool:
        """Be true once in so many times."""
        return self.of(range(count)) == count - 1

    def some(self, values: Sequence[T], at_most: int | None = None) -> list[T]:
        """Return some of the values, none twice, in any order."""
        limit = len(values) if at_most is None else min(at_most, len(values))
        return self.permutation(values)[: self.integer(0, limit)]

    def permutation(self, values: Sequence[T]) -> list[T]:
        """Return all values in any order."""
        rest = list(values)
        return [rest.pop(rest.index(self.of(rest))) for _ in values]


def choices(count: int) -> st.SearchStrategy[Choices]:
    """Draw room for so many choices."""
    return st.binary(min_size=count, max_size=count).map(Choices)
