"""`licmeter spool`: what applications keep until a server confirms it, and how it leaves a site without a network."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.errors import LicmeterError, UsageError

if TYPE_CHECKING:
    from licmeter.producers.client.export import Exported

__all__ = ["register"]

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The spool folder of an application.")]

spool = typer.Typer(help="Spools of applications: reports that no server has confirmed.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(spool, name="spool")


@spool.command("status")
def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show what a spool holds; changes nothing."""
    from licmeter.producers.client.export import SpoolError, spool_status

    try:
        found = spool_status(folder)
    except SpoolError as error:
        raise UsageError(str(error)) from error
    oldest = None if found.oldest_slot is None else datetime.fromtimestamp(found.oldest_slot, UTC)
    document = {
        "reports": found.reports,
        "units": found.units,
        "bytes": found.bytes,
        "oldest_slot": oldest and f"{oldest:%Y-%m-%dT%H:%M:%SZ}",
        "units_of_open_slots": found.open_units,
        "tallies": found.tallies,
        "dropped_reports": found.dropped.reports,
        "dropped_units": found.dropped.units,
        "unreadable": found.unreadable,
    }
    if as_json:
        print_json(document)
        return
    columns = {name.replace("_", " "): "left" if name == "oldest_slot" else "right" for name in document}
    out.print(table(f"Spool {folder}", columns, [tuple(document.values())]))


@spool.command("export")
def export(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Must not exist; `licmeter send` takes it.")],
    project: Annotated[
        str | None, typer.Option(help="The project of the license key, for reports that name no project.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--client-uuid", help="The device's identity, where the spool does not say it.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the reports out of the spool, once the file is on the disk.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything a spool holds to a file, for sites without a network.

    Reports keep their ids: sending the file twice, or the file and the spool, counts nothing twice.
    """
    from licmeter.producers.client.export import NoOwnerError, SpoolError, export_spool, write_durably

    if project is not None:
        _check_project(project)
    try:
        done = export_spool(
            folder, lambda events: write_durably(file, events), remove, project_id=project, client_uuid=device
        )
    except NoOwnerError as error:
        raise UsageError(str(error), hint="name the project of their license key with --project") from error
    except SpoolError as error:
        raise UsageError(str(error)) from error
    except FileExistsError as error:
        raise UsageError(
            f"{file}: {error.strerror}", hint="it may be the only copy of what an export removed"
        ) from error
    except OSError as error:
        raise LicmeterError(f"{file}: {error.strerror or error}; nothing was removed from the spool") from error
    document = {
        "file": str(file) if done.reports else None,
        "reports": done.reports,
        "units": done.units,
        "removed": remove,
        "dropped_reports": done.dropped.reports,
        "dropped_units": done.dropped.units,
        "running_tallies": done.running,
        "notices": done.notices,
    }
    if as_json:
        print_json(document)
    else:
        _show(done, file, removed=remove)


def _check_project(project: str) -> None:
    from licmeter.schemas.catalog import ProjectId

    try:
        TypeAdapter(ProjectId).validate_python(project)
    except ValidationError as error:
        raise UsageError(f"--project {project}: is no project id", hint="for example 300417-kiosk") from error


def _show(done: "Exported", file: Path, *, removed: bool) -> None:
    if done.reports:
        rest = "they are out of the spool now" if removed else "they are still in the spool, too"
        words = f"{done.reports:,} reports with {done.units:,} units are in {file}; {rest}"
    else:
        words = "the spool holds no reports; no file was written"
    out.print(words, highlight=False, markup=False, soft_wrap=True)
    notices = list(done.notices)
    if done.dropped.reports or done.dropped.units:
        lost = f"{done.dropped.reports:,} reports with {done.dropped.units:,} units"
        notices.append(f"{lost} were dropped before, as too old or too many")
    if done.running:
        notices.append(f"{done.running} tallies belong to processes that run; their counts are in the next export")
    for notice in notices:
        errors.print(notice, style="yellow", highlight=False, markup=False, soft_wrap=True)
