"""The lines of lmstat that carry figures: header, check-out, reservation, pool.

Every function takes a line whose runs of blanks are single ones (`squeezed`), and returns None when the line is
something else. No expression here backtracks over an unbounded part, so that a line of any length is read in time
proportional to it.
"""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from licmeter.producers.lmstat.dates import read_date
from licmeter.producers.lmstat.snapshot import FeatureStatus, Pool

__all__ = [
    "HeaderLine",
    "HolderLine",
    "ReservationLine",
    "read_header",
    "read_holder",
    "read_pool",
    "read_reservation",
    "squeezed",
]

#: 4, 1814, and 1,814 or 1'814 from a server that groups its thousands
_NUMBER: Final = r"\d{1,3}(?:[.,' ]\d{3}){1,5}|\d{1,18}"
_WORDS: Final = r"[^;()\d]{0,64}"
# (Total of 144 licenses issued;  Total of 22 licenses in use)
_TOTALS: Final = re.compile(
    rf":? ?\(? ?Total of -?({_NUMBER}) {_WORDS}issued ?[;,]? ?Total of -?({_NUMBER}) {_WORDS}in use", re.I
)
# Users of F: (Uncounted, node-locked)
_UNCOUNTED: Final = re.compile(r":? ?\( ?uncounted|: ?uncounted|: ?none\.?$", re.I)
# Users of F: (Error: 144 licenses, unsupported by licensed server)  |  Users of F: Cannot get users of F: …
_ERROR: Final = re.compile(
    r":? ?\( ?error|: ?error|: ?cannot get |: ?no such feature|: ?license server|: ?feature ", re.I
)
_USERS_OF: Final = re.compile(r"users of(?: (.*))?", re.I)  # Users of MATLAB: …
_START: Final = re.compile(r"[, )]start(?:[: ]|$)", re.I)  # …, start Fri 10/20 16:40
_QUEUED: Final = re.compile(rf"[, )]queued(?: for ({_NUMBER}) licenses?)?", re.I)  # … queued for 1 license
_LICENSES: Final = re.compile(rf"[, (]({_NUMBER}) licenses?\b", re.I)  # , 4 licenses
_SERVER: Final = re.compile(r"\(([^()/ ]{1,255}/[^()/ ]{1,32})(?: ([^()]{0,64}))?\)")  # (host1/28000 5226)
_VERSION: Final = re.compile(r"v[^()]{0,64}|\d[\w.-]{0,63}", re.I)  # v31.000000
_BEFORE_SUFFIX: Final = re.compile(r" ?\(|,? ?PID\b|,? ?borrow", re.I)  # (linger: 1800), PID: 1239140
# What may follow the start and is understood, as far as counting goes.
_SUFFIX: Final = re.compile(
    r"\((?:linger|borrow|expire|exp|until|pid)[^()]{0,128}\)|\bPID:? ?\d{1,18}|\bborrowed\b|\blinger\b|[, ]", re.I
)
# 1 RESERVATION for GROUP DED (SERVER1/1713)
_RESERVATION: Final = re.compile(rf"({_NUMBER}) (?:licenses? )?reservations?\b:?(?: for)?(.*)", re.I)
# "MATLAB" v53, vendor: MLM, expiry: 01-jan-2099
_POOL: Final = re.compile(r'"?([^"]{1,512}?)"? v([^, ]{0,64}), vendor: ?([^,]{0,128})(?:, ?expiry: ?(.{0,128}))?', re.I)


def squeezed(line: str) -> str:
    """Return the line without blanks at its ends and with single ones inside."""
    return " ".join(line.split())


def number(digits: str) -> int:
    """Read a count with or without grouped thousands."""
    return int("".join(character for character in digits if character.isdigit()))


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """`Users of F: …`, with the figures if it has any."""

    feature: str
    status: FeatureStatus
    issued: int | None = None
    in_use: int | None = None


def read_header(line: str) -> HeaderLine | None:
    """Read a feature's header; one that begins like a header and says nothing known has status `UNKNOWN`."""
    match = _USERS_OF.match(line)
    if match is None:
        return None
    rest = match[1] or ""
    if totals := _TOTALS.search(rest):
        return HeaderLine(_name(rest, totals.start()), FeatureStatus.COUNTED, number(totals[1]), number(totals[2]))
    for pattern, status in ((_UNCOUNTED, FeatureStatus.UNCOUNTED), (_ERROR, FeatureStatus.ERROR)):
        if found := pattern.search(rest):
            return HeaderLine(_name(rest, found.start()), status)
    name, colon, _ = rest.partition(":")
    return HeaderLine((name if colon else rest.partition(" ")[0]).strip(), FeatureStatus.UNKNOWN)


def _name(rest: str, end: int) -> str:
    return rest[:end].strip().removesuffix(":").rstrip()


