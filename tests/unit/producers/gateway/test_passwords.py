import asyncio

import pytest

from licmeter.producers.gateway.passwords import WAITING_MAX, Passwords
from licmeter.producers.gateway.problems import TooMany
from licmeter.schemas.session_passwords import hash_password

STORED = hash_password("open sesame", b"0123456789abcdef")


async def test_a_password_is_right_or_not_and_none_is_asked_for_where_there_is_none() -> None:
    passwords = Passwords()
    assert await passwords.check("anything", None) is None
    assert await passwords.check(None, STORED) is False
    assert await passwords.check("wrong", STORED) is False
    assert await passwords.check("x" * 257, STORED) is False
    assert await passwords.check("open sesame", STORED) is True


async def test_a_right_password_is_remembered_for_its_project_and_a_wrong_one_never() -> None:
    passwords = Passwords()
    assert await passwords.check("open sesame", STORED)
    assert await passwords.check("wrong", STORED) is False
    assert len(passwords._good) == 1
    assert not await passwords.check("open sesame", hash_password("another", b"0123456789abcdef"))


async def test_wrong_passwords_cannot_keep_everybody_waiting() -> None:
    passwords = Passwords()
    assert await passwords.check("open sesame", STORED)
    tried = [asyncio.create_task(passwords.check(f"wrong {n}", STORED)) for n in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await passwords.check("one more", STORED)
    assert await passwords.check("open sesame", STORED)  # who is known passes
    assert await asyncio.gather(*tried) == [False] * WAITING_MAX
    assert passwords._waiting == 0
