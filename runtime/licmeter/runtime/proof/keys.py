"""Ed25519 keys in PEM files, and signatures with them."""

import os
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from licmeter.runtime.errors import UsageError
from licmeter.runtime.proof.statement import signed_bytes

__all__ = [
    "key_id",
    "make_keys",
    "pseudonym_secret",
    "read_private_key",
    "read_public_key",
    "sign",
    "signature_holds",
]

#: Far more than a key has.
_FILE_BYTES_MAX: Final = 16_384


def make_keys(private: Path, public: Path) -> str:
    """Make a key pair in two new files, and return the key id; raises `UsageError` when one is there already."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for file in (private, public):
        if file.exists():
            raise UsageError(f"{file} is there already: a key that is replaced can sign nothing any more")
    _create(private, secret, 0o600)
    _create(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return key_id(key.public_key())


def _create(file: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
    except FileExistsError as error:
        raise UsageError(f"{file} is there already: a key that is replaced can sign nothing any more") from error
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """Read a private key; raises `UsageError` for anything else."""
    try:
        key = load_pem_private_key(_read(file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{file} is no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{file} is no Ed25519 key; `licmeter proof keygen` makes one")
    return key


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Read a public key; raises `UsageError` for anything else."""
    try:
        key = load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{file} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file} is no Ed25519 key")
    return key


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def key_id(key: Ed25519PublicKey) -> str:
    """Return what names a key: SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def sign(document: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the document with its signature."""
    document = document | {"signature": {"algorithm": "Ed25519", "key_id": key_id(key.public_key())}}
    value = b64encode(key.sign(signed_bytes(document))).decode()
    return document | {"signature": document["signature"] | {"value": value}}


def pseudonym_secret(key: Ed25519PrivateKey) -> bytes:
    """Return the secret by which clients get pseudonyms: only who has the private key can make them again."""
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return sha256(b"licmeter pseudonyms v1\n" + raw).digest()


def signature_holds(document: dict[str, Any], key: Ed25519PublicKey) -> bool:
    """Tell whether the signature of a well-formed document is that of the key."""
    text = document["signature"]["value"]
    value = b64decode(text)
    if b64encode(value).decode() != text:
        return False  # the last digit has bits that say nothing, and must be zero
    try:
        key.verify(value, signed_bytes(document))
    except InvalidSignature:
        return False
    return True
