"""A simulated world on its way into a running system, and its books held against what was counted."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import httpx

from licmeter.producers.errors import SendError
from licmeter.producers.sending import send_events
from licmeter.producers.simulation import counter_differences
from licmeter.producers.simulation.posting import Load, post_records
from licmeter.producers.simulation.world import World, WorldRecord
from licmeter.producers.simulation.world.pacing import paced_chunks
from licmeter.runtime.compacted import read_compacted
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.licenses import apply_documents
from licmeter.runtime.settings import Settings
from licmeter.schemas.counters import ItemCounters, OrganizationCounters, parse_counters
from licmeter.schemas.topics import LICENSE_COUNTERS

__all__ = ["KAFKA", "Run", "compare", "send", "unused"]

KAFKA: Final = "kafka"
#: How long the gateway may take until it knows licenses that are in the catalog.
GATEWAY_WAIT_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.5


Counters = ItemCounters | OrganizationCounters


@dataclass(slots=True)
class Run:
    """What a run is asked for, and what comes of it."""

    settings: Settings
    target: str  # kafka, file, or a gateway's address
    limit: int | None
    speed: float | None
    world: World = field(init=False)
    license_keys: dict[str, str] = field(default_factory=dict)
    before: list[Counters] = field(default_factory=list)
    load: Load | None = None
    seconds: float = 0.0
    differences: list[str] | None = None


def send(run: Run, in_flight: int, on_sent: Callable[[int], None], *, apply: bool) -> None:
    """Send everything; `apply`: the licenses are put in force first."""
    try:
        if run.target == KAFKA:
            asyncio.run(_send_to_kafka(run, on_sent))
        else:
            asyncio.run(_send_to_gateway(run, in_flight, on_sent, apply=apply))
    except SendError as error:
        service = "kafka" if run.target == KAFKA else "gateway"
        raise ServiceError(str(error), service=service, hint="is licmeter running? `licmeter up` starts it") from error


def _chunks(run: Run) -> AsyncIterator[list[WorldRecord]]:
    return paced_chunks(
        run.world.records(run.limit),
        begin_s=run.world.begin_s,
        speed=run.speed,
        clock=time.monotonic,
        sleep=asyncio.sleep,
    )


async def _send_to_kafka(run: Run, on_sent: Callable[[int], None]) -> None:
    servers, sent = run.settings.bootstrap_servers, 0
    if run.speed is None:
        await send_events(servers, run.world.records(run.limit), on_sent)
        return
    async for chunk in _chunks(run):
        await send_events(servers, chunk, partial(_add, on_sent, sent))
        sent += len(chunk)


def _add(on_sent: Callable[[int], None], sent: int, more: int) -> None:
    on_sent(sent + more)


async def _send_to_gateway(run: Run, in_flight: int, on_sent: Callable[[int], None], *, apply: bool) -> None:
    if apply:
        await apply_documents(run.settings, run.world.documents())
        await _until_known(run)
    run.load = await post_records(run.target, _chunks(run), run.license_keys, in_flight=in_flight, on_sent=on_sent)


async def _until_known(run: Run) -> None:
    """Ask with each key until it opens the gateway: the catalog reaches it a moment after it is in force."""
    deadline = time.monotonic() + GATEWAY_WAIT_S
    async with httpx.AsyncClient(base_url=run.target) as client:
        for name, key in run.license_keys.items():
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            while (said := await _asked(client, headers)) != "202":
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"the gateway at {run.target} does not know organization {name}: {said}",
                        service="gateway",
                        hint="does it use the same Kafka as this command?",
                    )
                await asyncio.sleep(POLL_INTERVAL_S)


async def _asked(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    """Send no events; return the status, or why there is none."""
    try:
        return str((await client.post("/v1/events", content=b"[]", headers=headers)).status_code)
    except httpx.TransportError as error:
        return str(error) or type(error).__name__


def _counters(run: Run) -> list[Counters]:
    records = asyncio.run(read_compacted(run.settings.bootstrap_servers, LICENSE_COUNTERS.name))
    return [parse_counters(value) for value in records.values()]


def unused(run: Run) -> list[Counters]:
    """Return the counters from before the run; of its organizations there must be none."""
    before = _counters(run)
    names = {each.organization_id for each in run.world.scenario.organizations}
    used = sorted({c.organization_id for c in before if _total(c)} & names)
    if used:
        raise UsageError(
            f"--check: {', '.join(used)} reported before, so there is more to count than this run sends",
            hint="with --apply-license a run has organizations of its own",
        )
    return before


def _total(counters: Counters) -> int:
    """Return how many records an organization sent; 0 for an item."""
    if isinstance(counters, ItemCounters):
        return 0
    reports = counters.charged + counters.uncharged + counters.duplicate + counters.rejected
    return reports + counters.granted + counters.refused


def compare(run: Run, wait_s: float, on_counted: Callable[[int], None]) -> None:
    """Wait until the counters agree with the books, or make no progress for a time; note the differences."""
    ledger = run.world.ledger
    names = {name for name in ledger.sent if name}
    counted, since = -1, time.monotonic()
    while True:
        counters = _counters(run)
        run.differences = counter_differences(ledger, counters, run.before)
        total = sum(_total(each) for each in counters if each.organization_id in names)
        on_counted(total + ledger.sent[""])
        if total != counted:
            counted, since = total, time.monotonic()
        if not run.differences or time.monotonic() - since > wait_s:
            return
        time.sleep(POLL_INTERVAL_S)
