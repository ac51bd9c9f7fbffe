"""What the first pass over an output collects: lines taken apart, in the blocks they stand in.

Starts and divided user names need the whole file to be read, so a second pass (`assembly`) finishes them.
"""

from dataclasses import dataclass, field

from licmeter.producers.lmstat.lines import HeaderLine, HolderLine
from licmeter.producers.lmstat.snapshot import LicenseServer, Notice, NoticeKind, Pool, Reservation, VendorDaemon

__all__ = ["Block", "Holder", "Output", "notice"]

_TEXT_CHARS_MAX = 200  # of a line, as quoted in a notice


def notice(kind: NoticeKind, line_number: int, text: str, message: str) -> Notice:
    """Make a notice that quotes no more of the line than a person wants to see."""
    quoted = text if len(text) <= _TEXT_CHARS_MAX else f"{text[: _TEXT_CHARS_MAX - 1]}…"
    return Notice(kind, line_number, quoted, message)


@dataclass(slots=True)
class Holder:
    """A check-out or queued request with its place."""

    line: HolderLine
    line_number: int
    text: str


@dataclass(slots=True)
class Block:
    """A feature's block."""

    header: HeaderLine
    line_number: int
    text: str
    server_line: str
    pools: list[Pool] = field(default_factory=list)
    holders: list[Holder] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)


@dataclass(slots=True)
class Output:
    """One output of lmstat, half read."""

    line_number: int
    time_text: str | None = None
    server_line: str = ""
    servers: list[LicenseServer] = field(default_factory=list)
    daemons: list[VendorDaemon] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """Whether anything of substance was read, so that a further head opens another output."""
        return self.time_text is not None or bool(self.servers or self.daemons or self.blocks or self.server_line)

    def say(self, kind: NoticeKind, line_number: int, text: str, message: str) -> None:
        """Add a notice."""
        self.notices.append(notice(kind, line_number, text, message))
