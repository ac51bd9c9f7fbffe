"""Why a notice was not delivered, by what is to be done.

DeliveryError       the root; its text is free of secrets and may be shown
├── FailedError     may work later: try again
├── RefusedError    will never work as it is: a dead letter at once
└── GoneError       the receiver wants nothing more (HTTP 410): leave the target alone until somebody looks
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["DeliveryError", "FailedError", "GoneError", "RefusedError"]

_NOBODY: Mapping[str, str] = MappingProxyType({})


class DeliveryError(Exception):
    """A notice was not delivered; `reason` is one line for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FailedError(DeliveryError):
    """It may work later, not before `retry_after_s` if the receiver said so.

    Of several recipients some may have it: then `left` are those still to be reached, and `refused` those that never
    will be, with the reason.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after_s: float | None = None,
        left: tuple[str, ...] | None = None,
        refused: Mapping[str, str] = _NOBODY,
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.left = left
        self.refused = refused


class RefusedError(DeliveryError):
    """It will never work as it is."""


class GoneError(DeliveryError):
    """The receiver wants nothing more."""
