"""Bearer tokens: whose statistics somebody may ask for.

A token has 256 random bits, so a plain SHA-256 of it can be kept: there is nothing to guess. The text is shown once,
where it is made, and kept nowhere.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

__all__ = ["EVERY_ORGANIZATION", "LOOPBACK", "Access", "ApiToken", "Tokens", "make_token", "token_sha256"]

EVERY_ORGANIZATION: Final = "*"
_PREFIX: Final = "lms_"
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What is kept of a token: its digest (hex), and what it opens until when; None = for ever."""

    sha256: str = field(repr=False)
    organization_id: str
    label: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """What a token opens; `label` names it in the log."""

    organization_ids: frozenset[str]
    label: str = ""

    def may_ask(self, organization_id: str) -> bool:
        """Tell whether an organization's statistics are open to it."""
        return not self.organization_ids.isdisjoint((organization_id, EVERY_ORGANIZATION))


#: Of everybody, where no token is kept and only this machine can ask.
LOOPBACK: Final = Access(frozenset({EVERY_ORGANIZATION}), "loopback")


def make_token(random_bytes: Callable[[int], bytes]) -> str:
    """Return the text of a new token."""
    return _PREFIX + urlsafe_b64encode(random_bytes(_BYTES)).rstrip(b"=").decode()


def token_sha256(text: str) -> str:
    """Return what is kept of a token."""
    # What a header holds beyond ASCII comes as Latin-1, and is no token of ours.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """All tokens of a process."""

    def __init__(self, tokens: Iterable[ApiToken]) -> None:
        self._tokens = tuple(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def access(self, text: str, now: datetime) -> Access | None:
        """Return what a token opens; None for one that is not known, or whose time is over.

        Every token is compared, each in constant time: how long it takes says nothing of them.
        """
        digest = token_sha256(text)
        found = [
            token
            for token in self._tokens
            if hmac.compare_digest(token.sha256, digest) & (token.expires_at is None or now < token.expires_at)
        ]
        if not found:
            return None
        return Access(frozenset(token.organization_id for token in found), found[0].label)
