"""`licmeter rejects replay`: puts refused records back on `usage.events`, each once."""

import secrets
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json, progress_bar, table
from licmeter.runtime.cli.rejects_options import (
    OrganizationOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    selection_of,
)
from licmeter.runtime.errors import LicmeterError, UsageError
from licmeter.runtime.settings import Settings, load_settings

if TYPE_CHECKING:
    from licmeter.runtime.rejects import Plan
    from licmeter.sinks.replay.book import Entry, RejectBook
    from licmeter.sinks.replay.forecast import Forecast
    from licmeter.sinks.replay.reading import Span
    from licmeter.sinks.replay.rejects import Selection
    from licmeter.sinks.replay.run import Replayed, Step

__all__ = ["register"]

#: More than this is asked about before it is done.
UNASKED_MAX = 100
NAMED_SHOWN = 20
#: Where the records stand that are waited for; beyond that, a question to ClickHouse would be too long.
SPANS_MAX = 500


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET…]", help="Only these; otherwise all open ones.")
    ] = None,
    reason: ReasonOption = None,
    organization: OrganizationOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Put so many back at the most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each, and do nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also put back what is bound to be refused again, as far as can be said.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help=f"Do not ask, also for more than {UNASKED_MAX}.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until they are counted; 0 = do not wait.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Put refused records back, so that they go through the checks again; each is put back once.

    Killed and started again, it goes on where it was. A report that was reported again since is a duplicate. The time
    of arrival is that of the replay: what has become too old since stays out. What is bound to be refused again is left
    where it is. Exit code 1 when some of what was put back was refused again.
    """
    from licmeter.runtime.rejects import parse_places, with_rejects

    now = datetime.now(UTC)
    settings = load_settings()
    selection = selection_of(reason, organization, since, until, now, parse_places(places or []))

    async def work(book: "RejectBook") -> "tuple[Plan, int, Replayed | None]":
        return await _work(settings, book, selection, now, limit, dry_run=dry_run, force=force, yes=yes)

    plan, count, done = with_rejects(settings, work)
    missing = sorted(selection.places - plan.places)
    for place in missing:
        errors.print(f"there is no reject {place.short}", style="yellow", highlight=False)
    if done is None:
        _print_plan(plan, count, as_json=as_json)
        raise typer.Exit(1 if missing else 0)
    result = _result(settings, plan, done, count, wait)
    if as_json:
        print_json(result)
    else:
        _show_result(result)
    raise typer.Exit(1 if missing or result.get("rejected") else 0)


async def _work(
    settings: Settings,
    book: "RejectBook",
    selection: "Selection",
    now: datetime,
    limit: int | None,
    *,
    dry_run: bool,
    force: bool,
    yes: bool,
) -> "tuple[Plan, int, Replayed | None]":
    """Plan, ask, and do it; returns the plan, how many were to be put back, and what was done unless it is dry."""
    from licmeter.runtime.rejects import plan_replay
    from licmeter.sinks.replay.forecast import Prospect, forecast
    from licmeter.sinks.replay.run import Replayed

    catalogs = await book.catalogs()
    now_ms = round(now.timestamp() * 1000)
    wanted = (Prospect.JUDGED, Prospect.REFUSED) if force else (Prospect.JUDGED,)

    def look(entry: "Entry") -> "Forecast":
        return forecast(entry.reject, now_ms, catalogs)

    span = await book.span(selection)
    with progress_bar("reading rejects", span.offsets) as (bars, task):
        plan = await plan_replay(book, span, selection, look, lambda count: bars.advance(task, count))
    count = plan.count(*wanted)
    count = count if limit is None else min(count, limit)
    if dry_run:
        return plan, count, None
    if not count and not book.memory.unfinished():
        return plan, count, Replayed()
    _ask(plan, count, yes=yes)
    done = await _put_back(settings, book, span, selection, lambda entry: look(entry).prospect in wanted, count, limit)
    return plan, count, done


def _ask(plan: "Plan", count: int, *, yes: bool) -> None:
    """Return if it may be done; raises `UsageError` where nobody can be asked."""
    if yes or count <= UNASKED_MAX:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{count:,} records would be put back", hint="say --yes; --dry-run shows what becomes of them")
    _show_prospects(plan)
    if not typer.confirm(f"Put {count:,} records back?", err=True):
        raise LicmeterError("nothing was put back")


async def _put_back(
    settings: Settings,
    book: "RejectBook",
    span: "Span",
    selection: "Selection",
    wanted: "Callable[[Entry], bool]",
    count: int,
    limit: int | None,
) -> "Replayed":
    from licmeter.sinks.replay.run import ReplayBounds, Step, replay_rejects

    bounds = ReplayBounds()
    with progress_bar("putting back", count) as (bars, task):

        def on_step(step: "Step") -> None:
            waiting = f"waiting {bounds.fence_s:.0f} s for a replay that was broken off to come to rest"
            bars.update(task, description=waiting if step is Step.WAITING else "putting back")

        return await replay_rejects(
            settings.bootstrap_servers,
            book,
            span,
            selection,
            wanted,
            run=secrets.token_hex(16),
            bounds=bounds,
            limit=limit,
            on_step=on_step,
            on_replayed=lambda number: bars.advance(task, number),
        )


def _print_plan(plan: "Plan", count: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "would_replay": count,
                "replayed_before": plan.replayed,
                "prospects": _counts(plan),
                "rejects": [
                    {
                        "place": str(entry.reject.place),
                        "reason": entry.reject.reason,
                        "prospect": found.prospect,
                        "would_be": found.reason,
                        "detail": found.detail,
                    }
                    for entry, found in plan.named
                ],
            }
        )
        return
    if plan.named:
        rows = [
            (entry.reject.place.short, entry.reject.organization_id[:64], entry.reject.reason, _words(found))
            for entry, found in plan.named[:NAMED_SHOWN]
        ]
        columns = dict.fromkeys(("place", "organization", "was refused as", "now it"), "left")
        out.print(table("What would become of them", columns, rows))
        if len(rows) < plan.prospects.total():
            errors.print(f"the first {len(rows)} of {plan.prospects.total():,}", style="dim", highlight=False)
    _show_prospects(plan)
    errors.print(f"{count:,} would be put back; nothing was done", highlight=False)


def _words(found: "Forecast") -> str:
    return found.text + (f" ({found.detail})" if found.reason and found.detail else "")


def _show_prospects(plan: "Plan") -> None:
    for found, number in sorted(plan.prospects.items(), key=lambda each: -each[1]):
        errors.print(f"  {number:>9,} {found.text}", highlight=False, markup=False)
    if plan.replayed:
        errors.print(f"  {plan.replayed:>9,} put back before, and left alone", highlight=False)


def _counts(plan: "Plan") -> dict[str, int]:
    """Return how many have which prospect; of those that would be refused, by reason."""
    counts: Counter[str] = Counter()
    for found, number in plan.prospects.items():
        counts[found.reason or found.prospect] += number
    return dict(counts)


def _result(settings: Settings, plan: "Plan", done: "Replayed", count: int, wait: float) -> dict[str, Any]:
    """Return what was done, and what became of it as far as ClickHouse knows in time."""
    from licmeter.runtime.errors import ServiceError
    from licmeter.runtime.rejects import spans_of
    from licmeter.runtime.settling import wait_until_counted
    from licmeter.runtime.wiring import clickhouse_target

    result: dict[str, Any] = {
        "replayed": len(done.places),
        "recovered": done.recovered,
        "replayed_before": plan.replayed,
        "left": plan.prospects.total() - len(done.places),
        "prospects": _counts(plan),
    }
    spans = spans_of(done.places)
    if not spans or not wait or len(spans) > SPANS_MAX:
        return result
    try:
        with errors.status("waiting until they are counted"):
            settled = wait_until_counted(clickhouse_target(settings), spans, wait)
    except ServiceError as error:
        errors.print(f"they were put back; what became of them is not known: {error}", style="yellow", markup=False)
        return result
    return result | {"outcomes": settled.outcomes, "rejected": settled.rejected, "not_counted_yet": settled.open}


def _show_result(result: dict[str, Any]) -> None:
    line = f"{result['replayed']:,} records put back"
    if "outcomes" in result:
        outcomes = [f"{number:,} {name}" for name, number in sorted(result["outcomes"].items())]
        refused = sum(result["rejected"].values())
        line += f": {', '.join([*outcomes, f'{refused:,} rejected again'])}"
    out.print(line, highlight=False)
    if result["replayed_before"] and not result["replayed"]:
        errors.print(f"{result['replayed_before']:,} were put back before, and left alone", highlight=False)
    for reason, number in sorted(result.get("rejected", {}).items()):
        out.print(f"  rejected again as {reason}: {number:,}", style="yellow", highlight=False)
    if result["recovered"]:
        words = f"{result['recovered']:,} of a replay that was broken off had been put back, and were noted"
        errors.print(words, highlight=False)
    if result["left"]:
        left = sorted(((name, n) for name, n in result["prospects"].items() if name != "judged"), key=lambda e: -e[1])
        reasons = ", ".join(f"{name} {number:,}" for name, number in left)
        errors.print(f"{result['left']:,} left where they are{f' ({reasons})' if reasons else ''}", highlight=False)
    if result.get("not_counted_yet"):
        words = f"{result['not_counted_yet']:,} are not in ClickHouse yet; they are safe in Kafka"
        errors.print(words, style="yellow", highlight=False)
