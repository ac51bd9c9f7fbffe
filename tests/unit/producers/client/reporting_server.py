"""A server that takes reports as the gateway's contract says, over real sockets, and keeps books of its own."""

import asyncio
import contextlib
import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

KEY = f"lmk_{'k' * 16}_{'s' * 43}"


class Request(NamedTuple):
    """What came: its events, or the question for leave."""

    path: str
    headers: dict[str, str]
    content: Any


class Answer(NamedTuple):
    """What goes back. `cut`: nothing does, and the connection ends; `keep`: the reports are in the books."""

    status: int
    document: Any = None
    headers: tuple[str, ...] = ()
    cut: bool = False
    keep: bool = False


def accepted(request: Request) -> Answer:
    """Confirm all reports."""
    results = [
        {"id": event["id"], "source": event["source"], "outcome": "accepted", "items": [ITEM]}
        for event in request.content
    ]
    return Answer(202, {"results": results}, keep=True)


def rejected(reason: str) -> Callable[[Request], Answer]:
    """Refuse all reports."""

    def answer(request: Request) -> Answer:
        results = [
            {"id": event["id"], "source": event["source"], "outcome": "rejected", "reason": reason}
            for event in request.content
        ]
        return Answer(202, {"results": results})

    return answer


ITEM = {"item_id": "41", "state": "grace", "percent": "100.50"}


class ReportingServer:
    """Runs in a thread. `answer` decides about each request; the first of `script` goes before it."""

    def __init__(self, answer: Callable[[Request], Answer] = accepted) -> None:
        self.answer = answer
        self.script: list[Callable[[Request], Answer]] = []
        self.requests: list[Request] = []
        self.reports: dict[tuple[str, str], dict[str, int]] = {}
        self.port = 0
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def units(self) -> Counter[str]:
        """Units of the reports that are in the books, each report once."""
        total: Counter[str] = Counter()
        for counts in list(self.reports.values()):
            total.update(counts)
        return total

    def wait(self, what: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(what, seconds), (self.units, self.requests[-2:])

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop.call_soon(started.set)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_forever()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _request(reader)
                answer = (self.script.pop(0) if self.script else self.answer)(request)
                with self._changed:
                    self.requests.append(request)
                    if answer.keep:
                        for event in request.content:
                            counts = event["data"]["counts"]
                            assert self.reports.setdefault((event["source"], event["id"]), counts) == counts
                    self._changed.notify_all()
                if answer.cut:
                    break
                body = json.dumps(answer.document).encode()
                head = [f"HTTP/1.1 {answer.status} x", f"Content-Length: {len(body)}", *answer.headers, "", ""]
                writer.write("\r\n".join(head).encode() + body)
                await writer.drain()
        writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Request(head[0].split()[1], headers, json.loads(body))
