"""What a document changes, said in lines. Of license keys the ids, of session passwords whether there is one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from licmeter.schemas.catalog import AlertSettings, LicenseKey, Organization

__all__ = ["CatalogDifference", "difference"]


@dataclass(frozen=True, slots=True)
class CatalogDifference:
    """What a document changes; each line begins with +, - or ~."""

    organization_id: str
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {"organization_id": self.organization_id, "changes": list(self.lines)}


def difference(old: Organization | None, new: Organization) -> CatalogDifference:
    """Say in lines what a document changes: items and projects that come, go or differ, field by field."""
    lines: list[str] = []
    if old is None or old.name != new.name or old.default_project_id != new.default_project_id:
        lines.append(f"~ organization {new.organization_id} {new.name} (default project: {new.default_project_id})")
    if (old.alerts if old else AlertSettings()) != new.alerts:
        stated = new.alerts.model_dump(mode="json", exclude_defaults=True) or "the defaults"
        lines.append(f"~ alerts: {stated}")
    if (old.platform_suffixes if old else ()) != new.platform_suffixes:
        lines.append(f"~ platform suffixes: {', '.join(new.platform_suffixes) or 'none'}")
    for kind, before, after in (
        ("item", {} if old is None else old.items, new.items),
        ("project", _projects(old), _projects(new)),
        ("license file", _files(old), _files(new)),
    ):
        lines += _compare(kind, before, after)
    lines += _compare_keys(_keys(old), _keys(new))
    lines += _compare_passwords(_passwords(old), _passwords(new))
    return CatalogDifference(new.organization_id, tuple(lines))


def _projects(document: Organization | None) -> dict[str, Any]:
    """Return the projects without their keys and passwords, which have lines of their own."""
    bare = {"license_keys": (), "session_password_hash": None}
    projects = () if document is None else document.projects
    return {project.project_id: project.model_copy(update=bare) for project in projects}


def _files(document: Organization | None) -> dict[str, Any]:
    files = () if document is None else document.license_files
    return {file.license_id: file.model_copy(update={"items": tuple(i.item_id for i in file.items)}) for file in files}


def _keys(document: Organization | None) -> dict[tuple[str, str], LicenseKey]:
    projects = () if document is None else document.projects
    return {(project.project_id, key.key_id): key for project in projects for key in project.license_keys}


def _passwords(document: Organization | None) -> dict[str, str]:
    projects = () if document is None else document.projects
    return {each.project_id: each.session_password_hash for each in projects if each.session_password_hash is not None}


def _compare(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = [f"- {kind} {name}" for name in before if name not in after]
    for name, entry in after.items():
        known = before.get(name)
        if known is None:
            lines.append(f"+ {kind} {name}: {_stated(_fields(entry))}")
        elif known != entry:
            lines.append(f"~ {kind} {name}: {_changed(_fields(known), _fields(entry))}")
    return lines


def _compare_keys(
    before: Mapping[tuple[str, str], LicenseKey], after: Mapping[tuple[str, str], LicenseKey]
) -> Iterator[str]:
    for place, key in before.items():
        if place not in after:
            yield f"- {_key_name(key, place[0])}"
    for place, key in after.items():
        known, name = before.get(place), _key_name(key, place[0])
        if known is None:
            yield f"+ {name}: {_stated(_key_fields(key))}"
        elif known != key:
            words = [_changed(_key_fields(known), _key_fields(key))]
            words += ["another secret"] if known.secret_sha256 != key.secret_sha256 else []
            yield f"~ {name}: {', '.join(word for word in words if word)}"


def _compare_passwords(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for project_id in sorted({*before, *after}):
        old, new = before.get(project_id), after.get(project_id)
        if old != new:
            yield f"{'-' if new is None else '+' if old is None else '~'} session password of project {project_id}"


def _stated(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", [], ()))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {old[name]} → {new[name]}" for name in new if old[name] != new[name])


def _key_name(key: LicenseKey, project_id: str) -> str:
    label = f" ({key.label})" if key.label else ""
    return f"license key {key.key_id}{label} of project {project_id}"


def _key_fields(key: LicenseKey) -> dict[str, Any]:
    """Return what may be shown of a key."""
    return key.model_dump(mode="json", include={"label", "created_at", "expires_at", "revoked_at"})


def _fields(entry: Any) -> dict[str, Any]:
    identity = ("item_id", "project_id", "license_id")
    fields: dict[str, Any] = entry.model_dump(mode="json", warnings=False)
    return {name: value for name, value in fields.items() if name not in identity}
