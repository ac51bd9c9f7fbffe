"""First pass over lmstat text: each line is taken by what it is and by the section it stands in.

A line that belongs to a feature block and is not understood becomes a notice; so does one outside every section.
Lines that a terminal or a mailer has wrapped are read together with the next one.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from licmeter.producers.lmstat import boilerplate
from licmeter.producers.lmstat.dates import read_date
from licmeter.producers.lmstat.lines import (
    HeaderLine,
    read_header,
    read_holder,
    read_pool,
    read_reservation,
    squeezed,
)
from licmeter.producers.lmstat.records import Block, Holder, Output
from licmeter.producers.lmstat.snapshot import FeatureStatus, LicenseServer, NoticeKind, Reservation, VendorDaemon

__all__ = ["read_outputs"]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: Only what ends a line for lmstat; `splitlines` would also cut a user name at U+0085 or U+2028.
_LINE_END: Final = re.compile(r"\r\r\n|\r\n|\n|\r")
_HEADER_CONTINUES: Final = re.compile(r"[(,;]|total of |licenses? |in use", re.I)
_HOLDER_CONTINUES: Final = re.compile(r"\(|,? ?start |,? ?queued ", re.I)
_WRAPPED_LINES_MAX: Final = 2  # a header of three lines is the longest seen


class _Section(Enum):
    NONE = "none"
    SERVERS = "servers"
    DAEMONS = "daemons"
    FEATURE = "feature"
    INVENTORY = "inventory"


def read_outputs(text: str) -> list[Output]:
    """Take the text apart into the outputs it holds, one or several after another; never fails."""
    lines = _LINE_END.split(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text.removeprefix("\ufeff")))
    numbered = [(line_number, squeezed(line)) for line_number, line in enumerate(lines, 1)]
    reader = _Reader()
    for line_number, line in _unwrapped([(line_number, line) for line_number, line in numbered if line]):
        reader.take(line_number, line)
    return reader.outputs


def _unwrapped(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(lines):
        line_number, line = lines[at]
        line, taken = _joined(line, [following for _, following in lines[at + 1 : at + 1 + _WRAPPED_LINES_MAX]])
        yield line_number, line
        at += 1 + taken


def _joined(line: str, following: list[str]) -> tuple[str, int]:
    """Return the line with as many of the following ones as make it complete, and how many those are."""
    header = read_header(line)
    if header is None and _is_holder(line):
        return line, 0
    if header is not None and header.status is not FeatureStatus.UNKNOWN:
        return line, 0
    whole = line
    for taken, further in enumerate(following, 1):
        if not (_HEADER_CONTINUES if header else _HOLDER_CONTINUES).match(further):
            break
        whole = f"{whole} {further}"
        header = read_header(whole)
        if _is_holder(whole) if header is None else header.status is not FeatureStatus.UNKNOWN:
            return whole, taken
    return line, 0


def _is_holder(line: str) -> bool:
    """Tell whether a line is a whole check-out or queued request."""
    holder = read_holder(line)
    return holder is not None and bool(holder.server) and (holder.queued or bool(holder.start_text))


class _Reader:
    """The state between lines: the output, its section and its feature block."""

    def __init__(self) -> None:
        self.outputs = [Output(line_number=1)]
        self.section = _Section.NONE

    @property
    def output(self) -> Output:
        return self.outputs[-1]

    def take(self, line_number: int, line: str) -> None:
        """Take one line in."""
        if self._head(line_number, line) or self._section_head(line):
            return
        if self._usage(line_number, line) or self._process(line_number, line) or boilerplate.is_boilerplate(line):
            return
        if self.section is _Section.FEATURE and boilerplate.is_detail(line):
            return
        if self.section is _Section.INVENTORY and boilerplate.is_inventory_row(line):
            return
        self.output.say(NoticeKind.LINE_UNREADABLE, line_number, line, "not understood, and not counted")

    def _head(self, line_number: int, line: str) -> bool:
        time_text = boilerplate.read_status_head(line)
        if time_text is None and self.section is not _Section.FEATURE and self.output.time_text is None:
            written = read_date(line)  # lmstat -i prints the time without words
            if written is not None and written.year is not None and written.clock is not None:
                time_text = line
        if time_text is None:
            if boilerplate.is_output_head(line):
                self.section = _Section.NONE
                return True
            return False
        if self.output.begun:
            self.outputs.append(Output(line_number=line_number))
        self.output.time_text = time_text
        self.section = _Section.NONE
        return True

    def _section_head(self, line: str) -> bool:
        server_line = boilerplate.read_server_section(line)
        if server_line is not None:
            self.output.server_line = server_line
            self.section = _Section.SERVERS
        elif boilerplate.read_daemon_section(line):
            self.section = _Section.DAEMONS
        elif boilerplate.is_inventory_head(line):
            self.section = _Section.INVENTORY
        else:
            return False
        return True

    def _usage(self, line_number: int, line: str) -> bool:
        header = read_header(line)
        if header is not None:
            self._open(header, line_number, line)
            return True
        pool = read_pool(line, line_number)
        if pool is not None:
            if self.section is not _Section.FEATURE:
                self._open(HeaderLine(pool.name, FeatureStatus.UNKNOWN), line_number, line)
            self.output.blocks[-1].pools.append(pool)
            return True
        return self._reservation(line_number, line) or self._holder(line_number, line)

    def _open(self, header: HeaderLine, line_number: int, line: str) -> None:
        self.output.blocks.append(Block(header, line_number, line, self.output.server_line))
        self.section = _Section.FEATURE

    def _reservation(self, line_number: int, line: str) -> bool:
        read = read_reservation(line)
        if read is None:
            return False
        if self.section is not _Section.FEATURE:
            self._orphan(line_number, line)
            return True
        reservation = Reservation(
            licenses=read.licenses, kind=read.kind, name=read.name, server=read.server, line_number=line_number
        )
        self.output.blocks[-1].reservations.append(reservation)
        return True

    def _holder(self, line_number: int, line: str) -> bool:
        in_feature = self.section is _Section.FEATURE
        if boilerplate.is_boilerplate(line) or (in_feature and boilerplate.is_detail(line)):
            return False
        read = read_holder(line)
        if read is None or (not in_feature and not (read.server and read.version)):
            return False
        if in_feature:
            self.output.blocks[-1].holders.append(Holder(read, line_number, line))
        else:
            self._orphan(line_number, line)
        return True

    def _orphan(self, line_number: int, line: str) -> None:
        self.output.say(NoticeKind.LINE_ORPHANED, line_number, line, "stands below no feature; not counted")

    def _process(self, line_number: int, line: str) -> bool:
        """Take in the state of a server or daemon, or a failure that lmstat reports."""
        failed = boilerplate.is_failure(line)
        listed = boilerplate.read_process(line) if self.section in (_Section.SERVERS, _Section.DAEMONS) else None
        server = boilerplate.read_server(line)
        if server is None and self.section is _Section.DAEMONS and (listed is not None or failed):
            self._daemon(listed or boilerplate.ServerLine("vendor daemon", up=False, detail=line), line_number, line)
            return True
        if server is None and listed is not None and (failed or listed.up):
            server = listed
        if server is None and (
            boilerplate.is_server_failure(line) or (failed and self.section is not _Section.FEATURE)
        ):
            server = boilerplate.ServerLine(self.output.server_line or "license server", up=False, detail=line)
        if server is not None:
            self._server(server, line_number, line)
        elif failed:
            self.output.say(NoticeKind.FEATURE_ERROR, line_number, line, "lmstat reports an error")
        return server is not None or failed

    def _server(self, read: boilerplate.ServerLine, line_number: int, line: str) -> None:
        self.section = _Section.SERVERS
        server = LicenseServer(name=read.name, up=read.up, detail=read.detail, line_number=line_number)
        self.output.servers.append(server)
        if not read.up:
            message = f"license server {read.name} is down: {read.detail}"
            self.output.say(NoticeKind.SERVER_DOWN, line_number, line, message)

    def _daemon(self, read: boilerplate.ServerLine, line_number: int, line: str) -> None:
        daemon = VendorDaemon(name=read.name, up=read.up, detail=read.detail, line_number=line_number)
        self.output.daemons.append(daemon)
        if not read.up:
            message = f"vendor daemon {read.name} is down: {read.detail}"
            self.output.say(NoticeKind.DAEMON_DOWN, line_number, line, message)
