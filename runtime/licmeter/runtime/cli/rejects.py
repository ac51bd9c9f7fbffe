"""`licmeter rejects`: what was refused and why; `rejects_replay` has the command that puts it back."""

import base64
import json
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.syntax import Syntax
from rich.text import Text

from licmeter.runtime.cli import rejects_replay
from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.cli.rejects_options import (
    OrganizationOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    received,
    selection_of,
)
from licmeter.runtime.errors import LicmeterError, ServiceError
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from licmeter.runtime.rejects import Listing
    from licmeter.sinks.replay.book import Entry, RejectBook
    from licmeter.sinks.replay.forecast import Forecast
    from licmeter.sinks.replay.rejects import Selection

__all__ = ["register"]

DETAIL_CHARS_SHOWN = 60
PAYLOAD_CHARS_SHOWN = 4_000

rejects = typer.Typer(help="Records that were refused: what, why, and putting them back.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    rejects_replay.register(rejects)
    app.add_typer(rejects, name="rejects")


@rejects.command("list")
def list_(
    reason: ReasonOption = None,
    organization: OrganizationOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show so many, the newest first.")] = 20,
    replayed: Annotated[bool, typer.Option("--all", help="Also those that were put back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what was refused and not put back since; the topic keeps it for 90 days."""
    from licmeter.runtime.rejects import list_rejects, with_rejects

    selection = selection_of(reason, organization, since, until, datetime.now(UTC))

    async def work(book: "RejectBook") -> "Listing":
        span = await book.span(selection)
        with progress_bar("reading rejects", span.offsets) as (bars, task):
            return await list_rejects(
                book,
                span,
                selection,
                limit=limit,
                replayed_too=replayed,
                on_read=lambda count: bars.advance(task, count),
            )

    found = with_rejects(load_settings(), work)
    if as_json:
        document = {
            "open": found.open,
            "open_by_reason": dict(found.open_by_reason.most_common()),
            "replayed": found.replayed,
            "rejects": [document_of(entry) for entry in found.entries],
        }
        print_json(document)
    else:
        _show_list(found, all_of_them=replayed)


def document_of(entry: "Entry") -> dict[str, Any]:
    """Return a reject for machines; the payload is left to `show`."""
    reject = entry.reject
    return {
        "place": str(reject.place),
        "received_at": received(reject.received_ms).isoformat().replace("+00:00", "Z"),
        "organization_id": reject.organization_id,
        "reason": reject.reason,
        "detail": reject.detail,
        "payload_bytes": None if reject.value is None else len(reject.value),
        "state": "open" if entry.open else "replayed",
        "replayed_as": entry.replayed_as and str(entry.replayed_as),
        "replay_of": entry.replay_of and str(entry.replay_of),
    }


def _show_list(found: "Listing", *, all_of_them: bool) -> None:
    if found.entries:
        left = ("received", "organization", "reason", "place", "detail", "state")
        rows = [
            (
                f"{received(entry.reject.received_ms):%Y-%m-%d %H:%M:%S}",
                entry.reject.organization_id[:64],
                entry.reject.reason,
                entry.reject.place.short,
                entry.reject.detail[:DETAIL_CHARS_SHOWN],
                _state(entry),
            )
            for entry in found.entries
        ]
        out.print(table("Rejects", dict.fromkeys(left, "left"), rows))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.open_by_reason.most_common())
    shown = f"; the newest {len(found.entries):,} are shown" if len(found.entries) < found.open else ""
    errors.print(f"{found.open:,} open{f' ({reasons})' if reasons else ''}{shown}", highlight=False)
    if found.replayed and not all_of_them:
        errors.print(f"{found.replayed:,} were put back; --all shows them, too", style="dim", highlight=False)


def _state(entry: "Entry") -> str:
    again = f", again after {entry.replay_of.short}" if entry.replay_of else ""
    return f"open{again}" if entry.replayed_as is None else f"put back as {entry.replayed_as.short}{again}"


@rejects.command("show")
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Its place, as `list` shows it.")],
    raw: Annotated[bool, typer.Option("--raw", help="Write the original's bytes to standard output.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one reject: the whole original, why it was refused, what to do, and what a replay would come to."""
    from licmeter.runtime.rejects import parse_places, with_rejects
    from licmeter.sinks.replay.rejects import Selection

    selection = Selection(places=parse_places([place]))
    found = with_rejects(load_settings(), lambda book: _find(book, selection))
    if found is None:
        raise LicmeterError(
            f"there is no reject {place}", hint="`licmeter rejects list` shows them; the topic keeps them for 90 days"
        )
    entry, prospect = found
    if raw:
        sys.stdout.buffer.write(entry.reject.value or b"")
    elif as_json:
        print_json(_whole_document(entry, prospect))
    else:
        _show_one(entry, prospect)


async def _find(book: "RejectBook", selection: "Selection") -> "tuple[Entry, Forecast] | None":
    from licmeter.sinks.replay.forecast import forecast

    async for entry in book.entries(await book.span(selection), selection):
        return entry, forecast(entry.reject, _now_ms(), await book.catalogs())
    return None


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _whole_document(entry: "Entry", prospect: "Forecast") -> dict[str, Any]:
    from licmeter.sinks.replay.advice import advice_on

    reject = entry.reject
    return document_of(entry) | {
        "key": _as_text(reject.key),
        "headers": [{"name": name, "value": _as_text(value)} for name, value in reject.headers],
        "payload": _as_text(reject.value),
        "advice": advice_on(reject.reason),
        "replay": {"prospect": prospect.prospect, "reason": prospect.reason, "detail": prospect.detail},
    }


def _as_text(value: bytes | None) -> Any:
    """Return the text that some bytes are; of others, their base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _show_one(entry: "Entry", prospect: "Forecast") -> None:
    from licmeter.sinks.replay.advice import advice_on

    reject = entry.reject
    facts = {
        "reason": Text(reject.reason, style="bold yellow"),
        "detail": reject.detail,
        "received": f"{received(reject.received_ms):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC",
        "key": "none" if reject.key is None else repr(reject.key)[2:-1],
        "state": _state(entry),
        "what to do": advice_on(reject.reason),
        "put back now": prospect.text + (f" ({prospect.detail})" if prospect.reason and prospect.detail else ""),
    }
    out.print(f"Reject {reject.place}", style="bold", highlight=False)
    for name, fact in facts.items():
        out.print(Text(f"  {name:<13}", style="dim"), fact, highlight=False, markup=False, soft_wrap=True)
    for name, value in reject.headers:
        words = Text(f"  {'header':<13}", style="dim")
        out.print(words, f"{name}: {repr(value)[2:-1]}", highlight=False, markup=False, soft_wrap=True)
    _show_payload(reject.value)


def _show_payload(value: bytes | None) -> None:
    if value is None:
        out.print("no value", style="dim")
        return
    out.print(f"{len(value):,} bytes", style="dim", highlight=False)
    try:
        text = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = repr(value)[2:-1]
        lexer = "text"
    else:
        lexer = "json"
    if len(text) > PAYLOAD_CHARS_SHOWN:
        errors.print(f"its beginning; --raw writes all of it ({len(value):,} bytes)", style="dim", highlight=False)
    out.print(Syntax(text[:PAYLOAD_CHARS_SHOWN], lexer, background_color="default", word_wrap=True))


@rejects.command("stats")
def stats(
    organization: OrganizationOption = None,
    last: Annotated[int, typer.Option(min=1, max=400, help="The last N days (UTC), today included.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Count what was refused, by reason and day; without an organization by reason only. From ClickHouse, 400 days."""
    from licmeter.analytics.query import Period
    from licmeter.analytics.rejects import RejectDays, RejectOverview

    today = datetime.now(UTC).date()
    period = Period(today - timedelta(days=last - 1), today)
    rows = _ask(RejectOverview(period) if organization is None else RejectDays(organization, period))
    if as_json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in rows])
        return
    if not rows:
        errors.print(f"nothing was refused in the last {last} days", highlight=False)
        return
    first = "organization_id" if organization is None else "day"
    columns = {first.removesuffix("_id"): "left", "reason": "left", "rejects": "right", "after a replay": "right"}
    cells = [
        (row[first], row["reason"], row["count"], row["again"], f"{row['last_at']:%Y-%m-%d %H:%M}") for row in rows
    ]
    title = f"Rejects of {organization or 'all organizations'}, last {last} days"
    out.print(table(title, columns | {"latest": "left"}, cells))
    errors.print(f"{sum(row['count'] for row in rows):,} rejects; days are UTC", style="dim", highlight=False)


def _ask(query: Any) -> list[dict[str, Any]]:
    from licmeter.analytics.query import run
    from licmeter.runtime.wiring import clickhouse_target

    target = clickhouse_target(load_settings())
    try:
        client = target.connect()
        try:
            return run(client, query)
        finally:
            client.close()
    except Exception as error:
        raise ServiceError(
            f"ClickHouse at {target.url} could not answer: {error}",
            service="clickhouse",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
