"""`licmeter clickhouse`: the endpoint by itself, until the terminal ends it."""

import signal
import sys

from licmeter.runtime.clickhouse.embedded import EmbeddedClickHouse
from licmeter.runtime.errors import ServiceError
from licmeter.runtime.settings import Settings

__all__ = ["run_foreground"]

_CHECK_INTERVAL_S = 0.5  # how late the end of the child is noticed


def run_foreground(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code; raises `ServiceError` when it ends by itself."""
    if settings.clickhouse.url is not None:
        _say(f"LICMETER_CLICKHOUSE__URL names {settings.clickhouse.url}: there is nothing to run here")
        return 2
    wanted = (signal.SIGINT, signal.SIGTERM)
    # Blocked, not handled: a signal that comes while the endpoint starts waits until it can be stopped.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        with EmbeddedClickHouse(settings.clickhouse, settings.data_dir / "clickhouse") as clickhouse:
            _say(f"ClickHouse (chDB) listens on {clickhouse.url}, log in {clickhouse.log_file}; Ctrl-C stops it")
            while signal.sigtimedwait(wanted, _CHECK_INTERVAL_S) is None:
                if not clickhouse.alive:
                    raise ServiceError(
                        "ClickHouse ended by itself", service="clickhouse", hint=f"see {clickhouse.log_file}"
                    )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
