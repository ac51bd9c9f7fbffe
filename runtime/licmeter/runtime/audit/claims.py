"""The counters that were published, each held against the recount at the very offset that it says it includes.

So an audit of a running system compares like with like: what is not counted yet is no difference. A state that was
not followed by a newer one, though the worker had counted further, is one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from licmeter.metering.counters import item_counters, organization_counters
from licmeter.metering.organization import OrganizationState
from licmeter.runtime.audit.recount import PartitionRecount
from licmeter.runtime.audit.report import AuditReport, Difference
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.topics import LICENSE_COUNTERS

__all__ = ["CLICKHOUSE", "TOPIC", "Claim", "Claims", "Counters", "by_partition", "key_of", "stale"]

Counters = ItemCounters | OrganizationCounters
TOPIC: Final = LICENSE_COUNTERS.name
CLICKHOUSE: Final = "ClickHouse counters"
#: Fields that name the state rather than say something of it.
_NAMES: Final = frozenset({"kind", "organization_id", "item_id", "source_partition", "applied_offset"})


@dataclass(frozen=True, slots=True)
class Claim:
    """A published state, and where it stands: on the topic, or in a table."""

    where: str
    counters: Counters


def key_of(counters: Counters) -> tuple[str, str, int]:
    """Return what of two states one replaces the other: organization, item, and for nobody the partition."""
    item_id = counters.item_id if isinstance(counters, ItemCounters) else ""
    return counters.organization_id, item_id, -1 if counters.organization_id else counters.source_partition


@dataclass(slots=True)
class Claims:
    """The claims on one partition, in the order of their offsets; `judge` is asked before each record."""

    report: AuditReport
    waiting: list[Claim]
    next_offset: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = sorted(self.waiting, key=lambda claim: claim.counters.applied_offset, reverse=True)
        self._advance()

    def _advance(self) -> None:
        self.next_offset = self.waiting[-1].counters.applied_offset if self.waiting else None

    def judge(self, recount: PartitionRecount, offset: int | None) -> None:
        """Judge all claims below the offset that comes next; None: the log ends here."""
        while self.waiting and (offset is None or self.waiting[-1].counters.applied_offset < offset):
            self._judge(self.waiting.pop(), recount)
        self._advance()

    def _judge(self, claim: Claim, recount: PartitionRecount) -> None:
        counters = claim.counters
        entry = self.report.of(counters.organization_id)
        entry.counters += 1
        state = recount.organizations.get(counters.organization_id)
        for difference in _differences(claim, state):
            entry.note(difference)
        if state is not None and isinstance(counters, OrganizationCounters):
            received, tally = _received(counters), recount.tallies.get(counters.organization_id)
            records = 0 if tally is None else tally.records
            if received != records:
                what = f"the outcomes add up to {received:,} ≠ {records:,} records of the log, {_at(counters)}"
                entry.note(Difference(claim.where, what, _place(counters)))


def _received(counters: OrganizationCounters) -> int:
    reports = counters.charged + counters.uncharged + counters.duplicate + counters.rejected
    return reports + counters.granted + counters.refused


def _place(counters: Counters) -> str:
    if isinstance(counters, ItemCounters):
        return f"item {counters.item_id}"
    return "the organization" if counters.organization_id else "nobody known"


def _at(counters: Counters) -> str:
    return f"at offset {counters.source_partition}:{counters.applied_offset}"


def _differences(claim: Claim, state: OrganizationState | None) -> Iterator[Difference]:
    counters = claim.counters
    place, at = _place(counters), _at(counters)
    if state is None:
        yield Difference(claim.where, f"{at}, where the log knows no such organization", place)
        return
    expected = _expected(counters, state)
    if expected is None:
        yield Difference(claim.where, f"{at}, where the catalog has no such item", place)
        return
    for name in type(counters).model_fields:
        found, wanted = getattr(counters, name), getattr(expected, name)
        if name not in _NAMES and found != wanted:
            yield Difference(claim.where, f"{name} {_word(found)} ≠ {_word(wanted)} of the log, {at}", place)


def _expected(counters: Counters, state: OrganizationState) -> Counters | None:
    if isinstance(counters, OrganizationCounters):
        return organization_counters(state, counters.source_partition)
    item = None if state.catalog is None else state.catalog.items.get(counters.item_id)
    if item is None:
        return None
    (expected,) = item_counters(state, counters.source_partition, [item], state.updated_ms)
    return expected


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def by_partition(topic: Iterable[Counters], stored: Iterable[Counters]) -> dict[int, list[Claim]]:
    """Sort claims by partition; a stored state that is the published one is judged once."""
    found: defaultdict[int, list[Claim]] = defaultdict(list)
    published = {key_of(counters): counters for counters in topic}
    for counters in published.values():
        found[counters.source_partition].append(Claim(TOPIC, counters))
    for counters in stored:
        if published.get(key_of(counters)) != counters:
            found[counters.source_partition].append(Claim(CLICKHOUSE, counters))
    return found


def stale(
    recount: PartitionRecount, published: Mapping[tuple[str, str, int], Counters]
) -> Iterator[tuple[str, str, str]]:
    """Yield what was counted and not published: the organization, the item or "", and how it stands."""
    for name, tally in sorted(recount.tallies.items()):
        for item_id, offset in sorted(tally.touched.items()):
            counters = published.get((name, item_id, -1 if name else recount.partition))
            if counters is None:
                yield name, item_id, "there is no state of it"
            elif counters.applied_offset < offset:
                yield name, item_id, f"the state includes offset {counters.applied_offset}, and not {offset}"
