"""`licmeter proof`: the raw reports behind a number, as a signed statement; `licmeter verify` checks one anywhere."""

import asyncio
import json
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.errors import UsageError

if TYPE_CHECKING:
    from licmeter.runtime.proof.checks import Verification
    from licmeter.runtime.proof.issuing import Evidence
    from licmeter.runtime.proof.statement import Record, Subject

__all__ = ["register"]

LINES_SHOWN_MAX: Final = 40
DISAGREEMENTS_SHOWN_MAX: Final = 20
EXIT_OFF: Final = 1

KeyOption = Annotated[Path | None, typer.Option("--key", metavar="KEY.pem", help="Sign with this private key.")]

proof = typer.Typer(help="The raw reports behind a number, as a signed statement.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(proof, name="proof")
    app.command()(verify)


@proof.callback()
def _prove(
    context: typer.Context,
    organization: Annotated[str | None, typer.Option(help="The organization.")] = None,
    item: Annotated[str | None, typer.Option(help="Use that was charged to this item, over all projects.")] = None,
    project: Annotated[str | None, typer.Option(help="Use through this project, over all items.")] = None,
    feature: Annotated[str | None, typer.Option(help="Only this feature.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first day, in UTC.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day, included.")] = None,
    days: Annotated[str | None, typer.Option("--range", metavar="DAY..DAY", help="The same in one.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the statement.")] = None,
    key: KeyOption = None,
    include_records: Annotated[bool, typer.Option("--include-records", help="With the raw records in it.")] = False,
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE.jsonl", help="Write the raw records into a file.")
    ] = None,
    pseudonyms: Annotated[bool, typer.Option("--pseudonyms", help="Do not name clients; needs --key.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for a sink that is behind.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """List the raw reports behind a number, and sign the list (docs/proof.md)."""
    if context.invoked_subcommand is not None:
        return
    subject = _subject(organization, item, project, feature, _range(first, last, days))
    if pseudonyms and key is None:
        raise UsageError("--pseudonyms needs --key: they are made with it")
    if pseudonyms and (include_records or records):
        raise UsageError("--pseudonyms: the raw records name the clients, so they cannot be handed over, too")
    signer = None
    if key is not None:
        from licmeter.runtime.proof.keys import read_private_key

        signer = read_private_key(key)
    now = datetime.now(UTC)
    evidence = _gather(subject, now, wait, keep_records=include_records or records is not None)
    from licmeter.runtime.proof.issuing import document_of

    document = document_of(
        evidence,
        issued_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        key=signer,
        pseudonyms=pseudonyms,
        include_records=include_records,
    )
    agrees = evidence.statistic == document["figures"]["quantity"] + evidence.later and not evidence.disagreements
    if agrees:
        _write(output, document, records, evidence.records)
    if as_json:
        print_json(document)
    else:
        _show(evidence, document)
    _show_end(evidence, document, output if agrees else None)
    if not agrees:
        raise typer.Exit(EXIT_OFF)


def _range(first: str | None, last: str | None, days: str | None) -> tuple[str, str]:
    if days is not None:
        if first or last:
            raise UsageError("--range says the same as --from and --to")
        first, _, last = days.partition("..")
    if not first or not last:
        raise UsageError("which days? --from DAY --to DAY, or --range DAY..DAY, such as 2031-03-01..2031-03-31")
    found = []
    for text in (first, last):
        try:
            found.append(date.fromisoformat(text))
        except ValueError as error:
            raise UsageError(f"{text} is no day, such as 2031-03-08") from error
    if found[0] > found[1]:
        raise UsageError(f"the range ends on {last}, before it begins on {first}")
    return found[0].isoformat(), found[1].isoformat()


def _subject(
    organization: str | None, item: str | None, project: str | None, feature: str | None, days: tuple[str, str]
) -> "Subject":
    from licmeter.runtime.proof.statement import Subject

    if organization is None:
        raise UsageError("whose number? --organization ID")
    if item is not None and project is not None:
        raise UsageError("--item and --project: a statement is about one of them, as the statistics are")
    return Subject(
        organization_id=organization,
        project_id=project,
        item_id=item,
        feature=feature,
        first_day=days[0],
        last_day=days[1],
        basis="usage",
    )


def _gather(subject: "Subject", now: datetime, wait_s: float, *, keep_records: bool) -> "Evidence":
    from licmeter.runtime.audit.log import Log
    from licmeter.runtime.audit.stored import Stored
    from licmeter.runtime.proof.issuing import gather
    from licmeter.runtime.settings import load_settings
    from licmeter.runtime.wiring import clickhouse_target

    settings = load_settings()
    with progress_bar("looking", None) as (bars, task):

        def update(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total or None, description=what)

        async def inside() -> "Evidence":
            async with Log(settings.bootstrap_servers) as log:
                stored = Stored(clickhouse_target(settings))
                try:
                    return await gather(
                        log, stored, subject, now=now, wait_s=wait_s, keep_records=keep_records, on_progress=update
                    )
                finally:
                    stored.close()

        return asyncio.run(inside())


def _write(output: Path | None, document: dict[str, Any], file: Path | None, records: "list[Record]") -> None:
    try:
        if output is not None:
            output.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if file is not None:
            with file.open("w", encoding="utf-8") as lines:
                for record in records:
                    lines.write(record.model_dump_json() + "\n")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error


def _show(evidence: "Evidence", document: dict[str, Any]) -> None:
    columns = dict.fromkeys(("partition:offset:line", "report", "client", "slot", "feature"), "left")
    columns |= dict.fromkeys(("quantity", "in quota", "in grace", "over"), "right")
    columns |= {"received at": "left", "sha-256": "left"}
    entries = document["entries"]
    rows = [
        (
            f"{entry['partition']}:{entry['offset']}:{entry['line']}",
            entry["report_id"],
            entry["client_uuid"],
            _short(entry["slot"], 16),
            entry["feature"],
            *(entry[name] for name in ("quantity", "in_quota", "in_grace", "over")),
            _short(entry["received_at"], 19),
            "not kept" if entry["record_sha256"] is None else f"{entry['record_sha256'][:12]}…",
        )
        for entry in entries[:LINES_SHOWN_MAX]
    ]
    shown = (
        f", the first {len(rows):,} of {len(entries):,}; all of them with --json or -o" if entries[len(rows) :] else ""
    )
    subject = evidence.subject
    of = f"item {subject.item_id}" if subject.item_id else f"project {subject.project_id or 'any'}"
    title = f"Organization {subject.organization_id}, {of}, {subject.first_day} to {subject.last_day}{shown}"
    out.print(table(escape(title), columns, rows))


def _short(instant: str, length: int) -> str:
    """Return an instant without its year, which the title has, and without zone: all of them are UTC."""
    return instant[5:length].replace("T", " ")


def _show_end(evidence: "Evidence", document: dict[str, Any], output: Path | None) -> None:
    """Say what the lines add up to, and whether that is what the statistics say; beside a document on stderr."""
    figures, as_of = document["figures"], document["as_of"]
    say = partial(errors.print, highlight=False, soft_wrap=True)
    parts = " + ".join(f"{figures[name]:,} {name.replace('_', ' ')}" for name in ("in_quota", "in_grace", "over"))
    say(f"{figures['quantity']:,} units ({parts}) in {figures['reports']:,} reports")
    later = f" + {evidence.later:,} in reports that came since" if evidence.later else ""
    equal = evidence.statistic == figures["quantity"] + evidence.later
    sign, color = ("=", "green") if equal else ("≠", "red")
    words = f"statistics {evidence.statistic:,} {sign} {figures['quantity']:,} by these lines{later}"
    say(f"[{color}]{words}[/]")
    say(f"the log still has the records of {evidence.kept:,} of them")
    for each in evidence.disagreements[:DISAGREEMENTS_SHOWN_MAX]:
        say(f"[red]disagrees[/] {escape(each)}")
    if evidence.disagreements[DISAGREEMENTS_SHOWN_MAX:]:
        say(f"… and {len(evidence.disagreements) - DISAGREEMENTS_SHOWN_MAX:,} more")
    settled = "nothing can be added" if as_of["settled"] else f"open: slots from {as_of['settled_before']} on may grow"
    say(f"as of offset {as_of['applied_offset']} of partition {as_of['partition']}; {settled}")
    if output is not None:
        how = "signed" if document["signature"] else "not signed, as there was no --key"
        say(f"written to {escape(str(output))}, {how}")
    elif not equal or evidence.disagreements:
        say("[red]nothing was written[/]: `licmeter audit` says what is wrong")


@proof.command()
def keygen(
    key: Annotated[Path, typer.Option("--key", metavar="KEY.pem", help="The private key, for who signs.")] = Path(
        "licmeter-proof.pem"
    ),
    public_key: Annotated[
        Path, typer.Option("--public-key", metavar="KEY.pem", help="The public key, for everybody.")
    ] = Path("licmeter-proof.pub.pem"),
) -> None:
    """Make a key pair for statements; files that are there already stay as they are."""
    from licmeter.runtime.proof.keys import make_keys

    name = make_keys(key, public_key)
    errors.print(
        f"{key}: keep it to yourself; {public_key}: hand it over by another way", markup=False, highlight=False
    )
    out.print(name, highlight=False)


def verify(
    statement: Annotated[Path, typer.Argument(metavar="STATEMENT.json", help="What `licmeter proof -o` wrote.")],
    public_key: Annotated[Path, typer.Option("--public-key", metavar="KEY.pem", help="The signer's public key.")],
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE.jsonl", help="Raw records to hold against it, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a signed statement; needs no Kafka, no ClickHouse and no network. Exits with 1 when it is not valid."""
    verification = _verify(statement, public_key, records)
    if as_json:
        print_json(verification.to_json())
    else:
        _show_verification(verification)
    if not verification.valid:
        raise typer.Exit(EXIT_OFF)


def _verify(statement: Path, public_key: Path, file: Path | None) -> "Verification":
    from licmeter.runtime.proof.canonical import CanonicalError
    from licmeter.runtime.proof.checks import STATEMENT_BYTES_MAX, verify
    from licmeter.runtime.proof.keys import read_public_key
    from licmeter.runtime.proof.originals import read_records

    key, records = read_public_key(public_key), None
    try:
        if file is not None:
            with file.open("rb") as lines:
                records = list(read_records(lines))
        with statement.open("rb") as opened:
            text = opened.read(STATEMENT_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    except CanonicalError as error:
        raise UsageError(f"{file}: {error}") from error
    return verify(text, key, records)


def _show_verification(found: "Verification") -> None:
    rows = [
        ("[green]holds[/]" if check.ok else "[red]FAILS[/]", check.name, escape(check.said)) for check in found.checks
    ]
    out.print(table("Statement", {"": "left", "check": "left", "what was found": "left"}, rows))
    statement = found.statement
    if statement is not None and found.valid:
        subject, figures = statement.subject, statement.figures
        of = f"item {subject.item_id}" if subject.item_id else f"project {subject.project_id or 'any'}"
        out.print(
            f"[green]valid[/]: organization {escape(subject.organization_id)}, {escape(of)}, {subject.first_day} to "
            f"{subject.last_day}: {figures.quantity:,} units in {figures.reports:,} reports of {figures.devices:,} "
            "devices",
            highlight=False,
        )
    elif not found.valid:
        out.print("[red]not valid[/]", highlight=False)
