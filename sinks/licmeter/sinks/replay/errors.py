"""What can go wrong with rejects, by who has to act.

RejectsError
├── RejectsUnavailableError  the operator: Kafka, or one of its topics, is not there
└── SupersededError          nobody: another run began, and goes on where this one ended
"""

__all__ = ["RejectsError", "RejectsUnavailableError", "SupersededError"]


class RejectsError(Exception):
    """The root."""


class RejectsUnavailableError(RejectsError):
    """Kafka could not be used; what was put back before is known to the next run."""

    def __init__(self, bootstrap_servers: str, error: BaseException) -> None:
        super().__init__(f"Kafka at {bootstrap_servers} cannot be used: {str(error) or type(error).__name__}")
        self.bootstrap_servers = bootstrap_servers


class SupersededError(RejectsError):
    """A newer run began, so this one stopped; `replayed` records were put back before."""

    def __init__(self, replayed: int) -> None:
        super().__init__(f"another replay began; this one stopped after {replayed} records, and that one has the rest")
        self.replayed = replayed
