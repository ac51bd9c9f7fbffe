"""From counts to reports: one for each slot and program, more where a report cannot hold it all. No IO, no clock."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from licmeter.producers.client.tally import Entry
from licmeter.schemas.reports import encode_event, usage_report

__all__ = ["Report", "make_reports"]

#: Bounds of one report (domain, section 14).
FEATURES_MAX: Final = 64
COUNT_MAX: Final = 1_000_000


class Report(NamedTuple):
    """A report as it is kept: its event without what changes from one attempt to the next."""

    report_id: str
    slot: int
    event: bytes
    units: int


def make_reports(entries: Iterable[Entry], client_uuid: str, new_id: Callable[[], str]) -> Iterator[Report]:
    """Yield the reports of counts, each with an id of its own; ids are passed in."""
    groups: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.units:
            groups[entry.attributes, entry.slot].append(entry)
    for (attributes, slot), group in sorted(groups.items(), key=lambda pair: (pair[0][1], pair[0][0])):
        instances = max(entry.instances for entry in group)
        for counts in _portions(group):
            report_id = new_id()
            event = usage_report(
                report_id=report_id,
                client_uuid=client_uuid,
                slot=datetime.fromtimestamp(slot, UTC),
                counts=counts,
                instances=instances if instances > 1 else None,
                **_attributes(attributes),
            )
            yield Report(report_id, slot, encode_event(event), sum(counts.values()))


def _attributes(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _portions(group: Iterable[Entry]) -> Iterator[dict[str, int]]:
    """Divide counts so that each portion fits into a report; all of them add up to the counts."""
    rest = {entry.feature: entry.units for entry in group}
    while rest:
        portion = {feature: min(rest[feature], COUNT_MAX) for feature in sorted(rest)[:FEATURES_MAX]}
        yield portion
        for feature, count in portion.items():
            rest[feature] -= count
            if not rest[feature]:
                del rest[feature]
