"""`licmeter simulate`: a fleet by a scenario file, as load, and as a check that all of it is counted."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from licmeter.runtime.cli.output import JsonOption, out, print_json, progress_bar, table
from licmeter.runtime.errors import UsageError
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from licmeter.runtime.simulation import Run

__all__ = ["register"]

#: `--to`, unless it is the address of a gateway.
KAFKA: Final = "kafka"
DIFFERENCES_SHOWN_MAX: Final = 50
#: License keys made for a run end by themselves; a run takes less.
KEY_LIFE: Final = timedelta(days=1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    scenario: Annotated[Path | None, typer.Argument(metavar="SCENARIO.yaml", help="See --example.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the scenario's.")] = None,
    to: Annotated[str, typer.Option(metavar="kafka|URL", help="kafka, or the address of a gateway.")] = KAFKA,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write, and send nothing.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times simulated time.", show_default="as fast as possible")
    ] = None,
    as_fast_as_possible: Annotated[bool, typer.Option("--as-fast-as-possible", help="The default.")] = False,
    license_key: Annotated[
        list[str] | None, typer.Option(metavar="[ORGANIZATION=]KEY", help="For the gateway; none: made for the run.")
    ] = None,
    apply_license: Annotated[
        bool | None,
        typer.Option(
            "--apply-license/--no-apply-license",
            help="Put the licenses in force, under organizations of the run's own; or they are in force already.",
            show_default="apply, unless keys are given",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send so many records at most.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, max=1_000, help="Requests to the gateway at a time.")] = 16,
    check: Annotated[bool, typer.Option("--check", help="Compare the books with license.counters.")] = False,
    wait: Annotated[float, typer.Option(min=1, help="For --check: seconds without progress to wait.")] = 60.0,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write what must be counted.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a scenario that shows everything.")] = False,
    now: Annotated[str | None, typer.Option(metavar="INSTANT", help="For --out, --dry-run: when the run ends.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a fleet by a scenario file: send what it reports, and know what must be counted (docs/simulate.md).

    Exit code 1 when --check finds a difference.
    """
    from licmeter.producers.simulation.world import example_scenario
    from licmeter.runtime.simulation import Run, unused

    if example:
        out.file.write(example_scenario())
        return
    if scenario is None:
        raise UsageError(
            "no scenario given", hint="`licmeter simulate --example > fleet.yaml` writes one to begin with"
        )
    offline = dry_run or out_file is not None
    _check_options(to, offline=offline, check=check, now=now, speed=speed, at_once=as_fast_as_possible)
    apply = (not license_key) if apply_license is None else apply_license
    run = Run(load_settings(), "file" if out_file is not None else to, limit, speed)
    _prepare(run, scenario, seed, _instant(now), apply=apply, sends=not offline, given_keys=license_key or [])
    _check_duration(run)
    if check:
        run.before = unused(run)
    began = time.monotonic()
    if offline:
        _write(run, None if dry_run else out_file)
    else:
        _send(run, in_flight, apply=apply)
    run.seconds = time.monotonic() - began
    if check:
        _compare(run, wait)
    document = _document(run)
    if ledger is not None:
        ledger.write_text(json.dumps(document["ledger"], indent=2) + "\n")
    if as_json:
        print_json(document)
    else:
        _show(run, document)
    raise typer.Exit(bool(run.differences))


def _check_options(to: str, *, offline: bool, check: bool, now: str | None, speed: float | None, at_once: bool) -> None:
    if to != KAFKA and not to.startswith(("http://", "https://")):
        raise UsageError(f"--to {to}: kafka, or the http(s) address of a gateway")
    if offline and (check or speed is not None):
        raise UsageError("--check and --speed are for runs that send something")
    if now is not None and not offline:
        raise UsageError("--now is for --out and --dry-run: what is sent must end now to be accepted")
    if speed is not None and at_once:
        raise UsageError("--speed and --as-fast-as-possible contradict each other")


