"""Runs one worker in this process until it is told to stop."""

import gc
import sys
from typing import Final

import faust

from licmeter.stream.app import make_app
from licmeter.stream.config import StreamConfig

__all__ = ["run_worker"]

#: Objects between two looks at the youngest; about what a batch of 20,000 reports makes.
GARBAGE_THRESHOLD: Final = 500_000


def run_worker(config: StreamConfig) -> int:
    """Run a worker; return its exit code: 0 when it was stopped by a signal."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    app = make_app(config)
    _relax_garbage_collection()
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


def _relax_garbage_collection() -> None:
    """Look for cycles less often: a batch makes a million objects and no cycle, and looking costs a fifth of the time.

    What exists now lives as long as the process, so it is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 10, 10)
