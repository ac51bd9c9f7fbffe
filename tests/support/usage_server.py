"""A real HTTP server that keeps usage reports by their identity, and answers as a test tells it to."""

import asyncio
import gzip
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.threaded_server import ThreadedServer, read_message

KEY = f"lmk_{'k' * 16}_{'s' * 43}"
Events = list[dict[str, Any]]


@dataclass
class Answer:
    """An answer; `body` is encoded as JSON, unless it is bytes. `cut`: the connection ends before it."""

    status: int = 202
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    #: Whether the reports are in the books.
    keep: bool = True
    #: Between two bytes of the body.
    trickle_s: float = 0.0


def accepted(events: Events, **more: Any) -> Answer:
    """Accept all."""
    results = [{"id": event["id"], "source": event["source"], "outcome": "accepted", **more} for event in events]
    return Answer(body={"results": results})


def rejected(reason: str, status: int = 202) -> Callable[[Events], Answer]:
    """Reject all for a reason."""

    def answer(events: Events) -> Answer:
        results = [{"id": event["id"], "outcome": "rejected", "reason": reason} for event in events]
        return Answer(status, {"results": results}, keep=False)

    return answer


def fails(status: int, body: Any = b"", **headers: str) -> Callable[[Events], Answer]:
    """Answer with a status, and keep nothing."""
    return lambda _: Answer(
        status, body, {name.replace("_", "-"): value for name, value in headers.items()}, keep=False
    )


class UsageServer(ThreadedServer):
    """Serves from a thread; `with UsageServer() as server`."""

    def __init__(self, seed: int = 0, cut_share: float = 0.0) -> None:
        super().__init__()
        self.books: dict[tuple[str, str], dict[str, int]] = {}
        self.arrivals: Counter[tuple[str, str]] = Counter()
        self.conflicts: list[tuple[str, str]] = []
        self.requests: list[Events] = []
        #: What comes next; then everything is accepted.
        self.script: deque[Callable[[Events], Answer]] = deque()
        self.default: Callable[[Events], Answer] = accepted
        self.cut_share, self.cuts = cut_share, 0
        self._random = Random(seed)

    def units(self, feature: str | None = None) -> int:
        """Return the units in the books."""
        return sum(n for counts in self.books.values() for name, n in counts.items() if feature in (None, name))

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, body = await read_message(reader)
        events = json.loads(gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body)
        answer = self._judge(events)
        if answer.cut:
            return False
        text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        lines = [f"HTTP/1.1 {answer.status} Said", f"content-length: {len(text)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if answer.trickle_s else text))
        for byte in text if answer.trickle_s else b"":
            writer.write(bytes([byte]))
            await asyncio.sleep(answer.trickle_s)
        await writer.drain()
        return True

    def _judge(self, events: Events) -> Answer:
        self.requests.append(events)
        answer = (self.script.popleft() if self.script else self.default)(events)
        if answer.keep:
            for event in events:
                self._keep((event["source"], event["id"]), event["data"]["counts"])
        if self._random.random() < self.cut_share:
            self.cuts += 1
            answer.cut = True
        return answer

    def _keep(self, identity: tuple[str, str], counts: dict[str, int]) -> None:
        self.arrivals[identity] += 1
        if self.books.setdefault(identity, counts) != counts:
            self.conflicts.append(identity)
