"""What stands still while an audit works: how far the log, the worker and the sink were when it began."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from licmeter.runtime.audit.claims import TOPIC, Counters, key_of
from licmeter.runtime.audit.log import Log, Span
from licmeter.runtime.audit.report import AuditReport, Difference
from licmeter.runtime.audit.stored import Cuts, Stored
from licmeter.schemas.counters import parse_counters
from licmeter.schemas.topics import LICENSE_ALERTS, LICENSE_COUNTERS, USAGE_ATTRIBUTED, USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.sink import SinkConfig

__all__ = ["OnProgress", "Published", "Scene", "await_sink", "read_counters", "set_scene"]

#: Told how many records were read of how many, and what is being done.
OnProgress = Callable[[int, int, str], None]
#: States by organization, item ("" = of the organization), and for nobody the partition.
Published = dict[tuple[str, str, int], Counters]

_POLL_S: Final = 0.5
_SINK_GROUP: Final = str(SinkConfig.__dataclass_fields__["group_id"].default)
_SINK_TOPICS: Final = (USAGE_ATTRIBUTED, LICENSE_COUNTERS, LICENSE_ALERTS, USAGE_REJECTED)


@dataclass(slots=True)
class Scene:
    """What an audit works on. `key` makes its digests; `only` = one organization.

    `cuts` are the last offsets by partition that were counted for sure, and whose outputs had been sent: the worker
    publishes counters last. `behind` are the topics that the sink has not written to the end that they had then.
    `homes` are the partitions of the organizations, and `last_ms` the arrivals of the last records that were read.
    """

    log: Log
    stored: Stored
    key: bytes
    only: str | None
    on_progress: OnProgress
    report: AuditReport = field(default_factory=AuditReport)
    published: Published = field(default_factory=dict)
    spans: dict[int, Span] = field(default_factory=dict)
    cuts: dict[int, int] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    homes: dict[str, int] = field(default_factory=dict)
    last_ms: dict[int, int] = field(default_factory=dict)
    _read: int = 0

    @property
    def whole(self) -> list[Span]:
        """The partitions that the log still holds from their first record on."""
        return [span for span in self.spans.values() if span.begin == 0]

    @property
    def tails(self) -> list[Span]:
        """The partitions whose head is gone."""
        return [span for span in self.spans.values() if span.begin > 0]

    def sql_cuts(self, spans: Iterable[Span]) -> Cuts:
        """Return the bounds of what ClickHouse is asked for, in some partitions."""
        chosen = {span.partition: span for span in spans}
        return Cuts(
            begins={number: span.begin for number, span in chosen.items()},
            settled={number: self.cuts[number] for number in chosen},
            ends={number: span.end for number, span in chosen.items()},
            at_ms=max(self.last_ms.values(), default=0),
            only=self.only,
        )

    async def records(self, span: Span, what: str) -> AsyncIterator[Any]:
        """Yield the records of a partition of the log, and tell of the progress."""
        total, base = sum(each.count for each in self.spans.values()), self._read
        async for records in self.log.read(USAGE_EVENTS.name, span):
            for record in records:
                yield record
            self._read = base + records[-1].offset + 1 - span.begin
            self.on_progress(self._read, total, what)
            self.last_ms[span.partition] = max(self.last_ms.get(span.partition, 0), records[-1].timestamp)
        self._read = base + span.count

    def again(self) -> None:
        """Begin the progress anew: the log is read once more."""
        self._read = 0


async def read_counters(log: Log, only: str | None, report: AuditReport) -> Published:
    """Return the states on `license.counters`, of each key the last: what readers of the topic go by."""
    latest: dict[bytes, Any] = {}
    for span in (await log.spans(LICENSE_COUNTERS.name)).values():
        async for records in log.read(LICENSE_COUNTERS.name, span):
            latest.update((record.key, record) for record in records)
    found: Published = {}
    for record in latest.values():
        if record.value is None:
            continue
        try:
            counters = parse_counters(record.value)
        except ValidationError:
            report.of("").note(Difference(TOPIC, "a record that is no state", f"{record.partition}:{record.offset}"))
            continue
        if only in (None, counters.organization_id):
            found[key_of(counters)] = counters
    return found


async def set_scene(scene: Scene, wait_s: float) -> None:
    """Note how far everything is; wait so long at most for a sink that is behind."""
    scene.published = await read_counters(scene.log, scene.only, scene.report)
    spans = await scene.log.spans(USAGE_EVENTS.name)
    homes = {counters.source_partition for counters in scene.published.values()} & spans.keys()
    if scene.only is not None and homes:
        spans = {number: spans[number] for number in sorted(homes)}
    scene.spans = spans
    for number, span in spans.items():
        offsets = [each.applied_offset for each in scene.published.values() if each.source_partition == number]
        scene.cuts[number] = min(max(offsets, default=-1), span.end - 1)
    open_places = await await_sink(scene.log, wait_s, scene.on_progress)
    scene.behind = {topic for topic, _ in open_places}
    for (name, number), count in sorted(open_places.items()):
        scene.report.notes.append(f"the sink has {count:,} records of {name}, partition {number}, still to write")


async def await_sink(log: Log, wait_s: float, on_progress: OnProgress) -> dict[tuple[str, int], int]:
    """Return when the sink has written what the worker had sent, or when time is up.

    Returns how many records of which topic and partition are still to be written then.
    """
    wanted: dict[tuple[str, int], Span] = {}
    for topic in _SINK_TOPICS:
        wanted |= {(topic.name, number): span for number, span in (await log.spans(topic.name)).items()}
    deadline = time.monotonic() + wait_s
    while True:
        open_places = _unwritten(wanted, await log.committed(_SINK_GROUP))
        if not open_places or time.monotonic() >= deadline:
            return open_places
        on_progress(0, 0, "waiting for the sink")
        await asyncio.sleep(_POLL_S)


def _unwritten(
    wanted: Mapping[tuple[str, int], Span], committed: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], int]:
    found = {place: span.end - max(committed.get(place, span.begin), span.begin) for place, span in wanted.items()}
    return {place: count for place, count in found.items() if count > 0}
