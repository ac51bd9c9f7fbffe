"""The lock file: which jars make the broker, each with its checksum.

One jar per line: `group:artifact:version sha256 filename`. It names no registry: where jars come from is the business
of the machine. `python -m licmeter.runtime.kafka.relock` writes it anew.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

__all__ = ["LOCK_NAME", "LockedJar", "load_lock", "parse_lock", "render_lock"]

LOCK_NAME = "jars.lock"
_LINE = re.compile(r"(?P<coordinate>[\w.-]+:[\w.-]+:[\w.-]+) (?P<sha256>[0-9a-f]{64}) (?P<filename>[\w.-]+\.jar)")
_HEAD = (
    "# Written by `python -m licmeter.runtime.kafka.relock`. One jar per line: group:artifact:version sha256 filename\n"
)


@dataclass(frozen=True, slots=True, order=True)
class LockedJar:
    """One jar of the broker."""

    coordinate: str
    sha256: str
    filename: str


def parse_lock(text: str) -> tuple[LockedJar, ...]:
    """Read a lock file; raises `ValueError` that names the first wrong line."""
    jars = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{LOCK_NAME}:{number}: expected 'group:artifact:version sha256 filename', got {line!r}")
        jars.append(LockedJar(**match.groupdict()))
    names = [jar.filename for jar in jars]
    if not jars or len(set(names)) < len(names):
        raise ValueError(f"{LOCK_NAME}: it must name at least one jar, and each only once")
    return tuple(jars)


def render_lock(jars: Iterable[LockedJar]) -> str:
    """Write a lock file, sorted so that a change shows as a small difference."""
    return _HEAD + "".join(f"{jar.coordinate} {jar.sha256} {jar.filename}\n" for jar in sorted(jars))


def load_lock() -> tuple[LockedJar, ...]:
    """The jars of this version of licmeter."""
    return parse_lock(resources.files(__package__).joinpath(LOCK_NAME).read_text(encoding="utf-8"))
