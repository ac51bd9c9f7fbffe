"""A spool folder in an operator's hands: what is in it, and its reports as a file, for sites without a network.

Nothing leaves the spool before `write` has returned, so a crash at any point leaves each report in the spool, in the
file, or in both; its id is the same in both, so it counts once however often it arrives.
"""

import contextlib
import errno
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from licmeter.producers.client.folder import DATABASE, Folder, new_report_id
from licmeter.producers.client.spool import Dropped, Pending, Spool
from licmeter.producers.client.tally import read_tally
from licmeter.schemas.reports import encode_event

__all__ = ["Exported", "NoOwnerError", "SpoolError", "SpoolStatus", "export_spool", "spool_status", "write_durably"]

_TALLIES: Final = "*.tally"
#: Later than any slot, more than any spool: everything.
_ALL: Final = 2**62


class SpoolError(Exception):
    """A folder, or what is in it, cannot be used as asked; the message says why."""


class NoOwnerError(SpoolError):
    """`reports` reports name neither a project nor an organization: their client knew only its license key."""

    def __init__(self, reports: int) -> None:
        super().__init__(f"{reports:,} reports name no project: their client knew only its license key")
        self.reports = reports


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export brought out, and what it could not."""

    reports: int
    units: int
    dropped: Dropped
    #: Tallies of processes that still run: what they counted last stays with them, and is in the next export.
    running: int
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What a spool folder holds. `open_units` are counted, and in no report yet; `tallies` are files of such counts."""

    reports: int
    units: int
    bytes: int
    oldest_slot: int | None
    open_units: int
    tallies: int
    unreadable: int
    dropped: Dropped


def export_spool(
    folder: Path,
    write: Callable[[Sequence[bytes]], None],
    remove: bool = False,
    *,
    project_id: str | None = None,
    client_uuid: str | None = None,
) -> Exported:
    """Give everything that a spool folder holds to `write`, as CloudEvents that `licmeter send` takes.

    Counts become reports first, those of ended processes included. `write` gets all events, and returns when they are
    safe; it is not called when there are none. `remove` takes them out of the spool after that. `project_id` goes into
    events that name no owner; `client_uuid` is the device's, where it cannot be read from the folder. Raises
    `SpoolError`, and whatever `write` raises; then nothing was removed.
    """
    notices: list[str] = []
    opened = _open(folder, lambda _, what: notices.append(what))
    spool = opened.spool
    try:
        opened.adopt()
        _close_slots(spool, client_uuid)
        if left := spool.status()["units_of_open_slots"]:
            notices.append(f"{left:,} units stay in the spool: no report can be made of their counts")
        everything, dropped = spool.pending(_ALL, _ALL), spool.dropped()
        waiting = [report for report in everything if _read(report)]
        if len(waiting) < len(everything):
            notices.append(f"{len(everything) - len(waiting):,} reports cannot be read; they stay in the spool")
        # What was dropped is said once: in what leaves the spool.
        said = dropped if remove else Dropped()
        events = _events(waiting, project_id, said)
        if events:
            write(events)
        if events and remove:
            spool.settle([report.report_id for report in waiting], said)
    except sqlite3.Error as error:
        raise SpoolError(f"{folder / DATABASE}: {error}") from error
    units = sum(report.units for report in waiting)
    return Exported(len(waiting), units, dropped, len(list(folder.glob(_TALLIES))), tuple(notices))


def spool_status(folder: Path) -> SpoolStatus:
    """Return what a spool folder holds, and change nothing. Raises `SpoolError`."""
    _require_spool(folder)
    before = {path: _tally(path) for path in folder.glob(_TALLIES)}
    found: dict[str, Any] = {}
    if (folder / DATABASE).exists():
        try:
            found = Spool(folder / DATABASE, new_report_id).status()
        except sqlite3.Error as error:
            raise SpoolError(f"{folder / DATABASE}: {error}") from error
    # A tally that was taken into the spool meanwhile is gone, and its units are in `found`.
    tallies = [tally for path, tally in before.items() if path.exists()]
    return SpoolStatus(
        reports=found.get("reports", 0),
        units=found.get("units", 0),
        bytes=found.get("bytes", 0),
        oldest_slot=found.get("oldest_slot"),
        open_units=found.get("units_of_open_slots", 0) + sum(units for units, _ in tallies),
        tallies=len(tallies),
        unreadable=sum(not whole for _, whole in tallies) + len(list(folder.glob("*.unreadable*"))),
        dropped=Dropped(found.get("dropped_reports", 0), found.get("dropped_units", 0)),
    )


def write_durably(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file that is whole or not there, also after a power cut. Raises `OSError`; never replaces a file.

    An export that is replaced may have been the only copy. Looking for it here is in time: who reads a spool before
    another export has removed its reports has them all, and who reads it after finds that export's file.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, "there is a file of this name already", str(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for line in lines:
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems of removable media have no such call; they write names at once.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _require_spool(folder: Path) -> None:
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError as error:
        raise SpoolError(f"{folder}: there is no such folder") from error
    except OSError as error:
        raise SpoolError(f"{folder}: {error.strerror}") from error
    if DATABASE not in names and not any(folder.glob(_TALLIES)):
        raise SpoolError(f"{folder}: there is no spool in this folder, neither {DATABASE} nor tallies")


def _open(folder: Path, say: Callable[[str, str], None]) -> Folder:
    _require_spool(folder)
    said: list[str] = []

    def hear(event: str, what: str) -> None:
        said.append(what)
        say(event, what)

    # No tally of our own is made, so there are no attributes to keep.
    opened = Folder(folder, "{}", hear)
    if opened.in_memory:
        raise SpoolError("; ".join(said))
    return opened


def _close_slots(spool: Spool, client_uuid: str | None) -> None:
    """Make reports of all counts, in the name of their device."""
    if not spool.status()["units_of_open_slots"]:
        return
    device = client_uuid or _device(spool)
    if device is None:
        raise SpoolError("the spool does not say which device this is; name its client_uuid")
    spool.close_slots(device, _ALL)


def _device(spool: Spool) -> str | None:
    """Return the identity of the device: a client that was given one does not keep it, but its reports have it."""
    sources = {str(event["source"]) for report in spool.pending(_ALL, _ALL) if (event := _read(report))}
    return sources.pop() if len(sources) == 1 else spool.recall("client_uuid")


def _read(report: Pending) -> dict[str, Any] | None:
    """Return the event of a report; None = a broken disk changed it."""
    try:
        event = json.loads(report.event)
    except ValueError:
        return None
    whole = isinstance(event, dict) and event.get("id") == report.report_id and isinstance(event.get("data"), dict)
    return event if whole and "source" in event else None


def _events(waiting: Sequence[Pending], project_id: str | None, said: Dropped) -> list[bytes]:
    events = [event for report in waiting if (event := _read(report))]
    unowned = [event for event in events if event.get("subject") is None and event.get("organizationid") is None]
    if unowned and project_id is None:
        raise NoOwnerError(len(unowned))
    for event in unowned:
        event["subject"] = project_id
    if events and (said.reports or said.units):
        events[0]["data"] |= {"dropped_reports": said.reports, "dropped_units": said.units}
    return [encode_event(event) for event in events]


def _tally(path: Path) -> tuple[int, bool]:
    """Return the units of a tally, as far as it can be read, and whether all of it can."""
    units = 0
    try:
        for entry in read_tally(path.read_bytes()):
            units += entry.units
    except FileNotFoundError:
        return 0, True
    except (OSError, ValueError, IndexError):
        return units, False
    return units, True
