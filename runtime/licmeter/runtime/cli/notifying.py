"""`licmeter notify`: alerts to people and other systems, and what could not be delivered."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from licmeter.runtime.cli.output import JsonOption, out, print_json, table
from licmeter.runtime.cli.undelivered import TargetOption, undelivered
from licmeter.runtime.errors import LicmeterError, ServiceError, SettingsError
from licmeter.runtime.logs import configure_logging
from licmeter.runtime.parent import end_with_parent
from licmeter.runtime.settings import Settings, load_settings
from licmeter.schemas.outcomes import BreachKind

if TYPE_CHECKING:
    from licmeter.sinks.notify.config import Target

__all__ = ["register"]


notify = typer.Typer(help="Alerts by e-mail, chat and signed webhooks (docs/notify.md).", invoke_without_command=True)
notify.add_typer(undelivered, name="undelivered")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(notify, name="notify")


@notify.callback()
def run(
    context: typer.Context,
    parent_pipe: Annotated[int | None, typer.Option("--parent-pipe", hidden=True)] = None,
    check: Annotated[bool, typer.Option("--check", help="Check settings and targets, show them, and exit.")] = False,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send what comes on license.alerts to the targets, until stopped. (With a command: do only that.)"""
    if context.invoked_subcommand is not None:
        return
    from licmeter.runtime.notifications import chosen_targets, read_targets, with_kafka

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    if parent_pipe is not None:
        end_with_parent(parent_pipe)
    targets = chosen_targets(read_targets(settings).targets, target)
    if check:
        _show_targets(targets, asyncio.run(_services(targets)), as_json)
        return
    from licmeter.sinks.notify.service import NotifierConfig, run_notifier

    _require_topics(settings)
    config = NotifierConfig(
        bootstrap_servers=settings.bootstrap_servers,
        targets=targets,
        instance_id=settings.notify.instance_id,
        session_timeout_s=settings.notify.session_timeout_s,
        stats_interval_s=settings.notify.stats_interval_s,
    )

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_notifier(config, stop)

    with_kafka(settings, serve)


def _require_topics(settings: Settings) -> None:
    """Refuse to start without the topics; raises `ServiceError`."""
    from licmeter.runtime.topics import apply_topics
    from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_UNDELIVERED

    reports = asyncio.run(
        apply_topics(
            settings.bootstrap_servers,
            (LICENSE_ALERTS, LICENSE_UNDELIVERED),
            partitions=settings.kafka.partitions,
            replication_factor=settings.kafka.replication_factor,
            dry_run=True,
        )
    )
    missing = [report.name for report in reports if report.action == "missing"]
    if missing:
        raise ServiceError(
            f"there are no topics {', '.join(missing)}", service="kafka", hint="`licmeter topics apply` creates them"
        )


async def _services(targets: "Sequence[Target]") -> dict[str, str]:
    """Ask apprise which service each URL is of; raises `SettingsError` for those that it does not understand."""
    from licmeter.sinks.notify.children import Children
    from licmeter.sinks.notify.errors import DeliveryError
    from licmeter.sinks.notify.senders import AppriseSender, make_sender

    children, mistakes, found = Children(), [], {}
    for target in targets:
        sender = make_sender(target, children)
        try:
            found[target.name] = await sender.check() if isinstance(sender, AppriseSender) else target.kind
        except DeliveryError as error:
            mistakes.append(f"target {target.name}: {error.reason}")
        finally:
            await sender.close()
    if mistakes:
        raise SettingsError(mistakes)
    return found


def _show_targets(targets: "Sequence[Target]", services: dict[str, str], as_json: bool) -> None:
    from licmeter.sinks.notify.senders import shown_address

    rows: list[dict[str, Any]] = [
        {
            "target": target.name,
            "kind": target.kind,
            "service": services[target.name],
            "address": shown_address(target),
            "organizations": list(target.organizations),
            "breaches": sorted(target.kinds),
            "usage_alerts": target.usage_alerts,
            "level_min": target.level_min,
            "enabled": target.enabled,
        }
        for target in targets
    ]
    if as_json:
        print_json({"targets": rows})
        return
    columns = dict.fromkeys(("target", "service", "address", "organizations", "breaches", "usage alerts"), "left")
    cells = [
        (
            row["target"] if row["enabled"] else f"{row['target']} (off)",
            row["service"],
            row["address"],
            ", ".join(row["organizations"]),
            "all" if set(row["breaches"]) == set(BreachKind) else ", ".join(row["breaches"]) or "none",
            f"from {row['level_min']} %" if row["usage_alerts"] and row["level_min"] else row["usage_alerts"],
        )
        for row in rows
    ]
    out.print(table("Targets", columns, cells))


@notify.command("test")
def try_target(
    name: Annotated[str, typer.Argument(metavar="TARGET")],
    kind: Annotated[
        BreachKind | None, typer.Option(help="Send a breach of this kind instead of a usage alert.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="E-mail: send it to this address.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send one sample message to a target, once, and say what became of it."""
    from licmeter.runtime.notifications import chosen_targets, read_targets
    from licmeter.sinks.notify.children import Children
    from licmeter.sinks.notify.errors import DeliveryError
    from licmeter.sinks.notify.samples import sample_notice
    from licmeter.sinks.notify.secrets import quiet_libraries
    from licmeter.sinks.notify.senders import make_sender

    (target,) = chosen_targets(read_targets(load_settings()).targets, [name])
    notice = sample_notice(target, kind, datetime.now(UTC), to)

    async def send() -> str | None:
        sender = make_sender(target, Children())
        try:
            refused = await sender.send(notice)
            return "; ".join(f"{address}: {reason}" for address, reason in refused.items()) or None
        except DeliveryError as error:
            return error.reason
        finally:
            await sender.close()

    with quiet_libraries():
        failure = asyncio.run(send())
    if as_json:
        print_json({"target": name, "key": notice.key, "delivered": failure is None, "reason": failure})
    elif failure is None:
        out.print(f"{name} took the sample, {notice.key}", highlight=False, markup=False, soft_wrap=True)
    if failure is not None:
        raise LicmeterError(f"{name} did not take the sample: {failure}")


@notify.command("status")
def status(target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Show how far each target is behind, and how many alerts it has not got. 1 = some are behind or undelivered."""
    from licmeter.runtime.notifications import chosen_targets, read_letters, read_targets, with_kafka
    from licmeter.sinks.notify.positions import lags

    settings = load_settings()
    names = [each.name for each in chosen_targets(read_targets(settings).targets, target) if each.enabled]
    behind = with_kafka(settings, lambda: lags(settings.bootstrap_servers, names))
    letters, _ = read_letters(settings, [], None, None)
    rows = [
        {
            "target": name,
            "begun": behind[name] is not None,
            "lag": behind[name],
            "undelivered": sum(letter.notice.target == name for letter in letters),
        }
        for name in names
    ]
    if as_json:
        print_json({"targets": rows})
    else:
        columns = {"target": "left", "records not settled": "right", "undelivered": "right"}
        cells = [(row["target"], row["lag"] if row["begun"] else "never run", row["undelivered"]) for row in rows]
        out.print(table("Notifications", columns, cells))
    if any(row["lag"] or row["undelivered"] for row in rows):
        raise typer.Exit(1)
