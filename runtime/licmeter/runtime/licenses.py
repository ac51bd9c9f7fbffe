"""License documents: read from YAML, compared with the current ones, sent as catalog changes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
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
from licmeter.runtime.differences import CatalogDifference, difference
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.settings import Settings
from licmeter.schemas.catalog import Organization, Project, catalog_event
from licmeter.schemas.catalog_rules import document_mistakes
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import LICENSE_CATALOG

__all__ = [
    "ACCEPT_TIMEOUT_S",
    "apply_documents",
    "current_documents",
    "keep_access",
    "public_document",
    "read_documents",
    "recipient_mistakes",
    "send_documents",
]

#: How long to wait for the worker before leaving the rest to it.
ACCEPT_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.2
#: What opens a project. A license file seldom says it, and these are not lost with every other change.
_ACCESS: Final = ("license_keys", "session_password_hash")


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
        except yaml.MarkedYAMLError as error:
            # Without the line itself, which the error would show: it may have what nobody else should read.
            mark = error.problem_mark
            where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
            mistakes.append(f"{file}: {where}{error.problem or 'no YAML'}")
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


def public_document(document: Organization) -> dict[str, Any]:
    """Return a document as it may be shown: without license keys and session passwords, which `apply` then keeps."""
    return document.model_dump(mode="json", exclude={"projects": {"__all__": set(_ACCESS)}})


async def apply_documents(
    settings: Settings, documents: Sequence[Organization], *, dry_run: bool = False
) -> list[CatalogDifference]:
    """Send the documents that change something; return what each changes.

    License keys and session passwords that a document does not state stay as they are. Returns when the worker has
    accepted the documents, or after `ACCEPT_TIMEOUT_S`: they are safe in Kafka all the same.
    """
    known = await current_documents(settings)
    changes, changed = [], []
    for stated in documents:
        before = known.get(stated.organization_id)
        document = known[stated.organization_id] = keep_access(stated, before)
        changes.append(difference(before, document))
        if changes[-1].lines:
            changed.append(document)
    if changed and not dry_run:
        await send_documents(settings, changed, source="licmeter license apply")
    return changes


def keep_access(document: Organization, current: Organization | None) -> Organization:
    """Return the document with the keys and session passwords that the current one has and it does not state.

    Raises `UsageError` when a key would then stand in two projects.
    """
    if current is None:
        return document
    known = {project.project_id: project for project in current.projects}
    projects = tuple(_keep(project, known.get(project.project_id)) for project in document.projects)
    merged = document.model_copy(update={"projects": projects})
    mistakes = [f"  {path}: {said}" if path else f"  {said}" for path, said in document_mistakes(merged.model_dump())]
    if mistakes:
        raise UsageError(
            f"nothing was applied: organization {document.organization_id}, with the license keys that it has:\n"
            + "\n".join(mistakes)
        )
    return merged


def _keep(project: Project, current: Project | None) -> Project:
    if current is None:
        return project
    kept = {field: getattr(current, field) for field in _ACCESS if field not in project.model_fields_set}
    return project.model_copy(update=kept)


async def send_documents(settings: Settings, documents: Sequence[Organization], *, source: str) -> bool:
    """Send documents as catalog changes; return whether a worker made them current within `ACCEPT_TIMEOUT_S`.

    Raises `ServiceError` when Kafka does not take them.
    """
    try:
        await send_events(settings.bootstrap_servers, [_record(document, source) for document in documents])
    except SendError as error:
        raise ServiceError(str(error), service="kafka") from error
    return await _wait_until_current(settings, documents)


async def _wait_until_current(settings: Settings, documents: Sequence[Organization]) -> bool:
    wanted = {document.organization_id: document for document in documents}  # of several, the last
    deadline = time.monotonic() + ACCEPT_TIMEOUT_S
    while time.monotonic() < deadline:
        current = await current_documents(settings)
        if all(current.get(name) == document for name, document in wanted.items()):
            return True
        await asyncio.sleep(POLL_S)
    return False


def _record(document: Organization, source: str) -> tuple[bytes, bytes]:
    event = catalog_event(document, event_id=str(ULID()), source=source, time=datetime.now(UTC))
    return document.organization_id.encode(), encode_event(event)
