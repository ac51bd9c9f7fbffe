"""Errors of the lmstat importer.

    LmstatError
    └── SnapshotTimeUnknown   the caller must name an instant

A bad line is never an error; it becomes a notice.
"""

__all__ = ["LmstatError", "SnapshotTimeUnknown"]


class LmstatError(Exception):
    """Root of what this package raises."""


class SnapshotTimeUnknown(LmstatError):  # noqa: N818 - the name says what is the matter
    """The output carries no readable time of its own, so it cannot be placed by it."""

    def __init__(self, *, line_number: int, time_text: str) -> None:
        self.line_number = line_number
        self.time_text = time_text
        said = f"its time {time_text!r} cannot be read" if time_text else "it prints no time"
        super().__init__(f"the lmstat output at line {line_number} does not say when it was taken: {said}")
