"""License documents: read from YAML, compared with the current ones, sent as catalog changes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from ulid import ULID

from licmeter.metering.catalog_checks import catalog_mistakes
from licmeter.metering.recipients import parse_recipients
from licmeter.producers.errors import SendError
from licmeter.producers.sending import send_events
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.settings import Settings
from licmeter.schemas.catalog import AlertSettings, Organization, catalog_event
from licmeter.schemas.catalog_rules import document_mistakes
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_CATALOG

__all__ = [
    "CatalogDifference",
    "apply_documents",
    "current_documents",
    "difference",
    "read_documents",
    "recipient_mistakes",
]

#: How long to wait for the worker before leaving the rest to it.
ACCEPT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class CatalogDifference:
    """What a document changes; each line begins with +, - or ~."""

    organization_id: str
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {"organization_id": self.organization_id, "changes": list(self.lines)}


def read_documents(files: Sequence[Path]) -> list[Organization]:
    """Read and check organization documents; raises `UsageError` with all mistakes of all files at once."""
    documents, mistakes = [], []
    for file in files:
        try:
            entries = list(yaml.safe_load_all(file.read_text()))
            for number, entry in enumerate(entries, 1):
                where = f"{file}: " if len(entries) == 1 else f"{file}, document {number}: "
                document, found = _read_document(entry)
                mistakes += [where + mistake for mistake in found]
                if document is not None:
                    documents.append(document)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mistakes.append(f"{file}: {error}")
    if mistakes:
        raise UsageError("nothing was applied:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    return documents


def _read_document(entry: Any) -> tuple[Organization | None, list[str]]:
    """Check one document; return it, or all its mistakes with their paths."""
    fields = _with_zones(entry)
    try:
        document = Organization.model_validate(fields)
    except ValidationError as error:
        mistakes = [_path(mistake["loc"]) + mistake["msg"] for mistake in error.errors() if _is_of_a_field(mistake)]
        # What does not fit together is looked for beside, as a model stops at the first ill-formed field.
        between = document_mistakes(fields) if isinstance(fields, Mapping) else ()
        return None, mistakes + [f"{path}: {sentence}" if path else sentence for path, sentence in between]
    return document, catalog_mistakes(document)


def _is_of_a_field(mistake: Any) -> bool:
    """Tell apart what `document_mistakes` says, too, and lists that are short only because entries were refused."""
    short = mistake["type"] == "too_short" and len(mistake["input"]) > 0
    return mistake["type"] != "value_error" and not short


def recipient_mistakes(documents: Sequence[Organization]) -> list[str]:
    """Say which alert recipients are no addresses (W10); that does not stop the others."""
    return [
        f"organization {document.organization_id}: alerts.{mistake}"
        for document in documents
        if document.alerts.recipients is not None
        for mistake in parse_recipients(document.alerts.recipients)[1]
    ]


def _path(location: Sequence[int | str]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{path.lstrip('.')}: " if path else ""


def _with_zones(value: Any) -> Any:
    """Read dates as YAML users write them: `2031-01-01` is that midnight in UTC.

    YAML itself turns an instant with an offset into one without; it is UTC by then (YAML 1.1, timestamps).
    """
    if isinstance(value, dict):
        return {key: _with_zones(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_zones(entry) for entry in value]
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


async def current_documents(settings: Settings) -> dict[str, Organization]:
    """Return the current documents by organization."""
    latest = await read_compacted(settings.bootstrap_servers, LICENSE_CATALOG.name)
    return {key.decode(): Organization.model_validate_json(value) for key, value in latest.items()}


async def apply_documents(
    settings: Settings, documents: Sequence[Organization], *, dry_run: bool = False
) -> list[CatalogDifference]:
    """Send the documents that change something; return what each changes.

    Returns when the worker has accepted them, or after `ACCEPT_TIMEOUT_S`: they are safe in Kafka all the same.
    """
    current = await current_documents(settings)
    changes = [difference(current.get(document.organization_id), document) for document in documents]
    changed = [document for document, change in zip(documents, changes, strict=True) if change.lines]
    if changed and not dry_run:
        try:
            await send_events(settings.bootstrap_servers, [_record(document) for document in changed])
        except SendError as error:
            raise ServiceError(str(error), service="kafka") from error
        await _wait_until_current(settings, changed)
    return changes


async def _wait_until_current(settings: Settings, documents: Sequence[Organization]) -> None:
    deadline = time.monotonic() + ACCEPT_TIMEOUT_S
    while time.monotonic() < deadline:
        current = await current_documents(settings)
        if all(current.get(document.organization_id) == document for document in documents):
            return
        await asyncio.sleep(0.2)


def _record(document: Organization) -> tuple[bytes, bytes]:
    event = catalog_event(document, event_id=str(ULID()), source="licmeter license apply", time=datetime.now(UTC))
    return document.organization_id.encode(), encode_event(event)


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
    return CatalogDifference(new.organization_id, tuple(lines))


def _projects(document: Organization | None) -> dict[str, Any]:
    return {} if document is None else {project.project_id: project for project in document.projects}


def _files(document: Organization | None) -> dict[str, Any]:
    files = () if document is None else document.license_files
    return {file.license_id: file.model_copy(update={"items": tuple(i.item_id for i in file.items)}) for file in files}


def _compare(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = [f"- {kind} {name}" for name in before if name not in after]
    for name, entry in after.items():
        known = before.get(name)
        if known is None:
            stated = ", ".join(f"{k} {v}" for k, v in _fields(entry).items() if v not in (None, "", [], ()))
            lines.append(f"+ {kind} {name}: {stated}")
        elif known != entry:
            old, new = _fields(known), _fields(entry)
            changed = ", ".join(f"{k} {old[k]} → {new[k]}" for k in new if old[k] != new[k])
            lines.append(f"~ {kind} {name}: {changed}")
    return lines


def _fields(entry: Any) -> dict[str, Any]:
    identity = ("item_id", "project_id", "license_id")
    fields: dict[str, Any] = entry.model_dump(mode="json", warnings=False)
    return {name: value for name, value in fields.items() if name not in identity}
