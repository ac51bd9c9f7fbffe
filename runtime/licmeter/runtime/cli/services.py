"""Commands that run a part of the system until it is stopped."""

import asyncio
import signal
import threading
from typing import Annotated

import structlog
import typer

from licmeter.runtime.cli.output import errors, print_json
from licmeter.runtime.errors import ServiceError
from licmeter.runtime.logs import configure_logging
from licmeter.runtime.parent import end_with_parent
from licmeter.runtime.settings import Settings, load_settings

__all__ = ["register"]

ParentPipe = Annotated[int | None, typer.Option("--parent-pipe", hidden=True)]
CheckOnly = Annotated[bool, typer.Option("--check", help="Check the settings and exit.")]
STATUS_INTERVAL_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (kafka, clickhouse, stream, sink, gateway, up):
        app.command()(command)


def _settings(parent_pipe: int | None) -> Settings:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    if parent_pipe is not None:
        end_with_parent(parent_pipe)
    return settings


def kafka() -> None:
    """Run the embedded Kafka alone."""
    from licmeter.runtime.kafka.foreground import run_foreground

    raise typer.Exit(run_foreground(load_settings()))


def clickhouse() -> None:
    """Run the embedded ClickHouse (chDB behind ClickHouse's HTTP interface) alone."""
    from licmeter.runtime.clickhouse.foreground import run_foreground

    raise typer.Exit(run_foreground(load_settings()))


def stream(parent_pipe: ParentPipe = None, check: CheckOnly = False) -> None:
    """Run a worker: counts what comes on usage.events."""
    settings = _settings(parent_pipe)
    from licmeter.runtime.wiring import stream_config
    from licmeter.stream.worker import run_worker

    config = stream_config(settings)
    if check:
        _say_checked(settings)
        return
    _require_topics(settings)
    raise typer.Exit(run_worker(config))


def sink(parent_pipe: ParentPipe = None, check: CheckOnly = False) -> None:
    """Run a sink: writes what the worker put out to ClickHouse."""
    settings = _settings(parent_pipe)
    from licmeter.runtime.rollups import keep_rolled_up
    from licmeter.runtime.wiring import sink_config
    from licmeter.sinks.sink import run_sink

    config = sink_config(settings)
    if check:
        _say_checked(settings)
        return

    _require_topics(settings)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with asyncio.TaskGroup() as group:
            interval_s = settings.sink.rollup_interval_s
            rolling = group.create_task(keep_rolled_up(config.target, interval_s, stop)) if interval_s else None
            await run_sink(config, stop)
            if rolling is not None:
                rolling.cancel()

    asyncio.run(run())


def gateway(parent_pipe: ParentPipe = None, check: CheckOnly = False) -> None:
    """Run an HTTP gateway: what applications in the field send their reports to."""
    settings = _settings(parent_pipe)
    from licmeter.producers.errors import SendError
    from licmeter.producers.gateway.server import run_gateway
    from licmeter.runtime.wiring import gateway_config

    config = gateway_config(settings)
    if check:
        _say_checked(settings)
        return
    _require_topics(settings)
    try:
        run_gateway(config, lambda url: structlog.get_logger("licmeter.gateway").info("gateway_listens", url=url))
    except SendError as error:
        raise ServiceError(str(error), service="kafka") from error
    except OSError as error:
        raise ServiceError(
            f"the gateway cannot listen on {config.host}:{config.port}: {error.strerror or error}",
            service="gateway",
            hint="set LICMETER_GATEWAY__PORT to another port",
        ) from error


def up(
    print_addresses: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON once it runs.")] = False,
) -> None:
    """Run everything in one go: Kafka, ClickHouse, worker, sink, gateway, statistics. Ctrl-C stops it."""
    from licmeter.runtime.kafka.foreground import progress_bars
    from licmeter.runtime.stack import ALL_SERVICES, Stack
    from licmeter.runtime.wiring import api_config

    settings = load_settings()
    api_config(settings)  # says what is wrong with it before anything is started
    configure_logging("WARNING", settings.log_format)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    services = (*ALL_SERVICES, "notify") if settings.notify.config is not None else ALL_SERVICES
    with Stack(settings, services) as stack:
        with progress_bars(errors) as on_kafka:
            stack.start(lambda step: errors.print(f"licmeter: {step}", highlight=False), on_kafka)
        _say_running(stack.settings, print_addresses)
        while not stopped.wait(STATUS_INTERVAL_S):
            for event in stack.check():
                errors.print(f"licmeter: {event}", style="yellow", highlight=False)
        errors.print("licmeter: stopping", highlight=False)


def _require_topics(settings: Settings) -> None:
    """Refuse to start on topics that are missing or cut otherwise; say what else differs.

    Raises `ServiceError` also when Kafka cannot be reached.
    """
    from licmeter.runtime.stack import apply_topic_table

    reports = apply_topic_table(settings, dry_run=True)
    missing = [report.name for report in reports if report.action == "missing"]
    if missing:
        raise ServiceError(
            f"there are no topics {', '.join(missing)}", service="kafka", hint="`licmeter topics apply` creates them"
        )
    cut = [report for report in reports if report.partitions != settings.kafka.partitions]
    if cut:
        raise ServiceError(
            f"topic {cut[0].name} has {cut[0].partitions} partitions, the settings say {settings.kafka.partitions}",
            service="kafka",
            hint="set LICMETER_KAFKA__PARTITIONS to that; an organization must not change its partition",
        )
    for report in reports:
        for difference in report.differences:
            structlog.get_logger("licmeter").warning("topic_differs", topic=report.name, difference=difference)


def _say_running(settings: Settings, as_json: bool) -> None:
    addresses = {
        "kafka": settings.bootstrap_servers,
        "clickhouse": settings.clickhouse_url,
        "gateway": settings.gateway_url,
        "api": settings.api_url,
        "database": settings.clickhouse.database,
        "data": str(settings.data_dir.absolute()),
    }
    if as_json:
        print_json(addresses)
        return
    errors.print(
        f"licmeter runs: Kafka on {addresses['kafka']}, ClickHouse on {addresses['clickhouse']}, "
        f"gateway on {addresses['gateway']}, statistics on {addresses['api']}, "
        f"data and logs in {addresses['data']}. Ctrl-C stops it.\n"
        "In another terminal: `licmeter license apply FILE.yaml`, `licmeter send FILE`, `licmeter stats`",
        style="green",
        highlight=False,
        soft_wrap=True,
    )


def _say_checked(settings: Settings) -> None:
    print_json(settings.model_dump(mode="json"))
