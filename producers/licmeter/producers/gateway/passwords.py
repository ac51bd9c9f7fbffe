"""Session passwords: checked once, remembered while project and password stay the same.

Checking takes some 50 ms by design, so it happens beside the event loop, a few at a time.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from typing import Final

from licmeter.producers.gateway.problems import TooMany
from licmeter.schemas.session_passwords import PASSWORD_CHARS_MAX, verify_password

__all__ = ["Passwords"]

REMEMBERED_MAX: Final = 10_000
AT_A_TIME_MAX: Final = 2
#: Who comes when so many wait is sent away: else wrong passwords, which are never remembered, could keep all waiting.
WAITING_MAX: Final = 32


class Passwords:
    """Answers whether a password is that of a project."""

    def __init__(self) -> None:
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._pepper = secrets.token_bytes(32)  # so that the memory holds nothing that could be looked up
        self._places = asyncio.Semaphore(AT_A_TIME_MAX)
        self._waiting = 0

    async def check(self, given: str | None, stored: str | None) -> bool | None:
        """Return whether `given` is right; None = the project has none. Raises `TooMany` when too many wait."""
        if stored is None:
            return None
        if given is None or len(given) > PASSWORD_CHARS_MAX:
            return False
        mark = hashlib.blake2b(f"{stored}\0{given}".encode(), key=self._pepper, digest_size=32).digest()
        if mark in self._good:
            self._good.move_to_end(mark)
            return True
        if self._waiting >= WAITING_MAX:
            raise TooMany("too many session passwords are being checked", retry_after_s=1.0)
        self._waiting += 1
        try:
            async with self._places:
                good = await asyncio.to_thread(verify_password, given, stored)
        finally:
            self._waiting -= 1
        if good:
            self._good[mark] = None
            if len(self._good) > REMEMBERED_MAX:
                self._good.popitem(last=False)
        return good
