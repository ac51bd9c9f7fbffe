"""`licmeter api`: the statistics over HTTP, and tokens for those who ask."""

import json
import secrets
import shlex
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import structlog
import typer
from pydantic import ValidationError

from licmeter.runtime.cli.output import JsonOption, errors, out, print_json
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.logs import configure_logging
from licmeter.runtime.parent import end_with_parent
from licmeter.runtime.settings import ApiTokenSettings, load_settings

__all__ = ["register"]

DAYS_MAX = 3_650

api = typer.Typer(
    help="Serve the statistics over HTTP, until stopped (docs/statistics-api.md).", invoke_without_command=True
)
token = typer.Typer(help="Tokens for those who ask.", no_args_is_help=True)
api.add_typer(token, name="token")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(api, name="api")


@api.callback()
def serve(
    context: typer.Context,
    parent_pipe: Annotated[int | None, typer.Option("--parent-pipe", hidden=True)] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the settings and exit.")] = False,
) -> None:
    """Serve the statistics over HTTP, until stopped. (With a command: do only that.)"""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    if parent_pipe is not None:
        end_with_parent(parent_pipe)
    from licmeter.analytics.http.server import run_api
    from licmeter.runtime.wiring import api_config

    config = api_config(settings)
    if check:
        print_json(settings.model_dump(mode="json"))
        return
    try:
        run_api(config, lambda url: structlog.get_logger("licmeter.api").info("api_listens", url=url))
    except OSError as error:
        raise ServiceError(
            f"the statistics cannot be served on {config.host}:{config.port}: {error.strerror or error}",
            service="api",
            hint="set LICMETER_API__PORT to another port",
        ) from error


@token.command()
def create(
    organization: Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Whose statistics; '*' = of all.")],
    label: Annotated[str, typer.Option(help="A note on who has it; it names the token in the log.")] = "",
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", min=1, max=DAYS_MAX, metavar="DAYS", help="It ends after that.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it: only now, as the settings keep a digest. Nothing is changed."""
    from licmeter.analytics.http.tokens import make_token, token_sha256

    settings = load_settings()
    text = make_token(secrets.token_bytes)
    ends_at = None if expires_in is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=expires_in)
    try:
        entry = ApiTokenSettings(
            sha256=token_sha256(text), organization=organization, label=label, expires_at=ends_at
        ).model_dump(mode="json", exclude_defaults=True)
    except ValidationError as error:
        mistake = error.errors()[0]
        raise UsageError(f"{mistake['loc'][0]}: {mistake['msg']}") from error
    if as_json:
        print_json({"token": text, "entry": entry})
        return
    out.print(text, highlight=False, markup=False, soft_wrap=True)
    sys.stdout.flush()
    known = [each.model_dump(mode="json", exclude_defaults=True) for each in settings.api.tokens]
    errors.print("Keep it now: it is shown this once, and kept nowhere.", style="yellow", highlight=False)
    added = " (the tokens that are set now, and this one)" if known else ""
    errors.print(f"It works once `licmeter api` was started with this setting{added}:", highlight=False)
    value = shlex.quote(json.dumps([*known, entry], ensure_ascii=False))
    errors.print(f"LICMETER_API__TOKENS={value}", highlight=False, markup=False, soft_wrap=True)
