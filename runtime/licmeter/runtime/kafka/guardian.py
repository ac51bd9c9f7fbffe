"""The guardian: starts one process and makes sure that it does not outlive the process that wanted it.

    python (us) --pipe--> guardian --fork, exec--> java

Theory of operation. The guardian's standard input is a pipe whose other end only we hold. The kernel closes it when
we end, whatever ended us, and the guardian then stops its child: SIGTERM, `GRACE_S`, SIGKILL. Orders come the same way:
`t` terminates, `k` kills. It leads a session of its own, so Ctrl-C in a terminal reaches us and not the broker. Should
the guardian itself be killed, Linux kills its child (PR_SET_PDEATHSIG, safe here because the guardian has one thread);
other systems have nothing like it. Its standard output says the child's pid, its exit code is the child's.

Why not PR_SET_PDEATHSIG on the broker itself: it fires when the *thread* that started the broker ends, and there is
none on macOS. Why a file that imports nothing of ours: it is run as a script, small and at once, beside every broker.
"""

import contextlib
import os
import select
import signal
import sys
import time
from types import FrameType

__all__ = ["GRACE_S", "KILL", "TERMINATE", "main"]

GRACE_S = 5.0  # a broker ends within 0.5 s of SIGTERM; more than this and it hangs
TERMINATE = b"t"
KILL = b"k"

# A forked process that holds a copy of the pipe would hide our end; the parent's pid shows it too, this often.
_PARENT_LOOK_S = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_EXIT_NO_PROGRAM = 127  # what a shell says too


def main(command: list[str]) -> int:
    """Run `command` until it ends, or we are told to end it, or our parent has ended; returns its exit code."""
    parent = os.getppid()
    wake = _wake_on_signals()
    child = _spawn(command)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    return _guard(child, parent, wake)


def _wake_on_signals() -> int:
    """A descriptor that gets one byte, its number, for each signal."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # Handlers rather than SIG_IGN: what is ignored stays ignored in the child.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _only_wake)
    return reader


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    pass


def _spawn(command: list[str]) -> int:
    guardian = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guardian:  # it ended before the kernel knew
                os._exit(_EXIT_NO_PROGRAM)
        os.execv(command[0], command)  # noqa: S606  # there is no shell, and shall be none
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode())
    finally:
        os._exit(_EXIT_NO_PROGRAM)


def _guard(child: int, parent: int, wake: int) -> int:
    watched = [0, wake]
    kill_at = float("inf")
    while True:
        look_s = max(0.0, min(_PARENT_LOOK_S, kill_at - time.monotonic()))
        ready, _, _ = select.select(watched, [], [], look_s)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        order = _order(ready, wake)
        alone = order == b"" or os.getppid() != parent
        if order == TERMINATE:
            os.kill(child, signal.SIGTERM)  # who gave the order decides how long to wait
        elif alone and kill_at == float("inf"):
            watched = [wake]
            os.kill(child, signal.SIGTERM)
            kill_at = time.monotonic() + GRACE_S
        elif order == KILL or time.monotonic() >= kill_at:
            os.kill(child, signal.SIGKILL)
            kill_at = time.monotonic() + GRACE_S


def _order(ready: list[int], wake: int) -> bytes | None:
    """The most urgent of what has come: an order, the end of the pipe (empty), or nothing."""
    if wake in ready:
        signals = b""
        with contextlib.suppress(BlockingIOError):
            signals = os.read(wake, 4096)
        if signal.SIGTERM in signals and 0 not in ready:
            return TERMINATE
    if 0 not in ready:
        return None
    orders = os.read(0, 64)
    return KILL if KILL in orders else orders[:1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
