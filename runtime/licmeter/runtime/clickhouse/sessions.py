"""HTTP sessions: a connection that lives from request to request, until nobody used it for its timeout."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from licmeter.runtime.clickhouse.engine import Connection, Engine
from licmeter.runtime.clickhouse.errors import (
    INVALID_SESSION_TIMEOUT,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    TOO_MANY_SESSIONS,
    QueryError,
)

__all__ = ["Session", "Sessions"]

_TIMEOUT_S_DEFAULT: Final = 60  # the server's default_session_timeout
_TIMEOUT_S_MAX: Final = 3600  # the server's max_session_timeout
#: About 0.1 MB each; a client that forgets to close its sessions must not fill the memory.
SESSIONS_MAX: Final = 1_000


@dataclass(slots=True)
class Session:
    """A connection with the moment at which it is given up."""

    connection: Connection
    timeout_s: int
    expires_at: float
    locked: bool = True


class Sessions:
    """All sessions; called from the event loop only, so that nothing here needs a lock."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def acquire(self, session_id: str, *, timeout: str | None, must_exist: bool) -> Session:
        """Return the session, locked for one request; opens it where it does not exist."""
        timeout_s = _timeout_s(timeout)
        self.close_expired()
        session = self._open.get(session_id)
        if session is None:
            if must_exist:
                raise QueryError.of(SESSION_NOT_FOUND, f"Session {session_id} not found")
            if len(self._open) >= SESSIONS_MAX:
                raise QueryError.of(TOO_MANY_SESSIONS, f"More than {SESSIONS_MAX} sessions are open")
            session = Session(self._engine.connect(), timeout_s, expires_at=float("inf"))
            self._open[session_id] = session
        elif session.locked:
            raise QueryError.of(SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
        session.locked, session.timeout_s, session.expires_at = True, timeout_s, float("inf")
        return session

    def release(self, session_id: str, *, broken: bool = False) -> None:
        """End the request; a `broken` session is closed, because its settings could not be put back."""
        session = self._open[session_id]
        session.locked = False
        session.expires_at = self._clock() + session.timeout_s
        if broken:
            del self._open[session_id]
            session.connection.close()

    def close_expired(self) -> None:
        """Close the sessions whose time is over."""
        now = self._clock()
        for session_id in [key for key, session in self._open.items() if session.expires_at <= now]:
            self._open.pop(session_id).connection.close()

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1].connection.close()


def _timeout_s(timeout: str | None) -> int:
    if timeout is None:
        return _TIMEOUT_S_DEFAULT
    if not timeout.isdecimal() or not 0 < int(timeout) <= _TIMEOUT_S_MAX:
        raise QueryError.of(INVALID_SESSION_TIMEOUT, f"Session timeout {timeout!r}: 1 to {_TIMEOUT_S_MAX} seconds")
    return int(timeout)
