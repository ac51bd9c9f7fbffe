"""The ledger held against what licmeter says."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.outcomes import Outcome

__all__ = ["Books", "VouchedItem", "counter_differences"]

Counters = ItemCounters | OrganizationCounters
_FIGURES: Final = (*(outcome.value for outcome in Outcome), "granted", "refused")


class VouchedItem(Protocol):
    """What a ledger knows of an item."""

    def figures(self) -> Mapping[str, object]:
        """Return what `license.counters` must say of it, by the names of its fields."""


class Books(Protocol):
    """A ledger, as far as it can be compared."""

    sent: Counter[str]
    outcomes: dict[str, Counter[Outcome]]
    granted: Counter[str]
    refused: Counter[str]

    @property
    def items(self) -> Mapping[tuple[str, str], VouchedItem]:
        """The items by organization and id."""


def counter_differences(ledger: Books, counters: Iterable[Counters], before: Iterable[Counters] = ()) -> list[str]:
    """Say where `license.counters` differs from the ledger; nothing when all is as it must be.

    `counters` may hold several records of a key, the highest offset counts. Organizations that the ledger does
    not know are left out: they belong to somebody else. The records of nobody are added up over the partitions.
    `before` are counters from before the run, which is what an organization's figures are counted from.
    """
    organizations, items = _latest(counters)
    earlier, _ = _latest(before)
    differences = []
    for name in sorted(ledger.sent.keys() | {organization for organization, _ in ledger.items}):
        found, known, must = organizations.get(name, Counter()), earlier.get(name, Counter()), _expected(ledger, name)
        for figure in _FIGURES:
            grown = found[figure] - known[figure]
            if grown != must[figure]:
                differences.append(f"organization {name!r}: {grown} {figure}, must be {must[figure]}")
    return differences + _item_differences(ledger, items)


def _expected(ledger: Books, name: str) -> Counter[str]:
    outcomes = ledger.outcomes[name] if name in ledger.outcomes else Counter[Outcome]()
    expected = Counter({outcome.value: count for outcome, count in outcomes.items()})
    return expected + Counter({"granted": ledger.granted[name], "refused": ledger.refused[name]})


def _item_differences(ledger: Books, items: dict[tuple[str, str], ItemCounters]) -> list[str]:
    differences = []
    for (name, item_id), book in sorted(ledger.items.items()):
        counters = items.get((name, item_id))
        if counters is None:
            differences.append(f"item {name}/{item_id}: no counters")
            continue
        for field, expected in book.figures().items():
            found = getattr(counters, field)
            if found != expected:
                differences.append(f"item {name}/{item_id}: {field} is {found}, must be {expected}")
    return differences


def _latest(counters: Iterable[Counters]) -> tuple[dict[str, Counter[str]], dict[tuple[str, str], ItemCounters]]:
    latest: dict[bytes, Any] = {}
    for record in counters:
        known = latest.get(record.key)
        if known is None or known.applied_offset <= record.applied_offset:
            latest[record.key] = record
    organizations: dict[str, Counter[str]] = defaultdict(Counter)
    items = {}
    for record in latest.values():
        if isinstance(record, ItemCounters):
            items[record.organization_id, record.item_id] = record
        else:
            for figure in _FIGURES:
                organizations[record.organization_id][figure] += getattr(record, figure)
    return organizations, items