def _check_duration(run: "Run") -> None:
    from licmeter.producers.simulation.world import RUN_S_MAX

    seconds = 0 if run.speed is None else run.world.slots * 180 / run.speed
    if seconds > RUN_S_MAX:
        raise UsageError(
            f"at --speed {run.speed:g} the run would take {seconds / 3600:.1f} h; at most {RUN_S_MAX / 3600:g} h",
            hint="what is sent later than that may be refused, or find seats that have ended",
        )


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"--now: {text} is no instant with a zone, such as 2031-03-08T10:00:00Z")
    return instant.astimezone(UTC)


def _prepare(
    run: "Run", file: Path, seed: int | None, now: datetime, *, apply: bool, sends: bool, given_keys: list[str]
) -> None:
    """Read the scenario, and make the world; organizations of a run that applies licenses are its own."""
    from licmeter.metering.catalog_checks import catalog_mistakes
    from licmeter.producers.simulation.world import Transport, World
    from licmeter.schemas.license_keys import make_license_key

    transport = next((each for each in Transport if each == run.target), Transport.GATEWAY)
    gateway = transport is Transport.GATEWAY
    plan, name = _read(file), f"{now:%Y%m%d%H%M%S}"
    if sends and apply:
        plan = plan.named(name)
    ids, kept = [each.organization_id for each in plan.organizations], {}
    if gateway and sends and not apply:
        run.license_keys = _given(given_keys, ids)
    elif gateway and sends:
        for each in ids:
            run.license_keys[each], kept[each] = make_license_key(
                os.urandom, created_at=now, expires_at=now + KEY_LIFE, label=f"simulation {name}"
            )
    catalogs = apply and not gateway
    run.world = World(plan, now=now, run=name, seed=seed, transport=transport, catalogs=catalogs, license_keys=kept)
    mistakes = [mistake for document in run.world.documents() for mistake in catalog_mistakes(document)]
    if mistakes:
        raise UsageError("the licenses would not be accepted:\n" + "\n".join(f"  {each}" for each in mistakes))


