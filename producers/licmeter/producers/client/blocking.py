"""The synchronous face: the same conversation in a thread of its own, with an event loop of its own."""

import asyncio
import contextlib
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from licmeter.producers.client.answers import Authorization
from licmeter.producers.client.conversation import Conversation
from licmeter.producers.client.recording import Recording

__all__ = ["SyncUsageClient"]

_T = TypeVar("_T")
_log: Final = logging.getLogger("licmeter.client")
#: How long the thread may take to begin, and to end beyond what it was given to send the rest.
MARGIN_S: Final = 10.0


class _Thread:
    """A conversation that runs beside the program."""

    def __init__(self, conversation: Conversation, say: Callable[[str, str], None]) -> None:
        self.conversation = conversation
        self._say = say
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stopping = asyncio.Event()
        # A daemon: a program that forgets to close its client ends all the same, and atexit keeps what it recorded.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="licmeter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    async def _main(self) -> None:
        try:
            await self.conversation.start()
        except BaseException as error:
            self._started.set_exception(error)  # for whoever calls
            self._say("background_failed", f"{type(error).__name__}: {error}; nothing is sent, and all is kept")
            return
        self._started.set_result(asyncio.get_running_loop())
        await self._stopping.wait()
        await self.conversation.close()

    def call(self, coroutine: Callable[[], Coroutine[Any, Any, _T]], timeout_s: float | None) -> _T:
        """Run a coroutine over there; raises `TimeoutError` when that takes too long."""
        loop = self._started.result(MARGIN_S)
        result = asyncio.run_coroutine_threadsafe(_called(coroutine), loop)
        try:
            return result.result(timeout_s)
        except TimeoutError:
            result.cancel()
            raise

    def stop(self, timeout_s: float) -> None:
        """End the conversation and wait for it."""
        try:
            self._started.result(MARGIN_S).call_soon_threadsafe(self._stopping.set)
        except Exception as error:
            # It never began, or has ended; whoever called it was told. What it would have done, the caller does.
            _log.debug("licmeter: thread_gone: %s", error)
        self._thread.join(timeout_s + MARGIN_S)


async def _called(coroutine: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    # Made over there: one that is made here, and never gets there, would be one that nobody awaits.
    return await coroutine()


def _send_at_exit(send: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """Send what a client has that nobody closed when the interpreter ends, while threads can still be started."""

    def at_exit() -> None:
        found = send()
        if found is not None:
            found()

    # The executors register with it, too; who comes later is called earlier, so `threads` loads them first. Without it
    # `atexit` keeps what was recorded, and the next start sends it.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with contextlib.suppress(RuntimeError):  # the interpreter ends already
            register(at_exit)


class SyncUsageClient(Recording):
    """Reports usage from code without an event loop; safe to use from any thread.

    `with SyncUsageClient(url, license_key=…, spool=…) as client: client.record("qr")`. A process that is forked goes on
    in its child with a tally, a thread and a session of its own.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        """Check the options, open the spool and begin; raises `OptionsError` that names every mistake."""
        super().__init__(url, **options)
        self._core.open()
        self._core.recorder.on_child = self._begin_in_child
        self._closed = False
        #: By process: in a forked one the thread of its parent is not there.
        self._threads: dict[int, _Thread] = {}
        self._begin()
        _send_at_exit(weakref.WeakMethod(self._send_rest))

    def _begin(self) -> _Thread:
        """Begin the thread of this process, unless that was done: another thread may be at it, too."""
        mine = _Thread(Conversation(self._core), self._core.say)
        found = self._threads.setdefault(os.getpid(), mine)
        if found is mine:
            try:
                mine.start()
            except RuntimeError:
                self._threads.pop(os.getpid(), None)
                raise
        return found

    def _begin_in_child(self) -> None:
        if self._closed:
            return
        try:
            self._begin()
        except RuntimeError as error:  # no more threads; what is recorded is in the tally
            self._core.say("background_failed", f"{error}; nothing is sent, and all is kept")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Report everything now, also of the slot that is still open; tell whether the server has it all."""
        thread = self._running()
        return thread.call(thread.conversation.flush, timeout_s)

    def authorize(
        self,
        *,
        feature: str | None = None,
        charge_way: str = "auto",
        requested_instances: int | None = None,
        timeout_s: float | None = None,
    ) -> Authorization:
        """Ask for leave to run; see `UsageClient.authorize`."""
        thread = self._running()
        request = functools.partial(
            thread.conversation.authorize,
            feature=feature,
            charge_way=charge_way,
            requested_instances=requested_instances,
        )
        return thread.call(request, timeout_s)

    def close(self) -> None:
        """Bring everything into the spool, and try once, for `exit_timeout_s` at the most, to send it."""
        self._closed = True
        thread = self._threads.pop(os.getpid(), None)
        if thread is not None:
            thread.stop(self._options.exit_timeout_s)
        self._core.rest()

    def _send_rest(self) -> None:
        """Try once to send what there is; the client stays open, as handlers of `atexit` may still record."""
        thread = self._threads.get(os.getpid())
        if thread is None or self._closed:
            return
        try:
            thread.call(thread.conversation.send_rest, self._options.exit_timeout_s)
        except Exception as error:  # whatever it is, the spool has it, and the next start sends it
            _log.debug("licmeter: not_sent_at_exit: %s", error)

    def _running(self) -> _Thread:
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._threads.get(os.getpid()) or self._begin()
