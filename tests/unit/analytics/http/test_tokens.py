"""Tokens: what they open, and what is kept of them."""

import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest

from licmeter.analytics.http.config import ApiConfig, is_loopback
from licmeter.analytics.http.tokens import ApiToken, Tokens, make_token, token_sha256

NOW = datetime(2031, 3, 8, tzinfo=UTC)


async def nowhere() -> None:
    raise AssertionError("nothing is connected to")


def kept(text: str, organization: str = "300417", **fields: object) -> ApiToken:
    return ApiToken(token_sha256(text), organization, **fields)  # type: ignore[arg-type]


def test_a_token_has_256_random_bits_and_only_its_digest_is_kept() -> None:
    text = make_token(os.urandom)
    assert len(text) == len("lms_") + 43
    assert text != make_token(os.urandom)
    assert token_sha256(text) == hashlib.sha256(text.encode()).hexdigest()
    assert token_sha256(text) not in repr(kept(text))


def test_q11_a_token_opens_its_organization_and_no_other() -> None:
    access = Tokens([kept("a", "300417"), kept("b", "500100")]).access("a", NOW)
    assert access is not None
    assert access.may_ask("300417")
    assert not access.may_ask("500100")
    assert not access.may_ask("")
    assert not access.may_ask("*")


def test_a_token_may_be_kept_for_several_organizations_or_for_all() -> None:
    several = Tokens([kept("a", "300417"), kept("a", "500100")]).access("a", NOW)
    every = Tokens([kept("a", "*")]).access("a", NOW)
    assert several is not None
    assert every is not None
    assert [several.may_ask(each) for each in ("300417", "500100", "1")] == [True, True, False]
    assert every.may_ask("1")


@pytest.mark.parametrize("text", ["", "b", "A", "a ", "ä", "\x00", "a" * 100_000, "\ud800"])
def test_another_text_opens_nothing(text: str) -> None:
    assert Tokens([kept("a")]).access(text, NOW) is None


def test_a_token_ends_at_its_instant() -> None:
    tokens = Tokens([kept("a", expires_at=NOW)])
    assert tokens.access("a", NOW - timedelta(microseconds=1)) is not None
    assert tokens.access("a", NOW) is None


def test_a_token_that_ended_for_one_organization_still_opens_the_other() -> None:
    access = Tokens([kept("a", "300417", expires_at=NOW), kept("a", "500100")]).access("a", NOW)
    assert access is not None
    assert access.organization_ids == {"500100"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_nothing_is_served_beyond_this_machine_without_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="loopback"):
        ApiConfig(connect=nowhere, host=host)  # type: ignore[arg-type]
    ApiConfig(connect=nowhere, host=host, tokens=(kept("a"),))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_may_be_served_without_a_token(host: str) -> None:
    ApiConfig(connect=nowhere, host=host)  # type: ignore[arg-type]
