"""Sends a world's records to the HTTP gateway (docs/gateway.md), many requests at a time, as a fleet would.

The books hold when the records of an organization keep their order. So each organization has a lane: its batches go one
after the other, and many lanes go at a time. What is not accepted now (429, 503) waits and goes again before the lane's
next batch; after a 503 part of it may be there already, which then counts as repeated: `sent_again` says how many.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from pydantic_core import from_json, to_json

from licmeter.producers.errors import SendError
from licmeter.producers.simulation.latencies import Latencies
from licmeter.producers.simulation.world.records import What, WorldRecord

__all__ = ["EVENTS_MAX", "Load", "post_records"]

#: Below what a gateway takes by default: 1,000 events and 8 MiB a request.
EVENTS_MAX: Final = 500
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
#: Batches that wait in a lane; a full one slows the simulation down.
WAITING_MAX: Final = 4
REQUEST_TIMEOUT_S: Final = 60.0
#: How long a batch may be put off, by 429, 503 or a gateway that does not answer; then the run ends.
PATIENCE_S: Final = 120.0
_RETRY_S: Final = 1.0
#: A gateway may say "wait for an hour"; the run's patience ends before.
_RETRY_S_MAX: Final = 30.0

Batch = list[WorldRecord]


@dataclass
class Load:
    """What was sent, and what the gateway said."""

    requests: int = 0
    events: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    granted: int = 0
    refused: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    sent_again: int = 0
    seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, latencies in milliseconds."""
        return {
            "requests": self.requests,
            "events": self.events,
            "events_per_s": round(self.events / self.seconds) if self.seconds else 0,
            "p50_ms": round(self.latencies.quantile(0.5) * 1000, 1),
            "p99_ms": round(self.latencies.quantile(0.99) * 1000, 1),
            "longest_ms": round(self.latencies.longest_s * 1000, 1),
            "accepted": self.accepted,
            "rejected": dict(self.rejected.most_common()),
            "granted": self.granted,
            "refused": self.refused,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "sent_again": self.sent_again,
        }


