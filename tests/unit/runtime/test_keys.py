"""What key commands make of a project, and what `license apply` and `license list` make of keys."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from licmeter.runtime import keys
from licmeter.runtime.differences import difference
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.licenses import keep_access, public_document, read_documents
from licmeter.schemas.catalog import LICENSE_KEYS_MAX, LicenseKey, Organization, Project
from licmeter.schemas.license_keys import make_license_key, parse_license_key, usable
from licmeter.schemas.session_passwords import verify_password
from tests.support.build import ORGANIZATION, PROJECT, item, organization

NOW = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SALT = bytes(range(16))


def key(seed: int = 1, **fields: Any) -> LicenseKey:
    return make_license_key(Random(seed).randbytes, created_at=NOW - DAY)[1].model_copy(update=fields)


def project(*kept: LicenseKey, **fields: Any) -> Project:
    return Project(project_id=PROJECT, license_keys=kept, **fields)


def rotate(found: Project, old: LicenseKey, overlap_days: int = 30, new: LicenseKey | None = None) -> Project:
    ends_at = NOW + overlap_days * DAY
    return keys.rotate_key(found, old.key_id, new or key(2), old_ends_at=ends_at, now=NOW)


def test_a_key_is_added_behind_the_others() -> None:
    assert keys.add_key(project(key(1)), key(2), NOW) == project(key(1), key(2))


def test_a_rotated_key_works_until_the_overlap_ends() -> None:
    old, new = rotate(project(key(label="shop")), key()).license_keys
    assert (old.expires_at, old.revoked_at, new.expires_at) == (NOW + 30 * DAY, None, None)
    assert (old.label, new.label) == ("shop", "shop")
    assert usable(old, NOW + 29 * DAY)
    assert not usable(old, NOW + 30 * DAY)
    assert usable(new, NOW)


def test_a_rotation_makes_no_key_live_longer() -> None:
    soon = NOW + 3 * DAY
    old, _ = rotate(project(key(expires_at=soon)), key()).license_keys
    assert old.expires_at == soon


def test_without_overlap_the_old_key_ends_at_once() -> None:
    old, _ = rotate(project(key()), key(), 0).license_keys
    assert keys.key_state(old, NOW) is keys.KeyState.ENDED


@pytest.mark.parametrize(("fields", "word"), [({"revoked_at": NOW}, "was revoked"), ({"expires_at": NOW}, "has ended")])
def test_a_key_that_opens_nothing_is_not_rotated(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        rotate(project(key(**fields)), key())


def test_a_key_is_revoked_once() -> None:
    revoked = keys.revoke_key(project(key(1), key(2)), key(1).key_id, NOW)
    assert [each.revoked_at for each in revoked.license_keys] == [NOW, None]
    with pytest.raises(UsageError, match=f"key {key(1).key_id} of project {PROJECT} was revoked on 2031-03-08"):
        keys.revoke_key(revoked, key(1).key_id, NOW + DAY)


def test_a_revocation_that_is_to_come_is_brought_forward() -> None:
    (revoked,) = keys.revoke_key(project(key(revoked_at=NOW + DAY)), key().key_id, NOW).license_keys
    assert revoked.revoked_at == NOW


@pytest.mark.parametrize(
    "change",
    [lambda found: keys.revoke_key(found, key(9).key_id, NOW), lambda found: rotate(found, key(9))],
    ids=["revoke", "rotate"],
)
def test_a_key_that_is_not_there(change: Callable[[Project], Project]) -> None:
    with pytest.raises(UsageError, match=f"project {PROJECT} has no key {key(9).key_id}"):
        change(project(key()))


def full(dead: int) -> Project:
    """As many keys as there may be; the oldest ones were revoked."""
    made = [key(n, created_at=NOW + timedelta(minutes=n)) for n in range(LICENSE_KEYS_MAX)]
    return project(*(each.model_copy(update={"revoked_at": NOW} if n < dead else {}) for n, each in enumerate(made)))


def test_in_a_full_list_the_oldest_key_that_opens_nothing_makes_room() -> None:
    before = full(2)
    after = keys.add_key(before, key(1_000), NOW)
    assert len(after.license_keys) == LICENSE_KEYS_MAX
    assert keys.ProjectChange(before, after).forgotten == [before.license_keys[0].key_id]


def test_a_list_full_of_live_keys_takes_no_more() -> None:
    with pytest.raises(UsageError, match="has 100 keys that work"):
        keys.add_key(full(0), key(1_000), NOW)
    assert len(rotate(full(0), full(0).license_keys[5], 0, key(1_000)).license_keys) == LICENSE_KEYS_MAX


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(seconds=1)}, "ends"),
        ({"revoked_at": NOW + timedelta(seconds=1)}, "ends"),
        ({"expires_at": NOW}, "ended"),
        ({"revoked_at": NOW}, "revoked"),
        ({"revoked_at": NOW, "expires_at": NOW - DAY}, "revoked"),
    ],
)
def test_states(fields: dict[str, Any], state: str) -> None:
    kept = key(**fields)
    shown = keys.key_view(PROJECT, kept, NOW)
    assert (shown["state"], shown["key_id"]) == (state, kept.key_id)
    assert kept.secret_sha256 not in str(shown)
    assert usable(kept, NOW) is (state in ("active", "ends"))


def test_a_whole_license_key_stands_for_its_id_and_is_never_repeated() -> None:
    text, kept = make_license_key(Random(1).randbytes, created_at=NOW)
    secret = (parse_license_key(text) or ("", ""))[1]
    assert keys.key_id_of(text) == kept.key_id
    for wrong in (f"{text}x", secret, text[:-1]):
        with pytest.raises(UsageError) as caught:
            keys.key_id_of(wrong)
        assert wrong not in caught.value.message + caught.value.hint
    with pytest.raises(UsageError) as caught:
        keys.owner_of({}, text)
    assert secret not in caught.value.message + caught.value.hint
    assert keys.label_mistake(text) is not None


@pytest.mark.parametrize("label", ["x" * 129, "two\nlines", "\x1b[31m"])
def test_a_label_that_does_not_go(label: str) -> None:
    said = keys.label_mistake(label)
    assert said is not None
    assert label not in said


@pytest.mark.parametrize("label", ["", "x" * 128, "Köln, till 4 [red]"])
def test_a_label_that_does(label: str) -> None:
    assert keys.label_mistake(label) is None


def test_projects_are_found_by_their_id() -> None:
    document = organization(item())
    assert keys.owner_of({ORGANIZATION: document}, PROJECT) is document
    with pytest.raises(UsageError, match="1-x is not in the catalog"):
        keys.owner_of({ORGANIZATION: document}, "1-x")
    with pytest.raises(UsageError, match="no license was applied yet"):
        keys.owner_of({}, PROJECT)


def test_a_session_password_is_set_and_removed() -> None:
    changed = keys.set_password(project(), "open sesame", SALT)
    assert verify_password("open sesame", changed.session_password_hash or "")
    assert keys.set_password(changed, None, SALT) == project()
    with pytest.raises(UsageError, match="ASCII") as caught:
        keys.set_password(project(), "schlüssel", SALT)
    assert "schlüssel" not in caught.value.message


def test_what_no_worker_confirmed_is_said() -> None:
    keys.require_current(keys.ProjectChange(project(), project(key())))
    with pytest.raises(ServiceError, match="no worker has made it current yet"):
        keys.require_current(keys.ProjectChange(project(), project(key()), current=False))


# What `license apply` and `license list` make of them.


def stated(**fields: Any) -> Organization:
    """A document as it is read from a file: a field that is not given is not stated."""
    return organization(item(), project=fields)


def current() -> Organization:
    kept = keys.set_password(project(key(label="shop")), "open sesame", SALT)
    return stated(license_keys=kept.license_keys, session_password_hash=kept.session_password_hash)


def only(document: Organization) -> Project:
    return document.projects[0]


def test_what_a_file_does_not_state_stays() -> None:
    assert keep_access(stated(), current()) == current()
    assert keep_access(stated(), None) == stated()
    renamed = only(keep_access(stated(name="new"), current()))
    assert (renamed.name, renamed.license_keys) == ("new", only(current()).license_keys)


def test_what_a_file_states_replaces_also_when_it_is_empty() -> None:
    emptied = only(keep_access(stated(license_keys=[], session_password_hash=None), current()))
    assert (emptied.license_keys, emptied.session_password_hash) == ((), None)
    assert only(keep_access(stated(license_keys=[key(7)]), current())).license_keys == (key(7),)
    assert only(keep_access(stated(license_keys=[]), current())).session_password_hash is not None


def test_the_difference_between_absent_and_empty_survives_the_file(tmp_path: Path) -> None:
    file = tmp_path / "license.yaml"
    text = f"organization_id: '{ORGANIZATION}'\nprojects:\n  - project_id: {PROJECT}\n"
    file.write_text(text)
    assert only(keep_access(read_documents([file])[0], current())).license_keys == only(current()).license_keys
    file.write_text(f"{text}    license_keys: []\n    session_password_hash:\n")
    emptied = only(keep_access(read_documents([file])[0], current()))
    assert (emptied.license_keys, emptied.session_password_hash) == ((), None)


def test_a_key_that_moves_to_another_project_must_leave_the_first() -> None:
    moved = [{"project_id": PROJECT}, {"project_id": f"{ORGANIZATION}-b", "license_keys": only(current()).license_keys}]
    with pytest.raises(UsageError, match=f"license key {key().key_id} stands 2 times") as caught:
        keep_access(organization(projects=moved), current())
    assert key().secret_sha256 not in caught.value.message


NAME = f"license key {key().key_id} (shop) of project {PROJECT}"
ROTATED = rotate(only(current()), key())
CASES = {
    "new organization": (None, current(), f"+ {NAME}: label shop"),
    "first key": (stated(), current(), f"+ {NAME}: label shop, created_at 2031-03-07T10:00:00Z"),
    "first password": (stated(), current(), f"+ session password of project {PROJECT}"),
    "key gone": (current(), stated(), f"- {NAME}"),
    "password gone": (current(), stated(), f"- session password of project {PROJECT}"),
    "project gone": (current(), organization(projects=[], default_project_id=None), f"- {NAME}"),
    "rotated": (
        current(),
        stated(license_keys=ROTATED.license_keys),
        f"~ {NAME}: expires_at None → 2031-04-07T10:00:00Z",
    ),
    "another secret": (
        current(),
        stated(license_keys=[key(label="shop", secret_sha256="0" * 64)]),
        f"~ {NAME}: another secret",
    ),
    "another password": (
        current(),
        stated(session_password_hash=keys.set_password(project(), "other", SALT).session_password_hash),
        f"~ session password of project {PROJECT}",
    ),
}


@pytest.mark.parametrize(("old", "new", "line"), CASES.values(), ids=CASES)
def test_changes_are_shown_by_key_id_and_never_by_hash(old: Organization | None, new: Organization, line: str) -> None:
    lines = difference(old, new).lines
    assert any(each.startswith(line) for each in lines), lines
    said = "\n".join(lines)
    assert not any(secret in said for secret in (key().secret_sha256, "0" * 64, "scrypt", "secret_sha256"))


def test_keys_alone_are_no_change_of_the_project() -> None:
    assert not difference(current(), current()).lines
    assert not [line for line in difference(stated(), current()).lines if line.startswith("~ project")]


def test_a_document_for_reading_has_neither_keys_nor_hashes_and_can_be_applied_again() -> None:
    shown = public_document(current())
    assert not any(secret in str(shown) for secret in (key().key_id, key().secret_sha256, "scrypt"))
    assert keep_access(Organization.model_validate(shown), current()) == current()


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "license.yaml"
    file.write_text("projects:\n  - session_password_hash: scrypt$14: [\n")
    with pytest.raises(UsageError, match=r"line \d+, column \d+") as caught:
        read_documents([file])
    assert "scrypt" not in caught.value.message
