"""The text of a license key, and what the catalog keeps of it."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import cycle
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from licmeter.schemas.catalog import LICENSE_KEYS_MAX, LicenseKey, Organization, Project
from licmeter.schemas.license_keys import (
    KEY_CHARS_MAX,
    digest_matches,
    make_license_key,
    parse_license_key,
    secret_digest,
    usable,
)
from tests.support.build import item, organization

NOW = datetime(2031, 3, 8, 10, tzinfo=UTC)
ID, SECRET = "Ab3" * 5 + "x", "Zy9" * 14 + "q"
TEXT = f"lmk_{ID}_{SECRET}"


def make(seed: int = 1, **fields: Any) -> tuple[str, LicenseKey]:
    return make_license_key(Random(seed).randbytes, created_at=NOW, **fields)


def test_a_key_is_read_back_and_its_digest_is_what_is_kept() -> None:
    text, key = make(label="kiosk 7", expires_at=NOW + timedelta(days=1))
    assert len(text) == KEY_CHARS_MAX
    key_id, secret = parse_license_key(text) or ("", "")
    assert (key.key_id, key.label, key.created_at) == (key_id, "kiosk 7", NOW)
    assert key.secret_sha256 == secret_digest(secret)
    assert digest_matches(secret, key.secret_sha256)
    assert not digest_matches(secret[::-1], key.secret_sha256)


def test_what_is_kept_has_no_secret_and_shows_no_digest() -> None:
    text, key = make()
    secret = text.rpartition("_")[2]
    project = Project(project_id="1-a", license_keys=(key,), session_password_hash="scrypt$1")
    assert secret not in key.model_dump_json()
    assert key.secret_sha256 not in repr(project) + str(key)
    assert "scrypt" not in repr(project)


def test_the_same_randomness_gives_the_same_key_and_other_another() -> None:
    assert make(1) == make(1)
    assert len({make(seed)[1].key_id for seed in range(50)}) == 50


def test_the_system_s_randomness_does() -> None:
    assert parse_license_key(make_license_key(os.urandom, created_at=NOW)[0]) is not None


def test_each_character_is_as_likely_as_any_other() -> None:
    """Bytes 248 to 255 are passed over: with them the first eight would be a quarter likelier."""
    source, seen = Random(7).randbytes, Counter[str]()
    for _ in range(1_000):
        seen.update(make_license_key(source, created_at=NOW)[0][4:].replace("_", ""))
    assert len(seen) == 62
    assert max(seen.values()) < min(seen.values()) * 1.22


def test_bytes_that_are_passed_over_are_asked_for_again() -> None:
    answers = cycle((b"\xff\xf8" * 32, b"\x00\xf7" * 32))
    text, _ = make_license_key(lambda count: next(answers)[:count], created_at=NOW)
    assert text == f"lmk_{'A9' * 8}_{'A9' * 21}A"


def test_a_key_is_parsed() -> None:
    assert parse_license_key(TEXT) == (ID, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "a",
        f" {TEXT[:-1]}",
        f"{TEXT[:-1]}\n",
        f"{TEXT}\n",
        TEXT.upper(),
        TEXT.replace("lmk_", "lmk-"),
        f"lmk_{ID}a{SECRET}",
        f"lmk_{ID[:-1]}__{SECRET}",
        f"lmk_{ID}_{SECRET[:-1]}_",
        f"lmk_{ID}_{SECRET[:-1]}é",
        f"lmk_{ID[:-1]}٣_{SECRET}",
        f"lmk_{SECRET}_{ID}",
    ],
)
def test_another_form_is_no_key(text: str) -> None:
    assert parse_license_key(text) is None


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    assert parse_license_key(text) is None


def test_a_long_text_is_refused_by_its_length_alone() -> None:
    class Long(str):
        __slots__ = ()

        def __getitem__(self, *_: object) -> str:
            raise AssertionError("looked into")

    assert parse_license_key(Long("lmk_" + "a" * 1_000_000)) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"expires_at": NOW + timedelta(seconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"expires_at": NOW - timedelta(days=1)}, False),
        ({"revoked_at": NOW}, False),
        ({"revoked_at": NOW + timedelta(seconds=1)}, True),
        ({"revoked_at": NOW, "expires_at": NOW + timedelta(days=1)}, False),
        ({"revoked_at": NOW + timedelta(days=1), "expires_at": NOW}, False),
    ],
)
def test_usable(fields: dict[str, Any], expected: bool) -> None:
    assert usable(make()[1].model_copy(update=fields), NOW) is expected


def stated(**changes: Any) -> dict[str, Any]:
    return make()[1].model_dump() | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"key_id": "short"},
        {"key_id": "with_underscore_"},
        {"key_id": f"{ID}\n"},
        {"secret_sha256": "F" * 64},
        {"secret_sha256": "0" * 63},
        {"label": "x" * 129},
        {"created_at": "2031-03-08T10:00:00"},
        {"secret": SECRET},
    ],
    ids=str,
)
def test_what_the_catalog_does_not_take(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LicenseKey.model_validate(stated(**changes))


def of_projects(*keys: list[dict[str, Any]]) -> Organization:
    projects = [{"project_id": f"300417-p{n}", "license_keys": each} for n, each in enumerate(keys)]
    return organization(item(), projects=projects, default_project_id="300417-p0")


@pytest.mark.parametrize(
    "build", [lambda key: of_projects([key, key]), lambda key: of_projects([key], [key])], ids=["one", "two projects"]
)
def test_a_key_id_stands_once_in_a_document(build: Callable[[dict[str, Any]], Organization]) -> None:
    with pytest.raises(ValidationError, match=f"license key {make()[1].key_id} stands 2 times"):
        build(stated())


def test_the_number_of_keys_is_bounded() -> None:
    many = [make(seed)[1].model_dump() for seed in range(LICENSE_KEYS_MAX + 1)]
    assert len(of_projects(many[1:]).projects[0].license_keys) == LICENSE_KEYS_MAX
    with pytest.raises(ValidationError):
        of_projects(many)


def test_keys_survive_the_journey_through_a_topic() -> None:
    document = of_projects([stated(expires_at=NOW + timedelta(days=3), label="x")], [])
    assert Organization.model_validate_json(document.model_dump_json(exclude_defaults=True)) == document
