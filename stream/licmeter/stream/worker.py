"""Runs one worker in this process until it is told to stop."""

import ctypes
import gc
import sys
from typing import Final

import faust

from licmeter.stream.app import make_app
from licmeter.stream.config import StreamConfig

__all__ = ["run_worker"]

#: Objects between two looks at the youngest; about what four batches of 5,000 reports make.
GARBAGE_THRESHOLD: Final = 500_000

#: What glibc is told (`mallopt(3)`; the numbers are those of <malloc.h>). Left alone it raises the first two up to 32
#: and 64 MiB as large blocks are freed, so fetched data and merged arrays leave holes in its heaps: 130 MiB of 570 were
#: free and not given back after 2 million reports.
_MALLOC_OPTIONS: Final = {
    -3: 256 * 1024,  # M_MMAP_THRESHOLD, bytes: larger blocks go back to the system when they are freed
    -1: 1024 * 1024,  # M_TRIM_THRESHOLD, bytes: so much may stay free at the end of the heap
    -8: 2,  # M_ARENA_MAX: heaps; the threads of Kafka's consumer and of RocksDB share one beside the main heap
}


def run_worker(config: StreamConfig) -> int:
    """Run a worker; return its exit code: 0 when it was stopped by a signal."""
    _return_freed_memory()
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


def _return_freed_memory() -> None:
    """Have large blocks returned to the system when they are freed; only glibc needs to be told, and knows how."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


def _relax_garbage_collection() -> None:
    """Look for cycles less often: a batch makes a million objects and no cycle, and looking costs a fifth of the time.

    What exists now lives as long as the process, so it is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 10, 10)
