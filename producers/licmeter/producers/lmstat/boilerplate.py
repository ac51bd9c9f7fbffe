"""The lines of lmstat that carry no figures: what each is, and which of them say that something is down.

These are tried on squeezed lines, after the lines of `licmeter.producers.lmstat.lines` where the two could be
confused, so that no check-out is taken for boilerplate.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ServerLine",
    "is_boilerplate",
    "is_detail",
    "is_failure",
    "is_inventory_head",
    "is_inventory_row",
    "is_output_head",
    "is_server_failure",
    "read_daemon_section",
    "read_process",
    "read_server",
    "read_server_section",
    "read_status_head",
]

# Flexible License Manager status on Fri 10/20/2017 17:02
_STATUS_HEAD: Final = re.compile(r".{0,40}license manager status on ?(.*)", re.I)
# lmutil - Copyright (c) 1989-2022 Flexera. All Rights Reserved.
_OUTPUT_HEAD: Final = re.compile(r"lm(?:util|stat)\b.{0,16}copyright", re.I)
_SERVER_SECTION: Final = re.compile(r"license server status: ?(.*)", re.I)  # License server status: 28000@host1
_DAEMON_SECTION: Final = re.compile(r"vendor daemon status\b", re.I)  # Vendor daemon status (on host2):
# host2: license server UP (MASTER) v11.13
_SERVER: Final = re.compile(r"([^ ]{1,255}): ?license server (?:is )?(.*)", re.I)
# MLM: UP v11.19.7  |  host3: Cannot connect to license server system. (-15,570:115 "Operation now in progress")
_PROCESS: Final = re.compile(r"([^ :]{1,255}(?::\d{1,5})?): ?(.+)")
_UP: Final = re.compile(r"up\b", re.I)
# lmgrd is not running: License server machine is down or not responding. (-96,7:2 "No such file or directory")
_FAILURE: Final = re.compile(
    r"lmgrd is not running|error getting|error: |cannot connect|cannot (?:find|read|open)|no socket connection"
    r"|(?:is|are) down\b|not responding|license server (?:is )?down|\(-\d{1,4},\d{1,6}",
    re.I,
)
_SERVER_FAILURE: Final = re.compile(r"lmgrd is not running|error getting status|cannot connect to license server", re.I)
_PLAIN: Final = re.compile(
    r"\[?detecting \w* ?processes|license file\(?s?\)? on |license files?:|feature usage info|[-_=*#. ]{3,}$"
    r"|note: lmstat -i |but only reads the license file|lmstat -a is recommended"
    r"|.*\ball rights reserved\.?$|.{0,80}copyright \(c\)",
    re.I,
)
# What describes a pool: floating license  |  nodelocked license, locked to "ID=…"  |  vendor_string: …
_DETAIL: Final = re.compile(
    r"(?:(?:uncounted|counted|floating|borrowable|mobile|node-?locked),? )*licenses?\b(?:$|[, ](?: ?locked|with|for).*)"
    r"|(?:uncounted,? )?node-?locked\b.*|uncounted\b.{0,64}|locked to .*|floating\b.{0,64}"
    r"|(?:vendor[_ ]string|dist_string|notice|issuer|issued|sn|platforms?|expiry|dup_group|components|hostid): ?.*",
    re.I,
)
_INVENTORY_HEAD: Final = re.compile(
    r"feature version # ?(?:of )?licenses\b", re.I
)  # Feature Version #licenses Vendor Expires
_INVENTORY_ROW: Final = re.compile(
    r"\S{1,255} \S{1,64} (?:\d{1,18}|uncounted) \S.{0,128}", re.I
)  # f1 2018.12 2 31-dec-2018 v1
_INVENTORY_WRAPPED: Final = re.compile(r"\S{24,255}|\S{1,64} (?:\d{1,18}|uncounted) \S.{0,128}", re.I)


def read_status_head(line: str) -> str | None:
    """Return the time text of the line that opens an output."""
    match = _STATUS_HEAD.fullmatch(line)
    return match and match[1].strip()


def is_output_head(line: str) -> bool:
    """Tell whether the line is the copyright line before an output."""
    return _OUTPUT_HEAD.match(line) is not None


def read_server_section(line: str) -> str | None:
    """Return what `License server status:` names."""
    match = _SERVER_SECTION.fullmatch(line)
    return match and match[1].strip()


def read_daemon_section(line: str) -> bool:
    """Tell whether the line opens the list of vendor daemons."""
    return _DAEMON_SECTION.match(line) is not None


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A license server or vendor daemon, and how it is."""

    name: str
    up: bool
    detail: str


def read_server(line: str) -> ServerLine | None:
    """Read `host: license server UP …`."""
    match = _SERVER.fullmatch(line)
    return match and ServerLine(match[1].strip(), _UP.match(match[2]) is not None, match[2])


def read_process(line: str) -> ServerLine | None:
    """Read `name: state`, which means something only below a list of servers or of daemons."""
    match = _PROCESS.fullmatch(line)
    return match and ServerLine(match[1], _UP.match(match[2]) is not None, match[2])


def is_failure(line: str) -> bool:
    """Tell whether the line reports that something is down, or a FlexNet error."""
    return _FAILURE.search(line) is not None


def is_server_failure(line: str) -> bool:
    """Tell whether the line reports that a license server cannot be reached, wherever it stands."""
    return _SERVER_FAILURE.match(line) is not None


def is_boilerplate(line: str) -> bool:
    """Tell whether the line is known to say nothing about usage."""
    return _PLAIN.match(line) is not None


def is_detail(line: str) -> bool:
    """Tell whether the line describes the pool above it."""
    return _DETAIL.fullmatch(line) is not None


def is_inventory_head(line: str) -> bool:
    """Tell whether the line heads the table of `lmstat -i`, which shows what a license file grants."""
    return _INVENTORY_HEAD.match(line) is not None


def is_inventory_row(line: str) -> bool:
    """Tell whether the line is a row of that table, or half of a wrapped one."""
    return (_INVENTORY_ROW.fullmatch(line) or _INVENTORY_WRAPPED.fullmatch(line)) is not None
