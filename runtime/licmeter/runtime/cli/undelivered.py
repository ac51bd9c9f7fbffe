"""`licmeter notify undelivered`: what could not be delivered, and sending it again."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.settings import Settings, load_settings

if TYPE_CHECKING:
    from licmeter.sinks.notify.config import Target
    from licmeter.sinks.notify.letters import Letter
    from licmeter.sinks.notify.replaying import Replayed

__all__ = ["TargetOption", "undelivered"]

TargetOption = Annotated[
    list[str] | None, typer.Option("--target", metavar="NAME", help="Only this target; repeatable.")
]
OrganizationOption = Annotated[str | None, typer.Option("--organization", help="Only this organization.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="INSTANT", help="Only what was given up since then (RFC 3339).")
]
DETAIL_CHARS_SHOWN = 80

undelivered = typer.Typer(help="Alerts that could not be delivered.", no_args_is_help=True)


def _letters(
    settings: Settings, targets: Sequence[str] | None, organization: str | None, since: str | None
) -> "list[Letter]":
    from licmeter.runtime.notifications import read_letters

    letters, unreadable = read_letters(settings, targets or [], organization, since)
    if unreadable:
        errors.print(f"{unreadable} dead letter(s) cannot be read, and stay where they are", style="yellow")
    return letters


@undelivered.command("list")
def list_letters(
    target: TargetOption = None,
    organization: OrganizationOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what could not be delivered, and why."""
    letters = _letters(load_settings(), target, organization, since)
    if as_json:
        print_json({"undelivered": [_document(letter) for letter in letters]})
        return
    _show_letters("Undelivered", letters)


def _document(letter: "Letter") -> dict[str, Any]:
    fields = {"text", "html", "body", "recipients", "left"}
    return letter.model_dump(mode="json", exclude={"notice"}) | letter.notice.model_dump(mode="json", exclude=fields)


def _show_letters(title: str, letters: "Sequence[Letter]") -> None:
    if not letters:
        errors.print("nothing is undelivered", highlight=False)
        return
    left = ("given up", "target", "organization", "kind", "reason", "detail")
    columns = dict.fromkeys(left, "left") | {"events": "right", "attempts": "right"}
    cells = [
        (
            f"{letter.given_up_at:%Y-%m-%d %H:%M:%S}",
            letter.notice.target,
            letter.notice.organization_id,
            letter.notice.kind,
            letter.reason,
            letter.detail[:DETAIL_CHARS_SHOWN],
            letter.notice.events,
            letter.attempts,
        )
        for letter in letters
    ]
    out.print(table(f"{title}: {len(letters):,}", columns, cells))


@undelivered.command("replay")
def replay_letters(
    target: TargetOption = None,
    organization: OrganizationOption = None,
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send again what could not be delivered, each once and with its old key; what arrives leaves the list."""
    from licmeter.runtime.notifications import read_targets, with_kafka

    settings = load_settings()
    letters = _letters(settings, target, organization, since)
    known = {each.name: each for each in read_targets(settings).targets}
    orphans = sorted({letter.notice.target for letter in letters} - set(known))
    for name in orphans:
        errors.print(
            f"target {name} is not in the document any more; its letters stay", style="yellow", highlight=False
        )
    letters = [letter for letter in letters if letter.notice.target in known]
    if not letters and not as_json:
        _show_letters("", letters)
        raise typer.Exit(1 if orphans else 0)
    if dry_run:
        if as_json:
            print_json({"would_send": [_document(letter) for letter in letters]})
        else:
            _show_letters("Would be sent", letters)
        return
    with progress_bar("sending", len(letters)) as (bars, task):
        done = with_kafka(settings, lambda: _replay(settings, letters, known, lambda: bars.advance(task)))
    failed = [{"target": each.notice.target, "key": each.notice.key, "reason": why} for each, why in done.failed]
    if as_json:
        print_json({"delivered": [each.notice.key for each in done.delivered], "failed": failed})
    else:
        out.print(f"{len(done.delivered):,} delivered, {len(failed):,} still undelivered", highlight=False)
        for entry in failed:
            words = f"{entry['target']} {entry['key']}: {entry['reason']}"
            errors.print(words, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if failed or orphans:
        raise typer.Exit(1)


async def _replay(
    settings: Settings, letters: "Sequence[Letter]", targets: "dict[str, Target]", on_done: Callable[[], None]
) -> "Replayed":
    from licmeter.sinks.notify.children import Children
    from licmeter.sinks.notify.letters import LetterBox
    from licmeter.sinks.notify.replaying import replay
    from licmeter.sinks.notify.secrets import quiet_libraries
    from licmeter.sinks.notify.senders import make_sender

    children = Children()
    senders = {name: make_sender(targets[name], children) for name in {each.notice.target for each in letters}}
    box = LetterBox(settings.bootstrap_servers)
    await box.start()
    try:
        with quiet_libraries():
            return await replay(letters, senders, box, lambda: datetime.now(UTC), on_done)
    finally:
        await box.stop()
        for sender in senders.values():
            await sender.close()
