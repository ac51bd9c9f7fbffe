"""Which reports were accepted before (domain, A1 to A3)."""

from typing import Protocol

__all__ = ["DictMemory", "DuplicateMemory"]


class DuplicateMemory(Protocol):
    """Remembers the identity and content of accepted reports for a number of days.

    `day` is the arrival in whole days since 1970. A report is remembered from the day of its arrival until
    `duplicate_days` later, inclusive; `get` never answers with an older one, whatever was cleaned up already.
    """

    def get(self, identity: bytes, day: int) -> bytes | None:
        """Return the content that was accepted under this identity, or None."""

    def add(self, identity: bytes, content: bytes, day: int) -> None:
        """Remember an accepted report."""


class DictMemory:
    """The memory as a plain dictionary: for recounts and tests, and the reference for other adapters."""

    def __init__(self, duplicate_days: int) -> None:
        self._days = duplicate_days
        self._seen: dict[bytes, tuple[bytes, int]] = {}

    def get(self, identity: bytes, day: int) -> bytes | None:
        """Return the content that was accepted under this identity, or None."""
        found = self._seen.get(identity)
        return found[0] if found is not None and day - found[1] <= self._days else None

    def add(self, identity: bytes, content: bytes, day: int) -> None:
        """Remember an accepted report."""
        self._seen[identity] = (content, day)
