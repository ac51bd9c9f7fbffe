"""The synchronous face: the same conversation in a thread of its own, with an event loop of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from licmeter.producers.client.answers import Authorization
from licmeter.producers.client.conversation import Conversation
from licmeter.producers.client.recording import Recording

__all__ = ["SyncUsageClient"]

_T = TypeVar("_T")
#: How long the thread may take to begin, and to end beyond what it was given to send the rest.
MARGIN_S: Final = 10.0


class _Thread:
    """A conversation that runs beside the program."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stopping = asyncio.Event()
        # A daemon: a program that forgets to close its client ends all the same, and atexit keeps what it recorded.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="licmeter", daemon=True)
        self._thread.start()

    async def _main(self) -> None:
        try:
            await self.conversation.start()
        except BaseException as error:
            self._started.set_exception(error)
            raise
        self._started.set_result(asyncio.get_running_loop())
        await self._stopping.wait()
        await self.conversation.close()

    def call(self, coroutine: Coroutine[Any, Any, _T], timeout_s: float | None) -> _T:
        """Run a coroutine over there; raises `TimeoutError` when that takes too long."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._started.result(MARGIN_S)).result(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """End the conversation and wait for it."""
        self._started.result(MARGIN_S).call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_s + MARGIN_S)


class SyncUsageClient(Recording):
    """Reports usage from code without an event loop; safe to use from any thread.

    `with SyncUsageClient(url, license_key=…, spool=…) as client: client.record("qr")`. A process that is forked goes on
    in its child with a tally, a thread and a session of its own.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        """Check the options, open the spool and begin; raises `OptionsError` that names every mistake."""
        super().__init__(url, **options)
        self._core.open()
        self._core.recorder.on_child = self._begin
        self._begin()

    def _begin(self) -> None:
        self._thread: _Thread | None = _Thread(Conversation(self._core))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Report everything now, also of the slot that is still open; tell whether the server has it all."""
        thread = self._running()
        return thread.call(thread.conversation.flush(), timeout_s)

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
        request = thread.conversation.authorize(
            feature=feature, charge_way=charge_way, requested_instances=requested_instances
        )
        return thread.call(request, timeout_s)

    def close(self) -> None:
        """Bring everything into the spool, and try once, for `exit_timeout_s` at the most, to send it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(self._options.exit_timeout_s)

    def _running(self) -> _Thread:
        if self._thread is None:
            raise RuntimeError("the client is closed")
        return self._thread
