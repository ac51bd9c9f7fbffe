"""Session passwords: how a project's is kept, `scrypt$<log2 n>$<r>$<p>$<salt>$<hash>`, the last two in base64.

People choose them, so checking one must be slow; and bounded, as the cost stands in a document.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

__all__ = ["PASSWORD_CHARS_MAX", "SALT_BYTES", "hash_password", "password_mistake", "verify_password"]

PASSWORD_CHARS_MAX: Final = 256
SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_LOG2_N, _R, _P = 14, 8, 1  # 16 MiB and some 50 ms
#: n × r × p that a document may ask for: 128 MiB and some 400 ms, the highest that is recommended (OWASP, 2023).
_COST_MAX: Final = 2**20
_LOG2_N_MAX: Final = 17
#: scrypt takes 128 × n × r bytes; the rest is what OpenSSL takes beside.
_MEMORY_MAX: Final = 128 * _COST_MAX + 1024 * 1024
#: Above what 256 characters of a document can hold anyway.
_STORED_CHARS_MAX: Final = 256


def password_mistake(password: str) -> str | None:
    """Say why a text cannot be a session password; None = it can. It travels in an HTTP header."""
    if not 0 < len(password) <= PASSWORD_CHARS_MAX:
        return f"a session password has 1 to {PASSWORD_CHARS_MAX} characters"
    if not (password.isascii() and password.isprintable()):
        return "a session password has printable ASCII characters only: HTTP headers carry no others reliably"
    if password != password.strip():
        return "a session password neither begins nor ends with a space: HTTP headers lose it"
    return None


def hash_password(password: str, salt: bytes) -> str:
    """Return what the catalog keeps of a password; `salt` is `SALT_BYTES` random bytes."""
    digest = _scrypt(password, salt, _LOG2_N, _R, _P)
    return "$".join(("scrypt", str(_LOG2_N), str(_R), str(_P), _text(salt), _text(digest)))


def verify_password(password: str, stored: str) -> bool:
    """Tell whether a password is the one that is kept; what cannot be read, or costs too much, is nobody's.

    Two texts of the same length take the same time, whatever they have in common.
    """
    if len(stored) > _STORED_CHARS_MAX:
        return False
    try:
        name, log2_n, r, p, salt, digest = stored.split("$")
        cost = _number(log2_n), _number(r), _number(p)
        expected = base64.b64decode(digest, validate=True)
        if name != "scrypt" or len(expected) != _HASH_BYTES or not _affordable(*cost):
            return False
        found = _scrypt(password, base64.b64decode(salt, validate=True), *cost)
    except (ValueError, binascii.Error, MemoryError):
        return False
    return hmac.compare_digest(found, expected)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("no number")
    return int(text)


def _affordable(log2_n: int, r: int, p: int) -> bool:
    return 1 <= log2_n <= _LOG2_N_MAX and r >= 1 and p >= 1 and 2**log2_n * r * p <= _COST_MAX


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**log2_n, r=r, p=p, maxmem=_MEMORY_MAX, dklen=_HASH_BYTES)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
