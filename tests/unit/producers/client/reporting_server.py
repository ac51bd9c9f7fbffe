"""A server that takes reports as the gateway's contract says, over real sockets, and keeps books of its own."""

import asyncio
import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.threaded_server import ThreadedServer, read_message

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


class ReportingServer(ThreadedServer):
    """`answer` decides about each request; the first of `script` goes before it."""

    def __init__(self, answer: Callable[[Request], Answer] = accepted) -> None:
        super().__init__()
        self.answer = answer
        self.script: list[Callable[[Request], Answer]] = []
        self.requests: list[Request] = []
        self.reports: dict[tuple[str, str], dict[str, int]] = {}
        self._changed = threading.Condition()

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

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                return
            body = json.dumps(answer.document).encode()
            head = [f"HTTP/1.1 {answer.status} x", f"Content-Length: {len(body)}", *answer.headers, "", ""]
            writer.write("\r\n".join(head).encode() + body)
            await writer.drain()


async def _request(reader: asyncio.StreamReader) -> Request:
    first, body = await read_message(reader)
    head = first.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Request(head[0].split()[1], headers, json.loads(body))
