"""What the operator reads when the embedded broker cannot do its part."""

from pathlib import Path

from licmeter.runtime.errors import ServiceError

__all__ = ["ANOTHER_CLUSTER", "broker_failure", "failure", "last_lines", "unwritable"]

ANOTHER_CLUSTER = "LICMETER_KAFKA__BOOTSTRAP_SERVERS=host:port uses another cluster instead"

_QUOTED_LINES_MAX = 6  # enough for an error with its causes, short enough for a terminal
_TAIL_BYTES = 64 * 1024  # the end of a log holds why it ended
_LINE_CHARS_MAX = 300

# What the broker's log says -> what to do about it.
_HINTS = (
    ("No space left on device", "make room on the disk, or move the data with LICMETER_DATA_DIR"),
    ("OutOfMemoryError", "give the broker more memory with LICMETER_KAFKA__HEAP_MB"),
    ("Could not reserve enough space", "give the broker less memory with LICMETER_KAFKA__HEAP_MB"),
    ("Address already in use", "another process took the port; LICMETER_KAFKA__PORT=0 takes any free one"),
    ("Failed to acquire lock", "another broker uses this data folder; LICMETER_DATA_DIR names another one"),
    ("Permission denied", "the data folder must be writable; LICMETER_DATA_DIR names another one"),
)


def failure(message: str, *, hint: str = ANOTHER_CLUSTER) -> ServiceError:
    """The error for the operator, with the service's name filled in."""
    return ServiceError(message, service="kafka", hint=hint)


def unwritable(folder: Path, error: OSError, *, setting: str) -> ServiceError:
    """A folder that cannot be written: full, read-only, or not a folder."""
    return failure(
        f"cannot write to {folder}: {error.strerror or error}",
        hint=f"make it writable, or name another one with {setting}",
    )


def broker_failure(what: str, log: Path, console: Path, *, log_offset: int) -> ServiceError:
    """The broker's own words on why it failed: the last errors it logged, else the last it wrote to its console."""
    quoted = _errors_of(last_lines(log, log_offset)) or last_lines(console)[-_QUOTED_LINES_MAX:]
    text = "\n".join(f"  {line[:_LINE_CHARS_MAX]}" for line in quoted) or "  (it wrote nothing)"
    hint = next((hint for words, hint in _HINTS if words in text), ANOTHER_CLUSTER)
    return failure(f"{what}; its last words:\n{text}\nall of them: {log}, {console}", hint=hint)


def _errors_of(lines: list[str]) -> list[str]:
    marks = (" ERROR ", " FATAL ", "Exception", "Error:", "Caused by")
    frames = ("\tat ", "    at ")
    told = [line for line in lines if any(mark in line for mark in marks) and not line.startswith(frames)]
    return told[-_QUOTED_LINES_MAX:]


def last_lines(path: Path, offset: int = 0) -> list[str]:
    """The end of a log, from `offset` on; nothing when there is no such file."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            # A log smaller than the offset has been rolled since; all of it is new.
            log.seek(max(offset if size >= offset else 0, size - _TAIL_BYTES))
            return [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []
