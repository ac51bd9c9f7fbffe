"""The ledger held against what licmeter says."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from licmeter.producers.simulation.ledger import Ledger
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import Outcome

__all__ = ["counter_differences"]


def counter_differences(ledger: Ledger, counters: Iterable[ItemCounters | OrganizationCounters]) -> list[str]:
    """Say where `license.counters` differs from the ledger; nothing when all is as it must be.

    `counters` may hold several records of a key, the highest offset counts. Organizations that the ledger does
    not know are left out: they belong to somebody else. The records of nobody are added up over the partitions.
    """
    organizations, items = _latest(counters)
    differences = []
    for name in sorted(ledger.sent.keys() | {organization for organization, _ in ledger.items}):
        found = organizations.get(name, Counter())
        for outcome in Outcome:
            expected = ledger.outcomes[name][outcome] if name in ledger.outcomes else 0
            if found[outcome] != expected:
                differences.append(f"organization {name!r}: {found[outcome]} {outcome}, must be {expected}")
    return differences + _item_differences(ledger, items)


def _item_differences(ledger: Ledger, items: dict[tuple[str, str], ItemCounters]) -> list[str]:
    differences = []
    for (name, item_id), book in sorted(ledger.items.items()):
        counters = items.get((name, item_id))
        if counters is None:
            differences.append(f"item {name}/{item_id}: no counters")
            continue
        for field in ("quota", "used", "in_quota", "in_grace", "over", "state"):
            found, expected = getattr(counters, field), getattr(book, field)
            if found != expected:
                differences.append(f"item {name}/{item_id}: {field} is {found}, must be {expected}")
    return differences


def _latest(
    counters: Iterable[ItemCounters | OrganizationCounters],
) -> tuple[dict[str, Counter[Outcome]], dict[tuple[str, str], ItemCounters]]:
    latest: dict[bytes, ItemCounters | OrganizationCounters] = {}
    for record in counters:
        known = latest.get(record.key)
        if known is None or known.applied_offset <= record.applied_offset:
            latest[record.key] = record
    organizations: dict[str, Counter[Outcome]] = defaultdict(Counter)
    items = {}
    for record in latest.values():
        if isinstance(record, ItemCounters):
            items[record.organization_id, record.item_id] = record
        else:
            for outcome in Outcome:
                organizations[record.organization_id][outcome] += getattr(record, outcome.value)
    return organizations, items
