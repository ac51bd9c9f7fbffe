"""Logging of a process: an event name and fields, as text for people or as JSON for machines."""

import logging
import sys
from typing import Any, Literal

import structlog

__all__ = ["configure_logging"]

#: Libraries that say much at INFO that means nothing to an operator.
_QUIET = ("aiokafka", "faust", "mode", "asyncio", "httpx", "clickhouse_connect", "granian", "clickhouse_migrations")


def configure_logging(level: str, fmt: Literal["text", "json"]) -> None:
    """Send all logs, ours and the libraries', to stderr in one form.

    Tracebacks come without local variables: those hold payloads, which have no place in a log.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if fmt == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow={"fields"})],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if level != "DEBUG" else logging.INFO)
