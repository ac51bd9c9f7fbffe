"""Session passwords: what is kept, what opens, and what a document cannot make a verifier do."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.schemas import session_passwords
from licmeter.schemas.session_passwords import (
    PASSWORD_CHARS_MAX,
    SALT_BYTES,
    hash_password,
    password_mistake,
    verify_password,
)

SALT = bytes(range(SALT_BYTES))
STORED = hash_password("open sesame", SALT)


def kept(log2_n: int, r: int, p: int) -> str:
    """Return the hash of "x" at another cost."""
    digest = hashlib.scrypt(b"x", salt=SALT, n=2**log2_n, r=r, p=p, maxmem=2**30, dklen=32)
    return "$".join(("scrypt", str(log2_n), str(r), str(p), *(base64.b64encode(b).decode() for b in (SALT, digest))))


def test_the_form() -> None:
    name, log2_n, r, p, salt, digest = STORED.split("$")
    assert (name, log2_n, r, p) == ("scrypt", "14", "8", "1")
    assert (base64.b64decode(salt), len(base64.b64decode(digest))) == (SALT, 32)
    assert len(STORED) < 256  # what the catalog takes
    assert "sesame" not in STORED


def test_the_password_opens_and_no_other_does() -> None:
    assert verify_password("open sesame", STORED)
    for other in ("", "open sesame ", "Open sesame", "open sesam", "öpen sesame", "\ud800"):
        assert not verify_password(other, STORED)


def test_a_salt_makes_the_same_password_another_hash() -> None:
    assert hash_password("open sesame", SALT[::-1]) != STORED


@pytest.mark.parametrize("cost", [(14, 8, 1), (10, 1, 1), (17, 8, 1), (14, 8, 4)], ids=str)
def test_other_costs_within_the_bound_are_checked(cost: tuple[int, int, int]) -> None:
    assert verify_password("x", kept(*cost))


@pytest.mark.parametrize(
    "cost",
    ["18$8$1", "17$9$1", "17$8$2", "30$8$1", "63$1$1", "999999999$1$1", "1$1$1048576", "10$1073741824$1", "14$8$99"],
)
def test_what_would_cost_too_much_is_not_begun(cost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(*_: Any) -> bytes:
        raise AssertionError("scrypt was called")

    monkeypatch.setattr(session_passwords, "_scrypt", begun)
    _, _, _, _, salt, digest = STORED.split("$")
    assert not verify_password("open sesame", f"scrypt${cost}${salt}${digest}")


PARTS = STORED.split("$")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "h",
        "open sesame",
        "$$$$$",
        STORED[:-4],
        STORED + "$",
        STORED.replace("scrypt", "bcrypt"),
        STORED.replace("$14$", "$+14$"),
        STORED.replace("$14$", "$ 14$"),
        STORED.replace("$14$", "$1_4$"),
        STORED.replace("$14$", "$١٤$"),
        STORED.replace("$14$", "$0$"),
        STORED.replace("$14$", "$-1$"),
        STORED.replace("$8$", "$0$"),
        STORED.replace("$8$", "$8.0$"),
        "$".join([*PARTS[:5], "####"]),
        "$".join([*PARTS[:4], "é", PARTS[5]]),
        "$".join([*PARTS[:5], PARTS[5] + "AAAA"]),
        STORED + "A" * 300,
    ],
)
def test_what_cannot_be_read_opens_nothing(stored: str) -> None:
    assert not verify_password("open sesame", stored)


@given(st.text(max_size=40))
def test_no_stored_text_makes_the_verifier_fail(stored: str) -> None:
    assert not verify_password("x", stored)
    assert not verify_password("x", f"scrypt${stored}")


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("", "1 to 256"),
        ("x" * (PASSWORD_CHARS_MAX + 1), "1 to 256"),
        ("schlüssel", "ASCII"),
        ("two\nlines", "printable"),
        ("\x00", "printable"),
        (" x", "space"),
        ("x ", "space"),
    ],
)
def test_what_cannot_travel_in_a_header_is_no_password(password: str, word: str) -> None:
    said = password_mistake(password)
    assert said is not None
    assert word in said
    assert not password.strip() or password not in said


def test_what_can() -> None:
    assert password_mistake("x" * PASSWORD_CHARS_MAX) is None
    assert password_mistake('it\'s $ome: p,a;s=s "word" ~') is None
