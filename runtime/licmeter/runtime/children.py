"""Runs licmeter's own commands as child processes: starts, watches, restarts and stops them."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from licmeter.runtime.errors import ServiceError

__all__ = ["RESTARTS_MAX", "RESTART_WINDOW_S", "Child"]

#: A child that dies more often than this is given up: something is wrong that starting it again does not mend.
RESTARTS_MAX: Final = 5
RESTART_WINDOW_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
_LOG_LINES_SHOWN: Final = 15


class Child:
    """One command of licmeter in a process of its own, with its output in a log file.

    It has its own session, so that a terminal's Ctrl-C reaches only the parent, and it ends when the parent does.
    """

    def __init__(
        self, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str], clock: Callable[[], float]
    ) -> None:
        self.name = " ".join(arguments)
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self._clock = clock
        self._starts: deque[float] = deque(maxlen=RESTARTS_MAX + 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None

    @property
    def pid(self) -> int:
        """The process id; the child must have been started."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def restarts(self) -> int:
        """How often it was started again lately."""
        return max(0, len(self._starts) - 1)

    def start(self) -> None:
        """Start the process."""
        self._close_pipe()
        reader, self._pipe = os.pipe()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as log:
                self._process = self._spawn(reader, log)
        finally:
            os.close(reader)
        self._starts.append(self._clock())

    def _spawn(self, reader: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "licmeter.runtime.cli", *self._arguments, "--parent-pipe", str(reader)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(self._environment),
            pass_fds=[reader],
            start_new_session=True,
        )

    def check(self) -> bool:
        """Start the process again if it died; tell whether that happened.

        Raises `ServiceError` when it died too often.
        """
        if self.alive:
            return False
        if len(self._starts) > RESTARTS_MAX and self._clock() - self._starts[0] < RESTART_WINDOW_S:
            raise ServiceError(
                f"`licmeter {self.name}` died {RESTARTS_MAX + 1} times within {RESTART_WINDOW_S:.0f} s; "
                f"its last words:\n{self.last_words()}",
                service=self.name,
                hint=f"the whole log is {self.log}",
            )
        self.start()
        return True

    def stop(self) -> None:
        """Stop the process in order; kill it if that takes too long."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._close_pipe()

    def kill(self) -> None:
        """Kill the process, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def monotonic() -> float:
    """Return seconds that never go back."""
    return time.monotonic()
