"""`licmeter import lmstat`: what a FlexNet license server says is in use, as reports."""

import asyncio
import sys
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.errors import UsageError
from licmeter.runtime.settings import Settings, load_settings

__all__ = ["importing"]

importing = typer.Typer(help="Reports from other license servers.", no_args_is_help=True)

#: Where observations go when no project is named.
DEFAULT_PROJECT = "local-lmstat"


@importing.callback()
def _group() -> None:
    """Reports from other license servers."""


@importing.command()
def lmstat(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Output of `lmutil lmstat -a`; - for stdin.")],
    project: Annotated[str, typer.Option(help="The project that the observations belong to.")] = DEFAULT_PROJECT,
    at: Annotated[
        str, typer.Option(help="When it was: now (the present slot), file (the time that it prints), or an instant.")
    ] = "now",
    timezone: Annotated[str, typer.Option(help="Of the license server's clock, for --at file.")] = "UTC",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is counted; 0 = do not wait.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was read, and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Report what a license server says is in use: each check-out and each reservation.

    A snapshot is an observation: by default it counts in the present slot, as from a cron job
    (`lmutil lmstat -a | licmeter import lmstat -`). Exit code 1 when something in it was off.
    """
    from licmeter.producers import lmstat as reader
    from licmeter.runtime.cli.sending import deliver, show_result
    from licmeter.schemas.reports import encode_event, organization_of

    settings, now = load_settings(), datetime.now(UTC)
    texts = {str(file): _read(file) for file in files}
    zone = _zone(timezone)
    local_now = now.astimezone(zone).replace(tzinfo=None)
    snapshots = {name: reader.parse(reader.decode(text), reference=local_now) for name, text in texts.items()}
    slots: dict[datetime, list[reader.Snapshot]] = {}
    for each in (one for several in snapshots.values() for one in several):
        slots.setdefault(reader.slot_of(_instant(each, at, now, zone)), []).append(each)
    conversions = [reader.convert(group, project_id=project, slot=slot) for slot, group in slots.items()]
    events = [event for conversion in conversions for event in conversion.reports]
    summary = reader.summarize(
        [one for several in snapshots.values() for one in several],
        [notice for conversion in conversions for notice in conversion.notices],
    )
    result: dict[str, Any] = {"sent": 0}
    key = organization_of(project).encode()
    if not dry_run:
        _ensure_project(settings, project)
        pairs = ((key, encode_event(event)) for event in events)
        result = deliver(settings, pairs, wait=wait, description="sending observations")
    result |= _document(summary)
    if as_json:
        print_json(result)
    else:
        _show(summary)
        show_result(result)
    raise typer.Exit(bool(summary.notices or summary.servers_down or summary.daemons_down))


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(f"--timezone {name}: no such time zone", hint="for example Europe/Vienna") from error


def _instant(snapshot: Any, at: str, now: datetime, zone: tzinfo) -> datetime:
    from licmeter.metering.limits import DEFAULT_LIMITS
    from licmeter.producers.lmstat import SnapshotTimeUnknown, snapshot_instant

    if at == "now":
        return now
    try:
        instant = snapshot_instant(snapshot, zone) if at == "file" else datetime.fromisoformat(at)
    except SnapshotTimeUnknown as error:
        raise UsageError(f"{error}", hint="name the time with --at 2031-03-08T10:00:00Z") from error
    except ValueError as error:
        raise UsageError(f"--at {at}: now, file, or an instant such as 2031-03-08T10:00:00Z") from error
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=zone)
    age_ms = (now - instant).total_seconds() * 1000
    if age_ms > DEFAULT_LIMITS.age_ms:
        raise UsageError(
            f"the snapshot is of {instant:%Y-%m-%d %H:%M %Z}; reports are accepted for 30 days only",
            hint="without --at it counts as an observation of the present slot",
        )
    return instant


def _ensure_project(settings: Settings, project: str) -> None:
    """Name the project to the system when it is the default one; another must be there already."""
    from licmeter.runtime.licenses import apply_documents, current_documents
    from licmeter.schemas.catalog import Organization, Project
    from licmeter.schemas.reports import organization_of

    documents = asyncio.run(current_documents(settings))
    organization_id = organization_of(project)
    known = documents.get(organization_id)
    if known is not None and any(each.project_id == project for each in known.projects):
        return
    if project != DEFAULT_PROJECT or known is not None:
        raise UsageError(f"project {project} is not in the catalog", hint="`licmeter license list` shows what is")
    document = Organization(
        organization_id=organization_id,
        name="observed on license servers",
        projects=(Project(project_id=project, name="lmstat"),),
        default_project_id=project,
    )
    asyncio.run(apply_documents(settings, [document]))
    errors.print(
        f"organization {organization_id} with project {project} was created, without items: what is observed is "
        "counted, and charged to nothing (uncharged) until a license file is applied.",
        highlight=False,
    )


def _document(summary: Any) -> dict[str, Any]:
    return {
        "features": [
            {
                "feature": each.feature,
                "issued": each.issued,
                "in_use_header": each.in_use_header,
                "checked_out": each.checked_out,
                "reserved": each.reserved,
                "queued": each.queued,
                "difference": each.difference,
            }
            for each in summary.features
        ],
        "servers_down": [each.name for each in summary.servers_down],
        "daemons_down": [each.name for each in summary.daemons_down],
        "notices": [{"line": each.line_number, "kind": each.kind, "message": each.message} for each in summary.notices],
    }


def _show(summary: Any) -> None:
    rows = [
        (f.feature, f.issued, f.in_use_header, f.checked_out, f.reserved, f.queued, f.difference or None)
        for f in summary.features
    ]
    columns = {"feature": "left"} | dict.fromkeys(
        ("issued", "in use", "checked out", "reserved", "queued", "differs"), "right"
    )
    out.print(table("License server (issued and in use are what its headers say)", columns, rows))
    for kind, down in (("server", summary.servers_down), ("vendor daemon", summary.daemons_down)):
        for each in down:
            errors.print(f"{kind} {each.name} is down", style="red", highlight=False)
    if summary.notices:
        noted = [(each.line_number, each.kind, each.message) for each in summary.notices]
        errors.print(table("Notices", {"line": "right", "kind": "left", "what": "left"}, noted))
