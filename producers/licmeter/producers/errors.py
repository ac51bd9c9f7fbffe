"""What can go wrong at a producer, by who has to act.

ProducerError
└── SendError  the operator: the broker, its topic or its limits; what was confirmed before stays confirmed

The lmstat importer has a tree of its own (`lmstat.errors`).
"""

__all__ = ["ProducerError", "SendError"]


class ProducerError(Exception):
    """The root."""


class SendError(ProducerError):
    """Records could not be sent. `sent` of them are at the broker, of others it is not known."""

    def __init__(self, message: str, *, bootstrap_servers: str, topic: str, sent: int = 0) -> None:
        super().__init__(message)
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        self.sent = sent
