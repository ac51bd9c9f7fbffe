"""What can go wrong in a process, by who has to act.

LicmeterError                 shown to the user as one message, without a traceback; `exit_code` ends the process
├── SettingsError             the operator: a setting is wrong
├── UsageError                the user: what was asked cannot be done as asked
└── ServiceError              the operator: a service we need or run does not do its part
"""

from collections.abc import Sequence

__all__ = ["LicmeterError", "ServiceError", "SettingsError", "UsageError"]


class LicmeterError(Exception):
    """The root: a message for the user, and `hint` for what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(LicmeterError):
    """One or more settings are wrong; `mistakes` names each with its path."""

    exit_code = 2

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("wrong settings:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class UsageError(LicmeterError):
    """The command cannot do what it was asked to."""

    exit_code = 2


class ServiceError(LicmeterError):
    """A service (Kafka, ClickHouse, a worker) is not there, refuses, or ended; `service` names it."""

    exit_code = 3

    def __init__(self, message: str, *, service: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.service = service
