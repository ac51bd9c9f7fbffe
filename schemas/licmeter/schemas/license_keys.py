"""The license key of a project: the text an application carries, and what the catalog keeps of it.

`lmk_<key id>_<secret>`. The catalog holds a digest of the secret only. It has 256 bits of randomness, so a plain
digest is as good as a slow one, and a gateway can afford it with every request.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from licmeter.schemas.catalog import LicenseKey

__all__ = ["KEY_CHARS_MAX", "digest_matches", "make_license_key", "parse_license_key", "secret_digest", "usable"]

KEY_ID_CHARS: Final = 16
SECRET_CHARS: Final = 43  # 62 ** 43 > 2 ** 256
KEY_CHARS_MAX: Final = len("lmk_") + KEY_ID_CHARS + 1 + SECRET_CHARS
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FORM: Final = re.compile(rf"lmk_([A-Za-z0-9]{{{KEY_ID_CHARS}}})_([A-Za-z0-9]{{{SECRET_CHARS}}})", re.ASCII)


def make_license_key(
    random_bytes: Callable[[int], bytes], *, created_at: datetime, label: str = "", expires_at: datetime | None = None
) -> tuple[str, LicenseKey]:
    """Return a new key's text, which exists nowhere else, and what the catalog keeps; randomness is passed in."""
    key_id, secret = _characters(random_bytes, KEY_ID_CHARS), _characters(random_bytes, SECRET_CHARS)
    kept = LicenseKey(
        key_id=key_id, secret_sha256=secret_digest(secret), label=label, created_at=created_at, expires_at=expires_at
    )
    return f"lmk_{key_id}_{secret}", kept


def parse_license_key(text: str) -> tuple[str, str] | None:
    """Return key id and secret, or None when the text has another form."""
    if len(text) != KEY_CHARS_MAX:
        return None
    found = _FORM.fullmatch(text)
    return None if found is None else (found[1], found[2])


def secret_digest(secret: str) -> str:
    """Return what the catalog keeps of a secret: SHA-256, as hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def digest_matches(secret: str, digest: str) -> bool:
    """Tell whether a secret has this digest; takes the same time for any secret."""
    return hmac.compare_digest(secret_digest(secret), digest)


def usable(key: LicenseKey, now: datetime) -> bool:
    """Tell whether a key opens anything at an instant."""
    if key.revoked_at is not None and now >= key.revoked_at:
        return False
    return key.expires_at is None or now < key.expires_at


def _characters(random_bytes: Callable[[int], bytes], count: int) -> str:
    """Return random characters, each of them as likely as any other."""
    characters = ""
    while len(characters) < count:
        # 248 = 4 × 62: bytes above it would make the first letters likelier.
        characters += "".join(_ALPHABET[byte % 62] for byte in random_bytes(count) if byte < 248)
    return characters[:count]
