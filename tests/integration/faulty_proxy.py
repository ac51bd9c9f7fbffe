"""A proxy before ClickHouse that, by chance for each request, refuses, breaks off, or keeps the answer to itself."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from random import Random

from tests.support.threaded_server import ThreadedServer

__all__ = ["Fault", "FaultyProxy"]

_ERRORS = (
    (500, 241, "Memory limit (total) exceeded: would use 9.32 GiB (MEMORY_LIMIT_EXCEEDED)"),
    (500, 252, "Too many parts (3000). Merges are processing significantly slower than inserts (TOO_MANY_PARTS)"),
    (503, 209, "Timeout exceeded while reading from socket (SOCKET_TIMEOUT)"),
)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
#: How long nothing listens.
_REFUSED_S = 0.3
#: Where the statement of a request is found: a head, and an INSERT with the names of its columns.
_STATEMENT_BYTES = 4_096


class Fault(StrEnum):
    REFUSED = "refused"  # the answer comes, and then nothing listens for a while
    ERROR = "error"  # an error of ClickHouse, which saw nothing
    HALF = "half"  # half of the body comes to the store, then both connections end
    SILENT = "silent"  # the store has it all, and its answer never comes
    CUT = "cut"  # the store has it all, and the connection ends instead of the answer


class FaultyProxy(ThreadedServer):
    """`shares` of the requests meet a fault; `faults` counts those, `requests` all of them.

    `holding`: inserts into this table are kept, whole, until `released` is set. `held` counts them, and `answered`
    those that the store has answered since.
    """

    def __init__(self, port: int, seed: int, shares: Mapping[Fault, float]) -> None:
        super().__init__()
        self._target = port
        self._random = Random(seed)
        self.shares = dict(shares)
        self.faults: Counter[Fault] = Counter()
        self.requests = 0
        self.holding: bytes | None = None
        self.held = 0
        self.answered = 0
        self.released = False

    async def _serve(self) -> None:
        """Listen, and now and then do not, always on the same port."""
        self._refuse = asyncio.Event()
        while not self._ended.is_set():
            server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await _first_of(self._ended, self._refuse)
            await self._close(server)
            if self._refuse.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), _REFUSED_S)
                self._refuse.clear()
        await self._cut_off()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.closing(back):
            while not self._refuse.is_set():
                request = await _read(reader)
                if not await self._exchange(request, (reader, writer), (there, back)):
                    return

    async def _exchange(self, request: bytes, near: Streams, far: Streams) -> bool:
        """Serve one request; False when the connections are to be closed."""
        (reader, writer), (there, back) = near, far
        self.requests += 1
        fault = self._draw()
        if fault is not None:
            self.faults[fault] += 1
        if fault is Fault.ERROR:
            writer.write(self._error())
            await writer.drain()
            return True
        if fault is Fault.HALF:
            back.write(request[: len(request) // 2])
            await back.drain()
            return False
        held = await self._hold(request)
        back.write(request)
        answer = await _read(there)
        self.answered += held
        if fault is Fault.CUT:
            return False
        if fault is Fault.SILENT:
            await reader.read()  # until the client has waited long enough, and goes
            return False
        writer.write(answer)
        await writer.drain()
        if fault is Fault.REFUSED:
            self._refuse.set()
        return fault is None

    async def _hold(self, request: bytes) -> bool:
        """Wait for the release, and tell whether that was needed."""
        start = request[:_STATEMENT_BYTES]  # the statement is in the address, or what the body begins with
        if self.released or self.holding is None or b"INSERT" not in start or self.holding not in start:
            return False
        self.held += 1
        while not self.released:  # noqa: ASYNC110  # set by the thread of the test
            await asyncio.sleep(0.01)
        return True

    def _draw(self) -> Fault | None:
        chosen = self._random.random()
        for fault, share in self.shares.items():
            chosen -= share
            if chosen < 0:
                return fault
        return None

    def _error(self) -> bytes:
        status, code, text = self._random.choice(_ERRORS)
        body = f"Code: {code}. DB::Exception: {text} (version 26.9.2.1)\n".encode()
        head = f"HTTP/1.1 {status} X\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message, with a length or in chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.strip() for line in head.lower().split(b"\r\n")]
    if b"transfer-encoding: chunked" in lines:
        return head + await _read_chunks(reader)
    sizes = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    return head + (await reader.readexactly(sizes[0]) if sizes else b"")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while True:
        size = await reader.readuntil(b"\r\n")
        parts += [size, await reader.readexactly(int(size.split(b";")[0], 16) + 2)]
        if int(size.split(b";")[0], 16) == 0:
            return b"".join(parts)