def _read(file: Path) -> Any:
    import yaml

    from licmeter.producers.simulation.world import ScenarioError, read_scenario

    try:
        return read_scenario(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: {error}") from error
    except ScenarioError as error:
        raise UsageError(f"{file} cannot be run:\n" + "\n".join(f"  {each}" for each in error.mistakes)) from error


def _given(texts: list[str], ids: list[str]) -> dict[str, str]:
    """Sort license keys by organization; a bare key is for the only one."""
    from licmeter.schemas.license_keys import parse_license_key

    keys = {}
    for text in texts:
        name, _, key = text.rpartition("=")
        if parse_license_key(key) is None:
            raise UsageError("--license-key: not the form of a license key, lmk_<key id>_<secret>")
        if not name and len(ids) > 1:
            raise UsageError("--license-key: the scenario has several organizations; write ORGANIZATION=KEY")
        keys[name or ids[0]] = key
    missing, unknown = [each for each in ids if each not in keys], [each for each in keys if each not in ids]
    if missing or unknown:
        words = [f"no key for {', '.join(missing)}"] if missing else []
        words += [f"the scenario has no organization {', '.join(unknown)}"] if unknown else []
        raise UsageError(f"--license-key: {'; '.join(words)}")
    return keys


@contextmanager
def _progress(run: "Run", verb: str) -> Iterator[Callable[[int], None]]:
    """Show how much simulated time is done, in slots, and the records beside."""
    with progress_bar(verb, total=run.world.slots) as (bars, task):

        def update(sent: int) -> None:
            bars.update(task, completed=run.world.slots_done, description=f"{verb}, {sent:,} records")

        yield update
        update(run.world.ledger.total_sent)


def _write(run: "Run", file: Path | None) -> None:
    """Make everything, and write it as `licmeter send` and `licmeter meter` read it; or only count it."""
    attribute = b'{"receivedat":"%b",' % f"{run.world.now:%Y-%m-%dT%H:%M:%SZ}".encode()
    try:
        with _progress(run, "simulating") as update, open(file or os.devnull, "wb") as lines:  # noqa: PTH123
            for number, record in enumerate(run.world.records(run.limit)):
                lines.write(attribute + (record.value or b"{")[1:] + b"\n")
                if number % 1_000 == 0:
                    update(number)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error


def _send(run: "Run", in_flight: int, *, apply: bool) -> None:
    from licmeter.runtime.simulation import send

    with _progress(run, "sending") as update:
        send(run, in_flight, update, apply=apply)


def _compare(run: "Run", wait_s: float) -> None:
    from licmeter.runtime.simulation import compare

    with progress_bar("counting", total=run.world.ledger.total_sent) as (bars, task):
        compare(run, wait_s, lambda counted: bars.update(task, completed=counted))


def _document(run: "Run") -> dict[str, Any]:
    from licmeter.producers.simulation.world import RUN_S_MAX

    world = run.world
    return {
        "seed": world.seed,
        "run": world.run,
        "ends_at": world.now.isoformat(),
        "simulated_hours": world.slots_done * 180 / 3600,
        "target": run.target,
        "devices": dict(world.devices),
        "sent": world.ledger.total_sent,
        "seconds": round(run.seconds, 2),
        "took_too_long": run.seconds > RUN_S_MAX,
        "records_per_s": round(world.ledger.total_sent / run.seconds) if run.seconds else 0,
        "still_stored": world.unsent,
        "lost_by_reinstalls": world.reports_lost,
        "starts_unasked": world.starts_unasked,
        "kinds_left_out": list(world.left_out),
        "gateway": None if run.load is None else run.load.to_json(),
        "ledger": world.ledger.to_json(),
        "differences": run.differences,
    }


def _show(run: "Run", document: dict[str, Any]) -> None:
    devices, books = document["devices"], document["ledger"]
    figures = ("sent", "charged", "uncharged", "duplicate", "rejected", "granted", "refused")
    columns = {"organization": "left"} | dict.fromkeys(("devices", *figures), "right")
    rows = [
        (row["organization_id"] or "(of nobody known)", devices.get(row["organization_id"]), *(row[f] for f in figures))
        for row in books["organizations"]
    ]
    out.print(table("What must be counted", columns, rows))
    names = ("quota", "used", "in_grace", "over", "active", "consumed", "attributed", "percent", "state")
    columns = {"item": "left"} | {name: "left" if name == "state" else "right" for name in names}
    rows = [(f"{item['organization_id']}/{item['item_id']}", *(item[n] for n in names)) for item in books["items"]]
    out.print(table("License items", columns, rows))
    kinds = list(books["kinds"].items())
    out.print(table("Reports by kind", {"kind": "left", "reports": "right"}, kinds))
    if run.load is not None:
        load = document["gateway"]
        shown = ("requests", "events_per_s", "p50_ms", "p99_ms", "accepted", "granted", "refused", "sent_again")
        out.print(table("Gateway", dict.fromkeys(shown, "right"), [tuple(load[name] for name in shown)]))
    _show_notes(run, document)


def _show_notes(run: "Run", document: dict[str, Any]) -> None:
    """Say what was not sent and why, and how the comparison went."""
    for name, words in (
        ("still_stored", "reports are still stored on devices that are offline to the end"),
        ("lost_by_reinstalls", "stored reports were lost with devices that were installed anew"),
        ("starts_unasked", "starts are too long ago for a request for leave"),
    ):
        if document[name]:
            out.print(f"{document[name]:,} {words}.", highlight=False)
    if document["kinds_left_out"]:
        out.print(
            f"Left out, as they cannot travel this way: {', '.join(document['kinds_left_out'])}.", highlight=False
        )
    out.print(
        f"{document['sent']:,} records in {document['seconds']:,} s, {document['records_per_s']:,} a second; "
        f"seed {document['seed']}, run {document['run']}.",
        highlight=False,
    )
    if run.differences == []:
        out.print("[green]license.counters agrees with the books in every figure.[/]")
    if document["took_too_long"]:
        out.print("[yellow]The run took so long that seats may have ended, which the books do not know.[/]")
    differences = run.differences or []
    if len(differences) > DIFFERENCES_SHOWN_MAX:
        out.print(f"{len(differences):,} differences, all of them with --json; the first:", highlight=False)
    for difference in differences[:DIFFERENCES_SHOWN_MAX]:
        out.print(f"[red]differs[/] {escape(difference)}", highlight=False)
