"""Session passwords: how a project's is kept, `scrypt$<log2 n>$<r>$<p>$<salt>$<hash>`, the last two in base64.

People choose them, so checking one must be slow; and bounded, as the cost stands in a document.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

__all__ = ["hash_password", "verify_password"]

_LOG2_N, _R, _P = 14, 8, 1  # 16 MiB and some 50 ms
_LOG2_N_MAX: Final = 17
_R_MAX, _P_MAX = 16, 4
_MEMORY_MAX: Final = 256 * 1024 * 1024
_HASH_BYTES: Final = 32


def hash_password(password: str, salt: bytes) -> str:
    """Return what the catalog keeps of a password; `salt` is 16 random bytes."""
    digest = _scrypt(password, salt, _LOG2_N, _R, _P)
    return "$".join(("scrypt", str(_LOG2_N), str(_R), str(_P), _text(salt), _text(digest)))


def verify_password(password: str, stored: str) -> bool:
    """Tell whether a password is the one that is kept; what cannot be read, or costs too much, is nobody's."""
    try:
        name, log2_n, r, p, salt, digest = stored.split("$")
        cost = int(log2_n), int(r), int(p)
        expected = base64.b64decode(digest, validate=True)
        if name != "scrypt" or len(expected) != _HASH_BYTES or not _affordable(*cost):
            return False
        found = _scrypt(password, base64.b64decode(salt, validate=True), *cost)
    except (ValueError, binascii.Error, MemoryError):
        return False
    return hmac.compare_digest(found, expected)


def _affordable(log2_n: int, r: int, p: int) -> bool:
    return 1 <= log2_n <= _LOG2_N_MAX and 1 <= r <= _R_MAX and 1 <= p <= _P_MAX


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**log2_n, r=r, p=p, maxmem=_MEMORY_MAX, dklen=_HASH_BYTES)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
