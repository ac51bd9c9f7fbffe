"""Rejects on the real broker, put there as a worker does, and what stands on `usage.events` afterwards."""

import asyncio
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.replays import ReplayMark, split_replay_headers
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.schemas.topics import USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.replay.book import Entry, RejectBook
from licmeter.sinks.replay.reading import LogReader
from licmeter.sinks.replay.rejects import Selection
from licmeter.sinks.replay.run import ReplayBounds, Replayed, Step, replay_rejects

PROGRAM = Path(__file__).with_name("replay_program.py")
#: A run that was killed comes to rest quickly in these tests: the broker is on this machine.
FENCE_S = 1.5
SENDER_HEADERS = [("traceparent", b"00-abc"), ("licmeter-reason", b"forged")]


def slot() -> datetime:
    return datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) // 180 * 180, UTC)


def event(organization: str, number: int) -> bytes:
    return encode_event(
        usage_report(
            report_id=f"r{number}",
            client_uuid="d",
            slot=slot(),
            counts={"qr": 1},
            project_id=f"{organization}-kiosk",
        )
    )


class RejectsStage:
    """An organization that no other test has, with rejects of a source partition each."""

    def __init__(self, servers: str, organization: str | None = None) -> None:
        self.servers = servers
        self.organization = organization or f"rej{secrets.token_hex(5)}"
        self.selection = Selection(organization_id=self.organization)

    async def reject(
        self,
        numbers: range,
        *,
        repeats: int = 1,
        partition: int = 0,
        reason: RejectReason = RejectReason.UNKNOWN_PROJECT,
        value: Callable[[str, int], bytes] = event,
        received_ms: int | None = None,
        base: int | None = None,
    ) -> None:
        """Put reports on `usage.rejected` as if they had stood at offsets that are this organization's alone."""
        base = base if base is not None else int(self.organization[3:], 16) << 16
        async with AIOKafkaProducer(bootstrap_servers=self.servers, max_batch_size=1 << 19) as producer:
            waiting = []
            for _ in range(repeats):
                for number in numbers:
                    origin = RejectOrigin(
                        reason=reason,
                        detail="300417-kiosk",
                        topic=USAGE_EVENTS.name,
                        partition=partition,
                        offset=base + number,
                        received_at_ms=received_ms or round(datetime.now(UTC).timestamp() * 1000),
                    )
                    waiting.append(
                        await producer.send(
                            USAGE_REJECTED.name,
                            value(self.organization, number),
                            key=self.organization.encode(),
                            partition=partition,
                            headers=reject_headers(origin, SENDER_HEADERS),
                        )
                    )
            await asyncio.gather(*waiting)

    async def entries(self) -> list[Entry]:
        async with RejectBook(self.servers) as book:
            span = await book.span(self.selection)
            return [entry async for entry in book.entries(span, self.selection)]

    async def events(self) -> list[tuple[bytes, list[tuple[str, bytes]], ReplayMark, int]]:
        """Return value, sender's headers, mark and partition of what was put back, in the order of the log."""
        found = []
        async with LogReader(self.servers) as reader:
            async for records in reader.read(await reader.span(USAGE_EVENTS.name)):
                for record in records:
                    original, mark = split_replay_headers(record.headers)
                    if record.key == self.organization.encode() and mark is not None:
                        found.append((record.value, list(original), mark, record.partition))
        return found

    async def replay(self, **options: Any) -> Replayed:
        async with RejectBook(self.servers) as book:
            span = await book.span(self.selection)
            settings = {"run": secrets.token_hex(16), "bounds": ReplayBounds(chunk_records=50, fence_s=FENCE_S)}
            return await replay_rejects(
                self.servers, book, span, self.selection, lambda entry: True, **(settings | options)
            )

    async def assert_each_once(self, count: int) -> None:
        """Each report stands in the log once, as it was sent, in one partition and in its order."""
        events = await self.events()
        by_value = Counter(value for value, *_ in events)
        assert len(by_value) == count
        assert set(by_value.values()) == {1}
        assert {tuple(headers) for _, headers, *_ in events} == {tuple(SENDER_HEADERS)}
        assert len({partition for *_, partition in events}) == 1
        offsets = [mark.of.offset for *_, mark, _ in events]
        assert offsets == sorted(offsets)
        assert all(not entry.open for entry in await self.entries())


def start_program(
    stage: RejectsStage, step: Step | str, number: int, fence_s: float = FENCE_S
) -> "subprocess.Popen[bytes]":
    """Start a replay that kills itself when it comes to a step for the n-th time."""
    arguments = [stage.servers, stage.organization, str(step), str(number), str(fence_s)]
    return subprocess.Popen([sys.executable, str(PROGRAM), *arguments])


def killed_at(stage: RejectsStage, step: Step | str, number: int, fence_s: float = FENCE_S) -> None:
    """Run a replay until it kills itself."""
    assert start_program(stage, step, number, fence_s).wait(60) == -signal.SIGKILL
