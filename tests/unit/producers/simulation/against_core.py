"""Runs a fleet through the real computation and flush, in memory and in one partition."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from licmeter.producers.simulation import Emission, Fleet, Ledger, counter_differences
from licmeter.schemas.outcomes import RejectReason
from licmeter.stream.batch import InputRecord
from tests.support.build import ms
from tests.support.pipeline import Results

NOW = datetime(2031, 3, 8, 10, 1, 30, tzinfo=UTC)
#: Between making a record and its arrival.
TRAVEL = timedelta(seconds=40)


def input_records(emissions: Iterable[Emission]) -> list[InputRecord]:
    received_ms = ms(NOW + TRAVEL)
    return [
        InputRecord(offset, received_ms + offset // 100, emission.key, emission.value)
        for offset, emission in enumerate(emissions)
    ]


def assert_all_as_booked(fleet: Fleet, emissions: list[Emission], results: Results) -> None:
    """Counters, rows and rejects must equal the ledger, and each record its own expectation."""
    ledger = fleet.ledger
    assert counter_differences(ledger, [*results.organizations.values(), *results.items.values()]) == []
    assert set(results.organizations) == set(ledger.sent)
    assert_rows_as_booked(ledger, results)
    outcomes = {offset: row[7] for (_, offset, line), row in results.rows.items() if line == 0}
    reasons = {offset: reason for offset, (reason, _) in results.rejects.items()}
    for offset, emission in enumerate(emissions):
        assert reasons.get(offset) == emission.reason, (offset, emission)
        assert outcomes.get(offset, "rejected" if offset in reasons else None) == emission.expected, (offset, emission)


def assert_rows_as_booked(ledger: Ledger, results: Results) -> None:
    units: Counter[tuple[str, str, str]] = Counter()
    by_item: dict[tuple[str, str], list[int]] = {}
    for organization_id, project_id, item_id, _, _, _, feature, outcome, _, quantity, *parts in results.rows.values():
        if outcome != "duplicate" and quantity:
            units[organization_id, project_id, feature] += quantity
        if item_id:
            booked = by_item.setdefault((organization_id, item_id), [0, 0, 0])
            by_item[organization_id, item_id] = [a + b for a, b in zip(booked, parts[:3], strict=True)]
    assert units == ledger.units
    assert by_item == {
        name: [book.in_quota, book.in_grace, book.over] for name, book in ledger.items.items() if book.used
    }
    assert sum(ledger.reasons.values(), Counter[RejectReason]()) == Counter(
        RejectReason(reason) for reason, _ in results.rejects.values()
    )
