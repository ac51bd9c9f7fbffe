"""`licmeter alerts`: what stands on `license.alerts`, as it comes."""

import asyncio
import json
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from licmeter.runtime.cli.instants import INSTANT_HELP, instant_of
from licmeter.runtime.cli.output import errors, out
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from licmeter.schemas.alerts import Breach, Condition
    from licmeter.sinks.subscription import Alert, Start

__all__ = ["register"]

alerts = typer.Typer(help="Breaches and usage alerts.", no_args_is_help=True)

_STYLES: Final = {
    "quota_reached": "yellow",
    "grace_exhausted": "red",
    "device_refused": "red",
    "concurrency_exceeded": "yellow",
    "overuse_exhausted": "red",
    "domain_refused": "red",
    "unlicensed_use": "magenta",
    "usage_alert": "bold cyan",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(alerts, name="alerts")


@alerts.command()
def tail(
    organization: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind of breach, or usage_alert; again.")] = None,
    since: Annotated[str, typer.Option(help=f"now, earliest, {INSTANT_HELP}.")] = "now",
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on with what comes.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """Show alerts as they come, or those of some time: one line each. Ctrl-C ends it."""
    start = _start(since, datetime.now(UTC))
    settings = load_settings()
    try:
        asyncio.run(_tail(settings.bootstrap_servers, organization, kind, start, limit, follow=follow, as_json=as_json))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _start(since: str, now: datetime) -> "Start":
    if since == "now":
        return "latest"
    if since == "earliest":
        return "earliest"
    return instant_of("--since", since, now)


async def _tail(
    servers: str,
    organizations: list[str] | None,
    kinds: list[str] | None,
    start: "Start",
    limit: int | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    from aiokafka.errors import KafkaError

    from licmeter.sinks.subscription import alerts

    shown = 0
    try:
        reading = alerts(servers, organizations=organizations, kinds=kinds, start=start, follow=follow)
        async with aclosing(reading):
            async for alert in reading:
                _print_json(alert) if as_json else _print(alert)
                shown += 1
                if shown == limit:
                    return
    except (KafkaError, OSError) as error:
        raise ServiceError(
            f"Kafka at {servers}: {error or type(error).__name__}",
            service="kafka",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error
    if not shown and not as_json:
        errors.print("no alerts", style="dim")


def _print_json(alert: "Alert") -> None:
    document = {
        "kind": alert.kind,
        "event_id": alert.event_id,
        "partition": alert.partition,
        "offset": alert.offset,
        "arrived_at": alert.arrived_at.isoformat().replace("+00:00", "Z"),
        "data": alert.message.model_dump(mode="json", exclude_none=True),
    }
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()  # whoever reads the pipe waits for it


def _print(alert: "Alert") -> None:
    from licmeter.schemas.alerts import Breach

    message = alert.message
    style = _STYLES.get(alert.kind, "cyan")
    if isinstance(message, Breach):
        at = f"{message.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        out.print(Text.assemble(f"{at}  ", (f"{alert.kind:<21}", style), _breach(message)), soft_wrap=True)
        return
    at = f"{message.checked_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    for condition in message.conditions:
        text = f"{message.organization_id}  {_condition(condition)}"
        out.print(Text.assemble(f"{at}  ", (f"{alert.kind:<21}", style), text), soft_wrap=True)


def _breach(breach: "Breach") -> str:
    where = [breach.organization_id, breach.item_id and f"item {breach.item_id}", breach.project_id]
    parts = ["  ".join(each for each in where if each)]
    if breach.client_uuid:
        parts.append(f"client {breach.client_uuid}")
    if breach.value is not None:
        limit = "" if breach.limit is None else f" of {breach.limit:,}"
        parts.append(f"{breach.value:,}{limit}" + (f" ({breach.percent} %)" if breach.percent else ""))
    if breach.detail:
        parts.append(breach.detail)
    if breach.late:
        parts.append("late")
    parts.append(f"slot {breach.slot.astimezone(UTC):%m-%d %H:%M}")
    return "  ".join(parts)


def _condition(condition: "Condition") -> str:
    name: Any = f"item {condition.item_id}" if condition.scope == "item" else condition.project_id
    if condition.metric == "expires_in_days":
        return f"{name}  ends in {condition.value} days"
    of = "" if condition.quota is None else f" of {condition.quota:,}"
    percent = "" if condition.percent is None else f" ({condition.percent} %)"
    what = condition.metric.replace("_", " ")
    return f"{name}  {what} {condition.value:,}{of}{percent}, level {condition.level} %"