@dataclass(frozen=True, slots=True)
class HolderLine:
    """A client that holds licenses or, when `queued`, waits for them."""

    who: str
    version: str
    server: str
    handle: str
    queued: bool
    start_text: str
    licenses: int
    suffix: str
    complete: bool  # version, server and a readable number of licenses are all there
    suffix_known: bool


def read_holder(line: str) -> HolderLine | None:
    """Read a check-out or a queued request, whatever of it is there.

    What makes a line one of these is its `, start`, its `queued for`, or a group `(server/port handle)`.
    """
    cut, rest_at, queued = _cut(line)
    if cut is None:
        return None
    who, server, handle = _server_group(line[:cut].rstrip(" ,"))
    who, version = _version_group(who)
    waiting = number(queued) if queued else 1
    start_text, licenses, suffix = _rest(line[rest_at:] if queued is None else "")
    counted = licenses is not None or "license" not in f"{start_text}{suffix}".lower()
    return HolderLine(
        who=who,
        version=version,
        server=server,
        handle=handle,
        queued=queued is not None,
        start_text=start_text,
        licenses=waiting if queued is not None else 1 if licenses is None else licenses,
        suffix=suffix,
        complete=bool(who and server and version) and counted,
        suffix_known=not _SUFFIX.sub("", suffix),
    )


def _cut(line: str) -> tuple[int | None, int, str | None]:
    """Return where the client's part ends, where the start begins, and the number queued for ('' if unsaid)."""
    queued = _last(_QUEUED, line)
    start = _last(_START, line)
    if queued is not None and (")" in line[: queued.start() + 1] or queued[1]):
        first = queued if start is None or start.start() > queued.start() else start
        return first.start() + (line[first.start()] == ")"), queued.end(), queued[1] or ""
    if start is not None:
        return start.start() + (line[start.start()] == ")"), start.end(), None
    group = _last(_SERVER, line)
    return (None, 0, None) if group is None else (group.end(), group.end(), None)


def _last(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(line), maxlen=1)
    return found[0] if found else None


def _server_group(text: str) -> tuple[str, str, str]:
    at = text.rfind("(") if text.endswith(")") else -1
    match = _SERVER.fullmatch(text, at) if at >= 0 else None
    return (text, "", "") if match is None else (text[:at].rstrip(), match[1], match[2] or "")


def _version_group(text: str) -> tuple[str, str]:
    at = text.rfind("(") if text.endswith(")") else -1
    if at < 0 or not _VERSION.fullmatch(text, at + 1, len(text) - 1):
        return text, ""
    return text[:at].rstrip(), text[at + 1 : -1]


def _rest(rest: str) -> tuple[str, int | None, str]:
    """Divide what follows `start` into its date, the number of licenses (None: not said) and the suffix."""
    counted = _LICENSES.search(rest)
    other = _BEFORE_SUFFIX.search(rest)
    ends = [match.start() for match in (counted, other) if match is not None]
    end = min(ends, default=len(rest))
    start_text, beyond = _dated(rest[:end].strip(" ,"))
    tail = rest[end:] if counted is None else rest[end : counted.start()] + rest[counted.end() :]
    suffix = " ".join(part for part in (beyond, tail.strip(" ,")) if part)
    return start_text, None if counted is None else number(counted[1]), suffix


_DATE_WORDS_MAX: Final = 8


def _dated(text: str) -> tuple[str, str]:
    """Return the longest beginning that is a date with a time, and what follows it; the whole if there is none."""
    words = text.split(" ", _DATE_WORDS_MAX)
    if read_date(text) is None:
        for end in range(len(words) - 1, 1, -1):
            beginning = " ".join(words[:end]).rstrip(",")
            written = read_date(beginning)
            if written is not None and written.clock is not None:
                return beginning, " ".join(words[end:])
    return text, ""


@dataclass(frozen=True, slots=True)
class ReservationLine:
    """`2 RESERVATIONs for HOST_GROUP x (server/port)`."""

    licenses: int
    kind: str
    name: str
    server: str


def read_reservation(line: str) -> ReservationLine | None:
    """Read a reservation; its name may hold blanks, its server may be missing."""
    match = _RESERVATION.fullmatch(line)
    if match is None:
        return None
    who, server, _ = _server_group(match[2].strip().rstrip(","))
    kind, _, name = who.partition(" ")
    return ReservationLine(number(match[1]), kind, name.strip(), server)


def read_pool(line: str, line_number: int) -> Pool | None:
    """Read the license line behind a feature."""
    match = _POOL.fullmatch(line) if "vendor:" in line.lower() else None  # the cheap question first
    if match is None:
        return None
    name, version, vendor, expiry = match.groups()
    return Pool(name=name, version=version, vendor=vendor, expiry=expiry or "", line_number=line_number)
