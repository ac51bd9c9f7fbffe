"""What the server answers, as the application sees it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Authorization", "AuthorizationUnavailable", "Delivery", "ItemState", "TransportError"]


@dataclass(frozen=True, slots=True)
class ItemState:
    """How a license item stands: `state` is active, grace, blocked … (domain, 8.1), `percent` of what it allows."""

    item_id: str
    state: str
    percent: str | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """The answer to a request for leave. `cached`: the server was not reached, and the local license still lives."""

    granted: bool
    project_id: str | None
    item_id: str | None
    local_expires_at: datetime | None
    code: int | None
    code_slug: str | None
    items: tuple[ItemState, ...] = ()
    cached: bool = False


class AuthorizationUnavailable(Exception):  # noqa: N818 - it is no error of the application's
    """No server answered, and there is no local license that still lives."""


class TransportError(Exception):
    """Reports could not be delivered, or it is not known; they stay. `retry_after_s` is what the server asks for.

    `too_large`: the server wants smaller batches. `forbidden`: it knows who asks, and says no.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, too_large: bool = False, forbidden: bool = False
    ) -> None:
        super().__init__(message)
        self.forbidden = forbidden
        self.retry_after_s = retry_after_s
        self.too_large = too_large


@dataclass(slots=True)
class Delivery:
    """What became of a batch: ids that are confirmed, refused for good (with the reason), or to be tried again."""

    confirmed: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    items: list[ItemState] = field(default_factory=list)


def item_states(entries: Any) -> list[ItemState]:
    """Read the items of an answer, those that can be read."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("item_id"), str) and isinstance(entry.get("state"), str):
            percent = entry.get("percent")
            found.append(ItemState(entry["item_id"], entry["state"], None if percent is None else str(percent)))
    return found
