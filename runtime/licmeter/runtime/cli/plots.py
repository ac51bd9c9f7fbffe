"""Plots made of letters: a sparkline for the shape of a series, bars for shares."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

__all__ = ["bar", "sparkline"]

_STEPS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[int], width: int) -> str:
    """Return one letter for each value, or for the largest of several where they are more than `width`.

    The lowest step is 0, so that a series that hardly moves looks flat, and one near 0 looks low.
    """
    if not values:
        return ""
    if len(values) > width:
        bounds = [len(values) * number // width for number in range(width + 1)]
        values = [max(values[start:end]) for start, end in pairwise(bounds)]
    top = max(values)
    return "".join(_STEPS[0] if top <= 0 else _STEPS[max(0, value) * (len(_STEPS) - 1) // top] for value in values)


def bar(value: int, top: int, width: int) -> str:
    """Return a bar as long as the value is of the largest; what is more than 0 is seen."""
    if top <= 0 or value <= 0:
        return ""
    return "━" * max(1, value * width // top)
