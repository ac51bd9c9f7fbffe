"""A server over real sockets that a test runs in a thread: what the servers and the proxy of the tests share."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

END_TIMEOUT_S = 5.0


class ThreadedServer:
    """`with` starts it on a free port of loopback. `converse` has a connection until it returns."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(2 * END_TIMEOUT_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        await self._close(server)
        await self._cut_off()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        # The loop holds tasks weakly: one that waits for another server, with its client gone, would be collected.
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client that is killed, or the end of the test, is no failure of the server.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.converse(reader, writer)
        finally:
            writer.close()

    async def _close(self, server: asyncio.Server) -> None:
        """Listen no longer. The caller is the only task besides those of connections."""
        # Between accepting a socket and making a connection of it, asyncio would lose it when its server closes.
        async with asyncio.timeout(END_TIMEOUT_S):
            while accepting := asyncio.all_tasks() - {asyncio.current_task()} - self._connections.keys():
                await asyncio.wait(accepting)
        server.close()

    async def _cut_off(self) -> None:
        """End all connections: their clients have gone, or are about to."""
        connections = dict(self._connections)
        for task, writer in connections.items():
            writer.transport.abort()  # a task that has not begun closes nothing when it is cancelled
            task.cancel()
        async with asyncio.timeout(END_TIMEOUT_S):
            await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read the head and the body of one HTTP message with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, await reader.readexactly(sizes[0]) if sizes else b""
