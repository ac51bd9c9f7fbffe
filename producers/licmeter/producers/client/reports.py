"""From counts to reports: one for each slot and program, more where a report cannot hold it all. No IO, no clock."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from licmeter.producers.client.tally import Entry
from licmeter.schemas.reports import encode_event, usage_report

__all__ = ["INSTANCES_MAX", "UNITS_MAX", "Report", "UnusableCountsError", "group_entries", "make_reports"]

#: Bounds of one report (domain, section 14).
FEATURES_MAX: Final = 64
COUNT_MAX: Final = 1_000_000
INSTANCES_MAX: Final = 1_000_000
#: Of a feature in a slot: 5.5 million a second is a fault, and a thousand reports are enough to say so.
UNITS_MAX: Final = 1_000 * COUNT_MAX


class UnusableCountsError(ValueError):
    """Counts cannot become a report: another version of the SDK wrote them, or the disk broke them."""


class Report(NamedTuple):
    """A report as it is kept: its event without what changes from one attempt to the next."""

    report_id: str
    slot: int
    event: bytes
    units: int


def group_entries(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return counts by what becomes a report of its own, in the order of slots."""
    groups: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.units:
            groups[entry.slot, entry.attributes].append(entry)
    return [groups[key] for key in sorted(groups)]


def make_reports(entries: Iterable[Entry], client_uuid: str, new_id: Callable[[], str]) -> Iterator[Report]:
    """Yield the reports of counts, each with an id of its own; ids are passed in. Raises `UnusableCountsError`."""
    for group in group_entries(entries):
        attributes, slot = _attributes(group[0].attributes), _slot(group[0].slot)
        instances = min(INSTANCES_MAX, max(entry.instances for entry in group))
        for counts in _portions(group):
            report_id = new_id()
            try:
                event = encode_event(
                    usage_report(
                        report_id=report_id,
                        client_uuid=client_uuid,
                        slot=slot,
                        counts=counts,
                        instances=instances if instances > 1 else None,
                        **attributes,
                    )
                )
            except (TypeError, ValueError) as error:
                raise UnusableCountsError(str(error)) from error
            yield Report(report_id, group[0].slot, event, sum(counts.values()))


def _slot(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise UnusableCountsError(f"there is no instant {seconds}") from error


def _attributes(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UnusableCountsError(f"attributes: {error}") from error
    if not isinstance(found, dict):
        raise UnusableCountsError("attributes are an object")
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
