"""Runs one worker in this process until it is told to stop."""

import sys

import faust

from licmeter.stream.app import make_app
from licmeter.stream.config import StreamConfig

__all__ = ["run_worker"]


def run_worker(config: StreamConfig) -> int:
    """Run a worker; return its exit code: 0 when it was stopped by a signal."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    app = make_app(config)
    worker = faust.Worker(
        app,
        loglevel=config.log_level,
        override_logging=False,
        redirect_stdouts=False,
        blocking_timeout=None,
        stdout=sys.stdout,
        stderr=sys.stderr,
        quiet=True,
        console_port=None,
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
