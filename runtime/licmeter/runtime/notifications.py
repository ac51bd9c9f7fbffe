"""The document of targets, and the dead letters, for the commands of `licmeter notify`."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import yaml
from aiokafka.errors import KafkaError

from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.errors import ServiceError, SettingsError, UsageError
from licmeter.runtime.settings import Settings
from licmeter.schemas.topics import LICENSE_UNDELIVERED
from licmeter.sinks.notify.config import ConfigError, NotifyConfig, Target, parse_config
from licmeter.sinks.notify.letters import Letter, parse_letter

__all__ = ["chosen_targets", "read_letters", "read_targets", "with_kafka"]

Result = TypeVar("Result")


def read_targets(settings: Settings) -> NotifyConfig:
    """Read and check the document of targets; raises `SettingsError` with all mistakes, and no secret in any."""
    path = settings.notify.config
    if path is None:
        raise SettingsError(["LICMETER_NOTIFY__CONFIG: names no document of targets (docs/notify.md has an example)"])
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.MarkedYAMLError as error:
        # Without the line itself and what is quoted of it, which the error would show: it may hold a secret.
        mark = error.problem_mark
        problem = (error.problem or "").partition("'")[0].strip() or "no YAML"
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise SettingsError([f"{path}: {where}{problem}"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError([f"{path}: {getattr(error, 'strerror', None) or 'no YAML'}"]) from None
    try:
        # The names of variables come from the document, so the settings cannot know them.
        return parse_config(document, os.environ, path.absolute().parent)
    except ConfigError as error:
        raise SettingsError([f"{path}: {mistake}" for mistake in error.mistakes]) from None


def chosen_targets(targets: Sequence[Target], names: Sequence[str] | None) -> list[Target]:
    """Return the targets of some names, all without names; raises `UsageError` for a name that there is not."""
    known = {target.name: target for target in targets}
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise UsageError(f"there is no target {', '.join(unknown)}", hint=f"there are {', '.join(known)}")
    return [target for target in targets if not names or target.name in names]


def with_kafka(settings: Settings, work: Callable[[], Awaitable[Result]]) -> Result:
    """Run something that needs Kafka; raises `ServiceError` when it is not there."""

    async def run_it() -> Result:
        return await work()

    try:
        return asyncio.run(run_it())
    except KafkaError as error:
        raise ServiceError(
            f"Kafka at {settings.bootstrap_servers} cannot be used: {error}",
            service="kafka",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error


def read_letters(
    settings: Settings, targets: Sequence[str], organization: str | None, since: str | None
) -> tuple[list[Letter], int]:
    """Return the dead letters that are asked for, the oldest first, and how many records cannot be read.

    Raises `UsageError` when `since` is no instant with a zone, and `ServiceError`.
    """
    after = None if since is None else _instant(since)
    found = asyncio.run(read_compacted(settings.bootstrap_servers, LICENSE_UNDELIVERED.name))
    letters, unreadable = [], 0
    for value in found.values():
        try:
            letters.append(parse_letter(value))
        except ValueError:
            unreadable += 1
    chosen = [
        letter
        for letter in letters
        if (not targets or letter.notice.target in targets)
        and (organization is None or letter.notice.organization_id == organization)
        and (after is None or letter.given_up_at >= after)
    ]
    return sorted(chosen, key=lambda letter: (letter.given_up_at, letter.key)), unreadable


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"--since {text}: is no instant with a zone", hint="for example 2031-03-08T10:00:00Z")
    return instant
