"""What can go wrong in the worker, by who has to act.

StreamError
├── FlushAbandonedError  nobody: the partition was taken away in the middle; its new owner does the work again
└── StateCorruptError    the operator: the worker stops, because going on could count wrongly
"""

__all__ = ["FlushAbandonedError", "StateCorruptError", "StreamError"]


class StreamError(Exception):
    """The root."""


class FlushAbandonedError(StreamError):
    """The partition no longer belongs to this worker."""


class StateCorruptError(StreamError):
    """A state record refers to another one that is not there."""
