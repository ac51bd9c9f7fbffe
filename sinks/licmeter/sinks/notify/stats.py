"""What a lane did since it started, and the log lines that tell it."""

import logging
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["LaneStats", "log_event"]

_log = logging.getLogger("licmeter.notify")


@dataclass(slots=True)
class LaneStats:
    """Counters of one target; none ever goes down."""

    events: int = 0  # read, of any organization
    unwanted: int = 0  # the target's filters leave them out
    remembered: int = 0  # settled before a restart, says the commit's metadata
    undecodable: int = 0  # the sink puts these on usage.rejected
    digested: int = 0  # breaches that went into a message with others
    pressed: int = 0  # digests that were closed early, because too much was open
    held: int = 0  # times that reading paused because too many notices wait
    delivered: int = 0  # notices
    failures: int = 0  # attempts
    undelivered: Counter[str] = field(default_factory=Counter)  # dead letters, by reason
    circuit_opened: int = 0
    commits: int = 0
    commit_failures: int = 0
    restarts: int = 0

    def fields(self) -> dict[str, int]:
        """Return all counters under flat names."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "undelivered"}
        return plain | {"undelivered": self.undelivered.total()}


def log_event(level: int, event: str, **fields: object) -> None:
    """Log a constant event name with its fields, readable as text and, through `extra`, as structure."""
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    _log.log(level, "%s %s", event, text, extra={"event": event, "fields": fields})
