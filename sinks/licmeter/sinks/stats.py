"""What a sink did since it started, and the log lines that tell it."""

import logging
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["SinkStats", "log_event"]

_log = logging.getLogger("licmeter.sink")


@dataclass(slots=True)
class SinkStats:
    """Counters; none ever goes down."""

    rows_written: Counter[str] = field(default_factory=Counter)  # by table
    batches: int = 0
    retries: int = 0  # attempts to write or to forward that failed
    forwarded: int = 0  # undecodable records, put on usage.rejected
    skipped: int = 0  # tombstones of license.counters
    dropped_rows: int = 0  # gathered, not written, and left to the partition's next owner
    commits: int = 0
    commit_failures: int = 0

    def fields(self) -> dict[str, int]:
        """Return all counters under flat names."""
        plain = ("batches", "retries", "forwarded", "skipped", "dropped_rows", "commits", "commit_failures")
        rows = {f"rows_{table}": rows for table, rows in sorted(self.rows_written.items())}
        return {name: getattr(self, name) for name in plain} | {"rows": self.rows_written.total()} | rows


def log_event(level: int, event: str, **fields: object) -> None:
    """Log a constant event name with its fields, readable as text and, through `extra`, as structure."""
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    _log.log(level, "%s %s", event, text, extra={"event": event, "fields": fields})
