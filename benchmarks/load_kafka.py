"""Puts reports of four organizations on `usage.events`: a number as fast as it goes, or for some seconds at a pace.

    python -m benchmarks.load_kafka localhost:9092 RUN count NUMBER
    python -m benchmarks.load_kafka localhost:9092 RUN pace RECORDS_A_SECOND SECONDS

Prints how many records the broker has, when it has all of them.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from licmeter.producers.producing import idempotent_producer, place_of
from licmeter.producers.sending import send_events
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.schemas.topics import USAGE_EVENTS

ORGANIZATIONS = tuple(f"load{number}" for number in range(4))
DEVICES = 500
#: How often a paced load catches up.
STEP_S = 0.02
REQUEST_TIMEOUT_S = 30.0


def template(device: int, slot: datetime) -> tuple[bytes, bytes]:
    """Return a report up to its id, and what follows it."""
    event = usage_report(
        report_id="REPORT-ID",
        client_uuid=f"device-{device}",
        slot=slot,
        counts={"qr": 3, "code128": 1},
        organization_id="ORGANIZATION",
        sent_at=datetime.now(UTC),
        attempt=1,
    )
    head, tail = encode_event(event).split(b"REPORT-ID")
    return head, tail


def records(run: str, first: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of reports with the numbers from `first`."""
    slot = datetime.fromtimestamp(int(time.time()) // 180 * 180, UTC)
    templates = [template(device, slot) for device in range(DEVICES)]
    for number in range(first, first + count):
        head, tail = templates[number // 4 % DEVICES]
        owner = ORGANIZATIONS[number % 4].encode()
        value = head + f"{run}-{number}".encode() + tail
        yield owner, value.replace(b"ORGANIZATION", owner)


async def pace(servers: str, run: str, rate: float, seconds: float) -> int:
    """Send at a pace, in small steps; a step that is late is caught up with."""
    producer = idempotent_producer(servers, client_id="bench-load", request_timeout_s=REQUEST_TIMEOUT_S)
    await producer.start()
    try:
        places = len(await producer.partitions_for(USAGE_EVENTS.name))
        began, sent, futures = time.monotonic(), 0, []
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * rate) - sent
            batches = {}
            for key, value in records(run, sent, due):
                place = place_of(key, places)
                batch = batches.setdefault(place, producer.create_batch())
                if batch.append(timestamp=None, key=key, value=value, headers=[]) is None:
                    futures.append(await producer.send_batch(batch, USAGE_EVENTS.name, partition=place))
                    batches[place] = batch = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value, headers=[])
            for place, batch in batches.items():
                futures.append(await producer.send_batch(batch, USAGE_EVENTS.name, partition=place))
            sent += max(0, due)
            await asyncio.sleep(STEP_S)
        await asyncio.gather(*futures)
        return sent
    finally:
        await producer.stop()


async def main(servers: str, run: str, how: str, *numbers: str) -> int:
    if how == "pace":
        return await pace(servers, run, float(numbers[0]), float(numbers[1]))
    await send_events(servers, records(run, 0, int(numbers[0])))
    return int(numbers[0])


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])))
