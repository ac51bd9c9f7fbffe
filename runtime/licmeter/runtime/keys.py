"""License keys and session passwords of projects: what a change makes of a project, and how it becomes current.

A command reads the current document, changes one project in it, and sends the whole as a catalog change. Secrets come
in and out as arguments and results only: no error and no text made here has one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.licenses import current_documents, send_documents
from licmeter.runtime.settings import Settings
from licmeter.schemas.catalog import LICENSE_KEYS_MAX, LicenseKey, Organization, Project
from licmeter.schemas.license_keys import KEY_ID_CHARS, parse_license_key, usable
from licmeter.schemas.session_passwords import hash_password, password_mistake

__all__ = [
    "KeyState",
    "ProjectChange",
    "add_key",
    "change_project",
    "key_id_of",
    "key_state",
    "key_view",
    "label_mistake",
    "owner_of",
    "require_current",
    "revoke_key",
    "rotate_key",
    "set_password",
]

LABEL_CHARS_MAX: Final = 128
_PROJECT_ID: Final = re.compile(r"[A-Za-z0-9_.]{1,64}-[^\s/]{1,128}")
_KEY_ID: Final = re.compile(rf"[A-Za-z0-9]{{{KEY_ID_CHARS}}}")


class KeyState(StrEnum):
    """Where a key stands at an instant; the first two open the gateway."""

    ACTIVE = "active"
    ENDS = "ends"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """A project before and after; `current` tells whether a worker has confirmed it."""

    before: Project
    after: Project
    current: bool = True

    @property
    def forgotten(self) -> list[str]:
        """Ids of the keys that had to make room."""
        kept = {key.key_id for key in self.after.license_keys}
        return [key.key_id for key in self.before.license_keys if key.key_id not in kept]


async def change_project(
    settings: Settings, project_id: str, change: Callable[[Project], Project], *, dry_run: bool = False
) -> ProjectChange:
    """Change one project of the current catalog, and wait until that is current.

    Raises `UsageError` when there is no such project. What changes nothing is not sent.
    """
    document = owner_of(await current_documents(settings), project_id)
    before = next(project for project in document.projects if project.project_id == project_id)
    after = change(before)
    if dry_run or after == before:
        return ProjectChange(before, after)
    projects = tuple(after if project is before else project for project in document.projects)
    changed = document.model_copy(update={"projects": projects})
    return ProjectChange(before, after, await send_documents(settings, [changed], source="licmeter keys"))


def require_current(change: ProjectChange) -> None:
    """Raise `ServiceError` when no worker has confirmed a change: then it is in the log, and not in force."""
    if not change.current:
        raise ServiceError(
            f"the change of project {change.after.project_id} is in Kafka, but no worker has made it current yet",
            service="stream",
            hint="it will be once a worker runs (`licmeter stream`). Until then change nothing else of this "
            "organization: the later document replaces the earlier one",
        )


def owner_of(documents: Mapping[str, Organization], project_id: str) -> Organization:
    """Return the document that has a project; raises `UsageError`."""
    if not _PROJECT_ID.fullmatch(project_id):
        # Not repeated: it may be a license key in the wrong place.
        raise UsageError("no project id: its form is {organization id}-{name}, such as 300417-kiosk")
    if not documents:
        raise UsageError("no license was applied yet", hint="`licmeter license apply FILE.yaml` makes projects known")
    for document in documents.values():
        if any(project.project_id == project_id for project in document.projects):
            return document
    raise UsageError(f"project {project_id} is not in the catalog", hint="`licmeter license list` shows what is")


def key_id_of(text: str) -> str:
    """Read a key id, or take it from a whole license key; raises `UsageError`, which does not repeat the text."""
    parsed = parse_license_key(text)
    if parsed is not None:
        return parsed[0]
    if not _KEY_ID.fullmatch(text):
        raise UsageError(f"no key id: it has {KEY_ID_CHARS} letters and digits", hint="`licmeter keys list` shows them")
    return text


def label_mistake(label: str) -> str | None:
    """Say why a text cannot be a label; None = it can."""
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        return f"a label has up to {LABEL_CHARS_MAX} printable characters"
    return "a label is shown to everybody; a license key is for nobody" if "lmk_" in label else None


def add_key(project: Project, key: LicenseKey, now: datetime) -> Project:
    """Return the project with a further key.

    At `LICENSE_KEYS_MAX` keys that open nothing any more make room, the oldest first: who has one of them is told 401
    from then on instead of 403. Raises `UsageError` when there are none.
    """
    keys = list(project.license_keys)
    while len(keys) >= LICENSE_KEYS_MAX:
        dead = [each for each in keys if not usable(each, now)]
        if not dead:
            raise UsageError(
                f"project {project.project_id} has {LICENSE_KEYS_MAX} keys that work; more are not kept",
                hint="revoke one first: `licmeter keys revoke`",
            )
        keys.remove(min(dead, key=lambda each: each.created_at))
    return project.model_copy(update={"license_keys": (*keys, key)})


def rotate_key(project: Project, key_id: str, new: LicenseKey, *, old_ends_at: datetime, now: datetime) -> Project:
    """Return the project with a new key of the old one's label, and an end of the old one, never later than before."""
    old = _find(project, key_id)
    if not usable(old, now):
        raise UsageError(
            f"key {key_id} of project {project.project_id} {_past(old, now)}; there is nothing to rotate",
            hint="`licmeter keys create` makes a new one",
        )
    end = old_ends_at if old.expires_at is None else min(old.expires_at, old_ends_at)
    return add_key(_replace(project, old, expires_at=end), new.model_copy(update={"label": old.label}), now)


