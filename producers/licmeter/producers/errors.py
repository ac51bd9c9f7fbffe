"""What can go wrong for a producer, by who has to act.

ProducerError
└── SendError    the operator: Kafka is not there, or refuses; nothing is known to be stored beyond what was confirmed
"""

__all__ = ["ProducerError", "SendError"]


class ProducerError(Exception):
    """The root."""


class SendError(ProducerError):
    """Records could not be sent; `sent` says how many the broker had confirmed."""

    def __init__(self, message: str, *, sent: int = 0) -> None:
        super().__init__(message)
        self.sent = sent
