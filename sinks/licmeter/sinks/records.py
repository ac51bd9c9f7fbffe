"""A consumed record, as aiokafka has it."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Record"]


class Record(Protocol):
    """What the sink reads of a record; `timestamp` is in milliseconds, -1 where there is none."""

    @property
    def topic(self) -> str:
        """Where it was read."""
        ...

    @property
    def partition(self) -> int:
        """Where in the topic."""
        ...

    @property
    def offset(self) -> int:
        """Where in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """When it came to the topic, or when its producer says that it was made."""
        ...

    @property
    def key(self) -> bytes | None:
        """None is not the same as empty."""
        ...

    @property
    def value(self) -> bytes | None:
        """None in a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """In the order in which they were written; a name may come again."""
        ...
