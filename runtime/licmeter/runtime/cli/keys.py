"""Commands for license keys and session passwords: what opens a project to applications in the field."""

import asyncio
import secrets
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.errors import UsageError
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from licmeter.runtime.keys import ProjectChange
    from licmeter.schemas.catalog import LicenseKey, Project

__all__ = ["register"]

DAYS_MAX: Final = 3_650  # ten years, as for an item's grace
#: Far more than a password may have, so that one that is too long is refused and not cut.
_LINE_BYTES_MAX: Final = 65_536

ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="The project id.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY_ID", help="The key id: the middle part of a license key.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
ExpiresIn = Annotated[
    int | None, typer.Option("--expires-in", min=1, max=DAYS_MAX, metavar="DAYS", help="The new key ends after that.")
]

keys = typer.Typer(help="License keys and session passwords of projects.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys, name="keys")


@keys.command()
def create(
    project: ProjectArgument,
    label: Annotated[str, typer.Option(help="A note on who has it; it is shown in lists.")] = "",
    expires_in: ExpiresIn = None,
    as_json: JsonOption = False,
) -> None:
    """Make a license key for a project, and print it: only now, as the catalog keeps a digest."""
    from licmeter.runtime.keys import add_key, label_mistake

    if (mistake := label_mistake(label)) is not None:
        raise UsageError(mistake)
    now = datetime.now(UTC)
    text, key = _new_key(now, label, expires_in)
    change = _change(project, lambda found: add_key(found, key, now))
    _hand_over(text, change, _view(change, key.key_id, now), as_json=as_json)


@keys.command()
def rotate(
    project: ProjectArgument,
    key_id: KeyArgument,
    overlap: Annotated[
        int, typer.Option("--overlap", min=0, max=DAYS_MAX, metavar="DAYS", help="How long the old key still works.")
    ] = 30,
    expires_in: ExpiresIn = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new license key, and print it; the old one works until the overlap ends."""
    from licmeter.runtime.keys import key_id_of, rotate_key

    now, old_id = datetime.now(UTC), key_id_of(key_id)
    text, key = _new_key(now, "", expires_in)
    ends_at = now + timedelta(days=overlap)
    change = _change(
        project, lambda found: rotate_key(found, old_id, key, old_ends_at=ends_at, now=now), dry_run=dry_run
    )
    old = _view(change, old_id, now)
    if dry_run:
        _say_forgotten(change, "would be")
        if as_json:
            print_json({"dry_run": True, "old": old})
        else:
            out.print(f"would make a new key; {old_id} would work until {_day(old['expires_at'])}", highlight=False)
        return
    _hand_over(text, change, _view(change, key.key_id, now), as_json=as_json, old=old)


@keys.command()
def revoke(project: ProjectArgument, key_id: KeyArgument, dry_run: DryRun = False) -> None:
    """End a license key now. It stays in lists."""
    from licmeter.runtime.keys import key_id_of, require_current, revoke_key

    now, revoked_id = datetime.now(UTC), key_id_of(key_id)
    change = _change(project, lambda found: revoke_key(found, revoked_id, now), dry_run=dry_run)
    words = f"{revoked_id} would be revoked" if dry_run else f"{revoked_id} is revoked"
    require_current(change)
    errors.print(f"{words}; project {project}", highlight=False, markup=False)


@keys.command("list")
def list_keys(
    project: Annotated[str | None, typer.Argument(metavar="[PROJECT]", help="Only this project.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show license keys by their ids; never a secret or its digest."""
    from licmeter.runtime.keys import key_view, owner_of
    from licmeter.runtime.licenses import current_documents

    documents = asyncio.run(current_documents(load_settings()))
    if project is not None:
        documents = {"": owner_of(documents, project)}
    now = datetime.now(UTC)
    shown = [
        key_view(each.project_id, key, now)
        for _, document in sorted(documents.items())
        for each in document.projects
        if project in (None, each.project_id)
        for key in each.license_keys
    ]
    if as_json:
        print_json(shown)
        return
    if not shown:
        errors.print("no license key was made yet: `licmeter keys create PROJECT`", highlight=False)
        return
    rows = [
        (each["project_id"], each["key_id"], escape(each["label"]), _state(each), _day(each["created_at"]))
        for each in shown
    ]
    out.print(table("License keys", dict.fromkeys(("project", "key id", "label", "state", "made"), "left"), rows))


@keys.command()
def password(
    project: ProjectArgument,
    remove: Annotated[bool, typer.Option("--remove", help="Take the session password away.")] = False,
) -> None:
    """Set the session password of a project: asked for, or read as one line from standard input."""
    from licmeter.runtime.keys import require_current, set_password
    from licmeter.schemas.session_passwords import SALT_BYTES

    chosen, salt = None if remove else _read_password(), secrets.token_bytes(SALT_BYTES)
    change = _change(project, lambda found: set_password(found, chosen, salt))
    require_current(change)
    state = "has no session password" if remove else "has a new session password"
    errors.print(f"project {project} {state}", highlight=False, markup=False)


def _new_key(now: datetime, label: str, expires_in: int | None) -> "tuple[str, LicenseKey]":
    from licmeter.schemas.license_keys import make_license_key

    end = None if expires_in is None else now + timedelta(days=expires_in)
    return make_license_key(secrets.token_bytes, created_at=now, label=label, expires_at=end)


def _change(project: str, change: "Callable[[Project], Project]", *, dry_run: bool = False) -> "ProjectChange":
    from licmeter.runtime.keys import change_project

    settings = load_settings()
    with errors.status("waiting until it is current"):
        return asyncio.run(change_project(settings, project, change, dry_run=dry_run))


def _hand_over(text: str, change: "ProjectChange", shown: dict[str, Any], *, as_json: bool, **more: Any) -> None:
    """Print a new key, also when no worker has confirmed it yet: it is in the log, and its text nowhere else."""
    from licmeter.runtime.keys import require_current

    _say_forgotten(change, "is")
    if as_json:
        print_json({"license_key": text, "current": change.current, "key": shown, **more})
    else:
        out.print(text, highlight=False, markup=False, soft_wrap=True)
        errors.print(f"key {shown['key_id']} of project {shown['project_id']}: {_state(shown)}", highlight=False)
        if "old" in more:
            errors.print(f"key {more['old']['key_id']}: {_state(more['old'])}", highlight=False)
        errors.print("Keep it now: it is shown this once, and kept nowhere.", style="yellow", highlight=False)
    sys.stdout.flush()
    require_current(change)


def _say_forgotten(change: "ProjectChange", verb: str) -> None:
    for key_id in change.forgotten:
        errors.print(
            f"key {key_id}, which opens nothing any more, {verb} forgotten: a project has a bounded number of keys",
            style="yellow",
            highlight=False,
        )


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Session password", hide_input=True, confirmation_prompt=True, err=True))
    # Read as bytes: what is no UTF-8 must be refused without being shown in a traceback.
    line = sys.stdin.buffer.readline(_LINE_BYTES_MAX)
    return line.decode(errors="replace").rstrip("\r\n")


def _view(change: "ProjectChange", key_id: str, now: datetime) -> dict[str, Any]:
    from licmeter.runtime.keys import key_view

    for key in change.after.license_keys:
        if key.key_id == key_id:
            return key_view(change.after.project_id, key, now)
    # It ended with this very change, and had to make room.
    key = next(key for key in change.before.license_keys if key.key_id == key_id)
    return key_view(change.after.project_id, key.model_copy(update={"expires_at": now}), now)


def _state(shown: dict[str, Any]) -> str:
    """Say where a key stands, with its day."""
    if shown["state"] == "active":
        return "active"
    ends = [each for each in (shown["expires_at"], shown["revoked_at"]) if each is not None]
    words = {"ends": "ends on", "ended": "ended on", "revoked": "revoked on"}[shown["state"]]
    return f"{words} {_day(shown['revoked_at'] if shown['state'] == 'revoked' else min(ends))}"


def _day(instant: str) -> str:
    return instant[:10]