async def post_records(
    url: str,
    chunks: AsyncIterable[Sequence[WorldRecord]],
    license_keys: Mapping[str, str],
    *,
    in_flight: int,
    on_sent: Callable[[int], None] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Load:
    """Post all records, each chunk as it comes.

    `license_keys` are those of the organizations, `in_flight` is the number of requests at a time.
    Raises `SendError` when the gateway refuses for good, or for longer than `PATIENCE_S`.
    """
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_TIMEOUT_S, limits=limits, transport=transport) as client:
        posting = _Posting(client, license_keys, in_flight, on_sent)
        try:
            async with asyncio.TaskGroup() as lanes:
                await posting.run(chunks, lanes)
        except ExceptionGroup as group:
            raise _first(group) from group
    posting.load.seconds = time.monotonic() - began
    return posting.load


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Posting:
    """One run: the lanes, and what is on its way."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        license_keys: Mapping[str, str],
        in_flight: int,
        on_sent: Callable[[int], None] | None,
    ) -> None:
        self.load = Load()
        self._client = client
        self._keys = license_keys
        self._places = asyncio.Semaphore(in_flight)
        self._on_sent = on_sent
        self._lanes: dict[str, asyncio.Queue[Batch | None]] = {}
        self._open: dict[str, Batch] = {}
        self._bytes: Counter[str] = Counter()

    async def run(self, chunks: AsyncIterable[Sequence[WorldRecord]], lanes: asyncio.TaskGroup) -> None:
        """Put records into lanes, and close all lanes at the end."""
        async for chunk in chunks:
            for record in chunk:
                name = (record.key or b"").decode()
                if name not in self._lanes:
                    self._lanes[name] = asyncio.Queue(WAITING_MAX)
                    lanes.create_task(self._drive(name, self._lanes[name]))
                await self._add(name, record)
            for name in list(self._open):
                await self._ship(name)
        for lane in self._lanes.values():
            await lane.put(None)

    async def _add(self, name: str, record: WorldRecord) -> None:
        """Fill batches of reports; a request for leave goes alone, in its place."""
        size = len(record.value or b"")
        alone = record.what is What.AUTHORIZATION
        if alone or self._bytes[name] + size > BODY_BYTES_MAX:
            await self._ship(name)
        self._open.setdefault(name, []).append(record)
        self._bytes[name] += size
        if alone or len(self._open[name]) >= EVENTS_MAX:
            await self._ship(name)

    async def _ship(self, name: str) -> None:
        batch = self._open.pop(name, None)
        self._bytes[name] = 0
        if batch:
            await self._lanes[name].put(batch)

    async def _drive(self, name: str, lane: "asyncio.Queue[Batch | None]") -> None:
        while (batch := await lane.get()) is not None:
            await self._deliver(name, batch)
            self.load.events += len(batch)
            if self._on_sent is not None:
                self._on_sent(self.load.events)

    async def _deliver(self, name: str, batch: Batch) -> None:
        """Post a batch until it is answered for good."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            async with self._places:
                began = time.monotonic()
                response, why = await self._post(name, batch)
                taken_s = time.monotonic() - began
            self.load.requests += 1
            if response is not None:
                self.load.statuses[response.status_code] += 1
                if response.status_code not in (429, 503):
                    self.load.latencies.add(taken_s)
                    self._note(response, batch)
                    return
                why = f"{response.status_code} {_detail(response)}"
            if response is None or response.status_code == 503:
                self.load.sent_again += len(batch)
            wait_s = _RETRY_S if response is None else _wait_s(response)
            if time.monotonic() + wait_s > give_up:
                raise self._error(f"did not accept a batch for {PATIENCE_S:.0f} s: {why}")
            await asyncio.sleep(wait_s)

    async def _post(self, name: str, batch: Batch) -> tuple[httpx.Response | None, str]:
        headers = {"Authorization": f"Bearer {self._keys[name]}"}
        if batch[0].what is What.AUTHORIZATION:
            path, body, kind = "/v1/authorizations", _request(batch[0]), "application/json"
        else:
            values = b",".join(record.value or b"" for record in batch)
            path, body, kind = "/v1/events", b"[%b]" % values, "application/cloudevents-batch+json"
        try:
            return await self._client.post(path, content=body, headers=headers | {"Content-Type": kind}), ""
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__

    def _note(self, response: httpx.Response, batch: Batch) -> None:
        """Take note of an answer; a batch is refused as a whole when all its reports are of another organization."""
        fields = _fields(response)
        if batch[0].what is What.AUTHORIZATION:
            self._note_leave(response, batch[0], granted=fields.get("granted") is True)
            return
        results = fields.get("results")
        if response.status_code not in (202, 403) or not isinstance(results, list):
            raise self._error(f"{response.status_code} {_detail(response)}")
        for result in results:
            if result["outcome"] == "accepted":
                self.load.accepted += 1
            else:
                self.load.rejected[result["reason"]] += 1

    def _note_leave(self, response: httpx.Response, record: WorldRecord, *, granted: bool) -> None:
        """Take note of an answer to a request; one with a wrong clock is refused."""
        reason = record.reason
        if response.status_code != 200:
            raise self._error(f"{response.status_code} {_detail(response)}")
        if granted:
            self.load.granted += 1
        elif reason is None:
            self.load.refused += 1
        else:
            self.load.rejected[reason.value] += 1

    def _error(self, what: str) -> SendError:
        url = str(self._client.base_url)
        sent = self.load.events
        return SendError(f"the gateway at {url} {what}", bootstrap_servers=url, topic="/v1/events", sent=sent)


def _request(record: WorldRecord) -> bytes:
    """Put an authorization event into the form of a request."""
    event = from_json(record.value or b"")
    names = {"client_uuid": "source", "auth_id": "id", "at": "time", "project_id": "subject"}
    names["organization_id"] = "organizationid"
    request: dict[str, Any] = {mine: event[theirs] for mine, theirs in names.items() if event.get(theirs) is not None}
    return to_json(request | event["data"])


def _wait_s(response: httpx.Response) -> float:
    """Read how long to wait, within bounds."""
    try:
        stated = float(response.headers.get("Retry-After", _RETRY_S))
    except ValueError:
        stated = _RETRY_S
    return min(max(stated, 0.1), _RETRY_S_MAX)


def _fields(response: httpx.Response) -> dict[str, Any]:
    try:
        fields = from_json(response.content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _detail(response: httpx.Response) -> str:
    fields = _fields(response)
    return str(fields.get("detail") or fields.get("title") or response.reason_phrase)
