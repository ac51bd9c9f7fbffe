"""Commands that prepare the system: topics, tables, licenses, contracts."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, table
from licmeter.runtime.settings import load_settings

__all__ = ["register"]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

topics = typer.Typer(help="The Kafka topics.", no_args_is_help=True)
license_ = typer.Typer(help="Organizations with their license files, items and projects.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(topics, name="topics")
    app.add_typer(license_, name="license")
    app.command()(migrate)
    app.command()(schemas)


@topics.command("apply")
def topics_apply(dry_run: DryRun = False, as_json: JsonOption = False) -> None:
    """Create the topics that are missing; say where others differ, and leave those as they are.

    Exit code 1 when a topic differs.
    """
    from licmeter.runtime.stack import apply_topic_table

    reports = apply_topic_table(load_settings(), dry_run=dry_run)
    if as_json:
        print_json([{"topic": r.name, "action": r.action, "differences": r.differences} for r in reports])
    else:
        rows = [(r.name, r.action, r.partitions, "\n".join(r.differences)) for r in reports]
        columns = {"topic": "left", "": "left", "partitions": "right", "differences": "left"}
        out.print(table("Topics", columns, rows))
    raise typer.Exit(any(report.differences for report in reports))


def migrate(
    dry_run: DryRun = False,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 unless all is applied.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create or update the tables in ClickHouse.

    With --check, exit code 1 when a migration is pending, or was another one when it was applied.
    """
    from licmeter.runtime.stack import apply_migrations

    report = apply_migrations(load_settings(), dry_run=dry_run, check_only=check)
    if as_json:
        print_json({name: getattr(report, name) for name in ("applied", "present", "pending", "differing")})
    else:
        states = {"applied": report.applied, "was there": report.present, "pending": report.pending}
        rows = [(name, state) for state, names in states.items() for name in names]
        out.print(table("Migrations", {"migration": "left", "": "left"}, sorted(rows)))
        for difference in report.differing:
            errors.print(difference, style="red", markup=False, highlight=False)
    raise typer.Exit(check and not report.is_current)


def schemas(
    folder: Annotated[Path | None, typer.Option("--out", help="Write one file a contract there.")] = None,
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help="Show the topics instead, as AsyncAPI 3.0.")] = False,
) -> None:
    """Show the contracts as JSON Schema, or the topics that carry them as AsyncAPI."""
    from licmeter.schemas.export import json_schemas

    if asyncapi:
        import yaml

        from licmeter.schemas.asyncapi import asyncapi_document

        text = yaml.safe_dump(asyncapi_document(), sort_keys=False, allow_unicode=True, width=110)
        if folder is None:
            typer.echo(text, nl=False)
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "asyncapi.yaml").write_text(text)
        errors.print(f"asyncapi.yaml written to {folder}", highlight=False)
        return

    contracts = json_schemas()
    if folder is None:
        print_json(contracts)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, contract in contracts.items():
        (folder / f"{name}.schema.json").write_text(json.dumps(contract, indent=2) + "\n")
    errors.print(f"{len(contracts)} schemas written to {folder}", highlight=False)


@license_.command("apply")
def license_apply(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.yaml…", help="One or more organization documents.")],
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Make a document the current catalog of its organization.

    The whole document is checked, all mistakes are shown, and so is what changes.
    """
    from licmeter.runtime.licenses import apply_documents, read_documents, recipient_mistakes

    documents = read_documents(files)
    for mistake in recipient_mistakes(documents):
        errors.print(f"{mistake}; it is left out", style="yellow", markup=False, highlight=False)
    changes = asyncio.run(apply_documents(load_settings(), documents, dry_run=dry_run))
    if as_json:
        print_json([change.to_json() for change in changes])
        return
    for change in changes:
        verb = "would change" if dry_run and change.lines else "changes" if change.lines else "is as it was"
        errors.print(f"organization {change.organization_id} {verb}", highlight=False)
        for line in change.lines:
            style = {"+": "green", "-": "red"}.get(line[0], "yellow")
            out.print(f"  {line}", style=style, highlight=False, markup=False)


@license_.command("list")
def license_list(
    organization: Annotated[str | None, typer.Option(help="Only this organization.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the current catalogs."""
    from licmeter.runtime.licenses import current_documents, public_document

    documents = asyncio.run(current_documents(load_settings()))
    chosen = [d for name, d in sorted(documents.items()) if organization in (None, name)]
    if as_json:
        print_json([public_document(document) for document in chosen])
        return
    for document in chosen:
        rows = [
            (
                item.item_id,
                item.description,
                item.charge_way,
                "unlimited" if item.quota is None else item.quota,
                f"{item.starts_at:%Y-%m-%d}",
                f"{item.expires_at:%Y-%m-%d}",
                ", ".join(item.modules) or "all",
                ", ".join(p.project_id for p in document.projects if item.item_id in p.item_ids),
            )
            for item in document.items.values()
        ]
        columns = dict.fromkeys(
            ("item", "description", "charge way", "quota", "from", "to", "features", "projects"), "left"
        )
        out.print(table(f"{document.organization_id} {document.name}", columns | {"quota": "right"}, rows))
    if not chosen:
        errors.print("no license was applied yet: `licmeter license apply FILE.yaml`", highlight=False)
