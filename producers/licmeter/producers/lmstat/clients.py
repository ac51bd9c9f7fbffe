"""Who holds a license: the words `user host display` of a check-out line, though all but the host may hold blanks.

lmstat quotes nothing, so `John Doe pc7 pc7:0.0` must be read by evidence, in this order:

1. three words or fewer are what they seem;
2. the display repeats the host (`pc7 pc7:0.0`), which is what most clients send;
3. the display looks like a terminal (`/dev/pts/3`, `:0.0`);
4. the host is known from a line that is not in doubt;
5. otherwise the user name has the blanks, and we say that we guessed.

Some servers print one word more before the version: a requested version (`2029.01`) or a process id.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Client", "hosts_of", "split_client"]


@dataclass(frozen=True, slots=True)
class Client:
    """The parts of a client; `guessed` when another reading is as good."""

    user: str
    host: str
    display: str
    guessed: bool = False


_EXTRA_COLUMN: Final = re.compile(r"\d{1,18}\.[\d.]{1,18}|\d{4,18}")  # 2029.01, 1238925
_TERMINAL: Final = re.compile(r"/dev/.*|pts/\d.*|:\d.*|(?:localhost|unix):\d.*", re.I)  # /dev/tty, :0.0, localhost:10.0
_HOST: Final = re.compile(r"[\w.:%\[\]-]+")  # pc7, pc-7.example.org, [fe80::1%2]
_ECHO_CHARS_MIN: Final = 4  # shorter hosts also begin other words: `D Doe`


def hosts_of(who: str) -> frozenset[str]:
    """Return the host of a line that is not in doubt, else nothing."""
    words = _words(who)
    return frozenset({words[1]}) if len(words) == 3 else frozenset()


def split_client(who: str, known_hosts: Collection[str]) -> Client:
    """Divide the words before the version into user, host and display; what is missing is empty."""
    words = _words(who)
    if len(words) <= 3:
        user, host, display = (*words, "", "", "")[:3]
        return Client(user, host, display)
    for find in (_echoed, _before_terminal, lambda these: _known(these, known_hosts)):
        if (at := find(words)) is not None:
            return _divided(words, at, guessed=False)
    last = next((at for at in range(len(words) - 2, 0, -1) if _HOST.fullmatch(words[at])), len(words) - 2)
    return _divided(words, last, guessed=True)


def _words(who: str) -> list[str]:
    """Split at blanks, with a quoted user as one word and without the extra column."""
    words = who.split()
    if who.startswith('"'):
        closing = next((at for at, word in enumerate(words) if word.endswith('"') and (at or len(word) > 1)), None)
        if closing is not None:
            words[: closing + 1] = [" ".join(words[: closing + 1]).strip('"')]
    if len(words) > 3 and _EXTRA_COLUMN.fullmatch(words[-1]):
        words.pop()
    return words


def _divided(words: list[str], at: int, *, guessed: bool) -> Client:
    return Client(" ".join(words[:at]), words[at], " ".join(words[at + 1 :]), guessed)


def _echoed(words: list[str]) -> int | None:
    pairs = enumerate(pairwise(words))
    return next((at for at, (host, display) in pairs if at and _echoes(host, display)), None)


def _echoes(host: str, display: str) -> bool:
    if not display.startswith(host):
        return False
    return len(display) == len(host) or len(host) >= _ECHO_CHARS_MIN or display[len(host)] in ":."


def _before_terminal(words: list[str]) -> int | None:
    return next((at - 1 for at in range(2, len(words)) if _TERMINAL.fullmatch(words[at])), None)


def _known(words: list[str], known_hosts: Collection[str]) -> int | None:
    return next((at for at in range(1, len(words) - 1) if words[at] in known_hosts), None)
