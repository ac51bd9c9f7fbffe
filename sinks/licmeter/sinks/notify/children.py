"""Runs a child process for one message, and kills it when its time is up."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final

from licmeter.sinks.notify.child import READY
from licmeter.sinks.notify.errors import FailedError

__all__ = ["Children"]

#: Of all targets together; only when so many hang at once does anybody wait for another.
CHILDREN_MAX: Final = 32
#: Loading apprise takes a core for a good second.
STARTING_MAX: Final = 2
#: How long a child may take until it is ready, on a busy machine; this is not the receiver's time.
START_S: Final = 30.0
#: Of one line; an answer names the recipients that were refused.
ANSWER_BYTES_MAX: Final = 1024 * 1024


class Children:
    """The child processes of all targets of this process."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(CHILDREN_MAX)
        self._starting = asyncio.Semaphore(STARTING_MAX)

    async def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer of a new child; raises `FailedError` when there is none in time."""
        async with self._running:
            child: asyncio.subprocess.Process | None = None
            try:
                async with self._starting, asyncio.timeout(START_S):
                    child = await _spawn()
                    await _hand_over(child, json.dumps(request | {"timeout_s": timeout_s}).encode())
                async with asyncio.timeout(timeout_s):
                    return await _answer(child)
            except TimeoutError:
                raise FailedError(f"no answer within {timeout_s:g} s") from None
            finally:
                if child is not None:
                    await _end(child)


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # never import from the folder we were started in
        "-m",
        "licmeter.sinks.notify.child",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        limit=ANSWER_BYTES_MAX,
        start_new_session=True,  # a terminal's Ctrl-C is for us; what is under way may come to its end
    )


async def _hand_over(child: asyncio.subprocess.Process, request: bytes) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(request)
        await child.stdin.drain()
        child.stdin.close()
    if await child.stdout.readline() != READY.encode():
        raise FailedError("the sending process could not start")


async def _answer(child: asyncio.subprocess.Process) -> dict[str, Any]:
    assert child.stdout is not None
    try:
        return dict(json.loads(await child.stdout.readline()))
    except ValueError:
        raise FailedError("the sending process ended without an answer") from None


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
    await child.wait()