def revoke_key(project: Project, key_id: str, now: datetime) -> Project:
    """Return the project with a key that opens nothing from now on; raises `UsageError` when it was revoked before."""
    key = _find(project, key_id)
    if key.revoked_at is not None and key.revoked_at <= now:
        raise UsageError(f"key {key_id} of project {project.project_id} was revoked on {key.revoked_at:%Y-%m-%d}")
    return _replace(project, key, revoked_at=now)


def set_password(project: Project, password: str | None, salt: bytes) -> Project:
    """Return the project with a session password, or with none; raises `UsageError`, which does not repeat it."""
    if password is None:
        return project.model_copy(update={"session_password_hash": None})
    if (mistake := password_mistake(password)) is not None:
        raise UsageError(mistake)
    return project.model_copy(update={"session_password_hash": hash_password(password, salt)})


def key_state(key: LicenseKey, now: datetime) -> KeyState:
    """Tell where a key stands."""
    if key.revoked_at is not None and key.revoked_at <= now:
        return KeyState.REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return KeyState.ENDED
    return KeyState.ACTIVE if key.expires_at is None and key.revoked_at is None else KeyState.ENDS


def key_view(project_id: str, key: LicenseKey, now: datetime) -> dict[str, Any]:
    """Return all that may be shown of a key."""
    shown = key.model_dump(mode="json", include={"key_id", "label", "created_at", "expires_at", "revoked_at"})
    return {"project_id": project_id, "state": key_state(key, now).value} | shown


def _past(key: LicenseKey, now: datetime) -> str:
    return "was revoked" if key_state(key, now) is KeyState.REVOKED else "has ended"


def _find(project: Project, key_id: str) -> LicenseKey:
    for key in project.license_keys:
        if key.key_id == key_id:
            return key
    raise UsageError(
        f"project {project.project_id} has no key {key_id}",
        hint=f"`licmeter keys list {project.project_id}` shows its keys",
    )


def _replace(project: Project, key: LicenseKey, **fields: datetime) -> Project:
    changed = key.model_copy(update=fields)
    keys = tuple(changed if each is key else each for each in project.license_keys)
    return project.model_copy(update={"license_keys": keys})
