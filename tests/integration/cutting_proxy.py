"""A proxy that now and then hands a request on, and cuts the connection instead of handing the answer back."""

import asyncio
import contextlib
import threading
from random import Random
from types import TracebackType
from typing import Self

END_TIMEOUT_S = 5.0


class CuttingProxy:
    """Runs in a thread. `cut_share` of the answers never arrive; `cuts` counts them."""

    def __init__(self, port: int, seed: int, cut_share: float) -> None:
        self._target = port
        self._random = Random(seed)
        self.cut_share = cut_share
        self.cuts = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(_end(server))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                while request := await _message(reader):
                    back.write(request)
                    answer = await _message(there)
                    if not answer:
                        break
                    if self._random.random() < self.cut_share:
                        self.cuts += 1
                        break
                    writer.write(answer)
                    await writer.drain()
            finally:
                back.close()


async def _end(server: asyncio.Server) -> None:
    """Let connections end by themselves: their clients and the gateway have gone, or a moment later are gone."""
    server.close()
    connections = asyncio.all_tasks() - {asyncio.current_task()}
    if connections:
        _, pending = await asyncio.wait(connections, timeout=END_TIMEOUT_S)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    await asyncio.sleep(0)  # transports close in the next turn


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message with a Content-Length; nothing at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + (await reader.readexactly(sizes[0]) if sizes else b"")
