"""What must be known of a statement before chDB gets it: is it an INSERT with data, and which format answers.

chDB takes the format of inserted data apart from the statement, and its streaming calls take SELECT only. A full
parser is not needed: keywords count only outside quotes, comments and parentheses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from licmeter.runtime.clickhouse.errors import NOT_IMPLEMENTED, QueryError

__all__ = ["Insert", "Query", "parse_statement", "quote"]

_DEFAULT_FORMAT: Final = "TabSeparated"  # the server's

_TOKEN: Final = re.compile(
    rb"""
      (?P<skip>  --[^\n]*(?:\n|\Z) | \#(?:!|\ )[^\n]*(?:\n|\Z) | /\*.*?(?:\*/|\Z) | \s+ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<word>  [A-Za-z_][A-Za-z0-9_]* )
    | (?P<open>  [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
#: What ends the head of an INSERT: its data is inline, or comes from a query or a file.
_NO_DATA_FOLLOWS: Final = frozenset({b"VALUES", b"SELECT", b"WITH", b"FROM", b"WATCH"})


@dataclass(frozen=True, slots=True)
class Insert:
    """`INSERT ... FORMAT x` and the bytes after it."""

    head: bytes  # without the FORMAT clause
    data_format: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class Query:
    """Any other statement; `result_format` is that of its answer."""

    text: bytes
    verb: str
    result_format: str


def parse_statement(statement: bytes, *, default_format: str | None = None) -> Insert | Query:
    """Tell an insert with data from all others; raises `QueryError` for what has no place on this interface."""
    words = _words(statement)
    verb = next(words, (b"", 0, 0))[0]
    if verb == b"INSERT":
        insert = _insert(statement, words)
        if insert is not None:
            return insert
    result_format = default_format or _DEFAULT_FORMAT
    before = b""
    for word, start, end in words if verb != b"INSERT" else ():
        if before == b"INTO" and word == b"OUTFILE":
            raise QueryError.of(NOT_IMPLEMENTED, "INTO OUTFILE is not allowed over HTTP")
        if before == b"FORMAT":
            result_format = statement[start:end].decode()
        before = word
    return Query(statement, verb.decode(), result_format)


def _words(statement: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the words outside quotes, comments and brackets, upper case, with their place."""
    depth = 0
    for token in _TOKEN.finditer(statement):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "word" and depth <= 0:
            yield token.group().upper(), token.start(), token.end()


def _insert(statement: bytes, words: Iterator[tuple[bytes, int, int]]) -> Insert | None:
    for word, start, _ in words:
        if word in _NO_DATA_FOLLOWS:
            return None
        if word == b"FORMAT":
            _, name_start, name_end = next(words, (b"", len(statement), len(statement)))
            if name_start == name_end or statement[name_start:name_end].upper() == b"VALUES":
                return None
            data = memoryview(statement)[_data_start(statement, name_end) :]
            return Insert(statement[:start], statement[name_start:name_end].decode(), data)
    return None


def _data_start(statement: bytes, at: int) -> int:
    """Skip blanks and at most one line break, as the server does: what follows belongs to the data."""
    while statement[at : at + 1] in (b" ", b"\t", b"\r"):
        at += 1
    return at + 1 if statement[at : at + 1] == b"\n" else at


def quote(value: str) -> str:
    """Quote a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
