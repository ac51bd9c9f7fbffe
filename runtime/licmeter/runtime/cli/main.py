"""The command line: one application, its commands in groups of files, and what happens when one fails."""

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from licmeter.runtime.cli import (
    alerting,
    auditing,
    demo,
    keys,
    metering,
    notifying,
    proving,
    rejects,
    rollups,
    sending,
    services,
    serving,
    setup,
    simulating,
    spool,
    stats,
)
from licmeter.runtime.cli.output import errors
from licmeter.runtime.errors import LicmeterError

__all__ = ["app", "main"]

app = typer.Typer(
    name="licmeter",
    help="Measures how software licenses are used: every accepted report counts exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
services.register(app)
serving.register(app)
demo.register(app)
setup.register(app)
keys.register(app)
sending.register(app)
spool.register(app)
simulating.register(app)
stats.register(app)
alerting.register(app)
rejects.register(app)
notifying.register(app)
rollups.register(app)
auditing.register(app)
proving.register(app)
metering.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"licmeter {version('licmeter')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run a command; a failure becomes a message and an exit code, never a traceback."""
    try:
        app()
    except LicmeterError as error:
        errors.print(f"licmeter: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
        if error.hint:
            errors.print(error.hint, markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("licmeter: stopped", highlight=False)
        sys.exit(130)
    except BrokenPipeError:  # `licmeter … | head`
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)
