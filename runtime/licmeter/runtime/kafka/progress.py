"""How far the start of the embedded broker has come."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["OnProgress", "Progress", "Step", "ignore_progress"]


class Step(StrEnum):
    """The parts of a start, in their order; the first two are skipped once they have been done."""

    JARS = "jars"
    FORMAT = "format"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` parts of a step; a step that is only begun or ended has one part."""

    step: Step
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Who does not watch passes this."""
