"""ClickHouse's error codes: from the engine's message to code and HTTP status.

The status of a code is what the server answers (`src/Server/HTTP/exceptionCodeToHTTPStatus.cpp`); codes that it
does not name there are 500.
"""

import re
from typing import Final

__all__ = [
    "CLIENT_GONE",
    "INVALID_SESSION_TIMEOUT",
    "NOT_IMPLEMENTED",
    "QUERY_IS_TOO_LARGE",
    "READONLY",
    "SESSION_IS_LOCKED",
    "SESSION_NOT_FOUND",
    "SYNTAX_ERROR",
    "TOO_MANY_SESSIONS",
    "UNKNOWN_COMPRESSION_METHOD",
    "QueryError",
    "engine_error",
]

NOT_IMPLEMENTED: Final = (48, "NOT_IMPLEMENTED")
SYNTAX_ERROR: Final = (62, "SYNTAX_ERROR")
UNKNOWN_COMPRESSION_METHOD: Final = (89, "UNKNOWN_COMPRESSION_METHOD")
READONLY: Final = (164, "READONLY")
TOO_MANY_SESSIONS: Final = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
CLIENT_GONE: Final = (210, "NETWORK_ERROR")
QUERY_IS_TOO_LARGE: Final = (229, "QUERY_IS_TOO_LARGE")
SESSION_NOT_FOUND: Final = (372, "SESSION_NOT_FOUND")
SESSION_IS_LOCKED: Final = (373, "SESSION_IS_LOCKED")
INVALID_SESSION_TIMEOUT: Final = (374, "INVALID_SESSION_TIMEOUT")
_UNKNOWN_EXCEPTION: Final = 1002

_STATUS: Final = {
    401: (194,),
    403: (192, 193, 497, 512, 516),
    400: (6, 15, 16, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 167, 168, 376, 427, 441, 675, 676, 321),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS_OF_CODE: Final = {code: status for status, codes in _STATUS.items() for code in codes}
_CODE: Final = re.compile(r"Code: (\d+)\. ")


class QueryError(Exception):
    """A request that failed; the text is what the server would put into the body of its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, kind: tuple[int, str], message: str) -> "QueryError":
        """Make an error of our own in the server's form."""
        code, name = kind
        return cls(code, f"Code: {code}. DB::Exception: {message} ({name})")

    @property
    def http_status(self) -> int:
        """The status that the server answers with."""
        return _STATUS_OF_CODE.get(self.code, 500)


def engine_error(error: BaseException) -> QueryError:
    """Translate what chDB raised; its message begins with, or contains, `Code: N.`."""
    text = str(error)
    found = _CODE.search(text)
    if found is None:
        return QueryError(_UNKNOWN_EXCEPTION, f"Code: {_UNKNOWN_EXCEPTION}. DB::Exception: {text} (UNKNOWN_EXCEPTION)")
    return QueryError(int(found[1]), text[found.start() :])
