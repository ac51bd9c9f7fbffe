"""A process under a guardian: it is stopped in order, killed if it must be, and never outlives us."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from licmeter.runtime.kafka import guardian

__all__ = ["GuardedProcess"]

_KILL_S_MAX = 5.0  # the kernel ends a killed process in milliseconds, unless the disk hangs


class GuardedProcess:
    """Runs `command`, its output in the file `console`, from construction until it ends or is ended.

    It inherits the descriptors `inherit`. It must be stopped or killed, or have ended and been waited for, before it
    is dropped.
    """

    def __init__(
        self, command: Sequence[str], *, console: Path, environment: Mapping[str, str], inherit: Sequence[int] = ()
    ) -> None:
        with console.open("wb") as output:
            # -I -S: it needs the standard library only, and nothing in the environment shall change what it does.
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(environment),
                pass_fds=tuple(inherit),
                start_new_session=True,
            )
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._orders = self._guardian.stdin
        with self._guardian.stdout as answer:
            self.pid = int(answer.readline() or 0)  # 0: the guardian itself did not come up; it has ended

    @property
    def alive(self) -> bool:
        """Whether it runs; reaps it when it does not."""
        if self._guardian.poll() is None:
            return True
        self._orders.close()
        return False

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit code (128 + the signal that ended it), or None when it did not end within `timeout_s`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guardian.wait(timeout_s)
        return None if self.alive else self._guardian.returncode

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL when it is not gone within `timeout_s` or we are interrupted; it is gone afterwards."""
        try:
            self._order(guardian.TERMINATE)
            self.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, if it runs still; it is gone afterwards."""
        if not self.alive:
            return
        self._order(guardian.KILL)
        if self.wait(_KILL_S_MAX) is None:
            # The guardian leads the group and has not been reaped, so the number is still its own.
            os.killpg(self._guardian.pid, signal.SIGKILL)
            self.wait()

    def _order(self, order: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # it ended in this moment
            self._orders.write(order)
            self._orders.flush()
