"""Breach events: limits that were crossed, and use that no license covers (domain, 8.2)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from json import dumps
from typing import Final

from licmeter.metering.items import percent_of
from licmeter.schemas.alerts import Breach
from licmeter.schemas.outcomes import BreachKind

__all__ = ["NOTICES_A_DAY_MAX", "BreachFact", "NoticeBook", "breach_message"]

#: Notices that a client can cause with words of its own choice have a bound for each organization and day.
NOTICES_A_DAY_MAX: Final = 10_000
#: `at` of an authorization may be a day off, so three days may still be asked for.
_DAYS_KEPT: Final = 2


@dataclass(slots=True)
class BreachFact:
    """One breach.

    Organization, kind and `identity` make a repeat the same (8.2). `percent_base` is what 100 percent is.
    """

    organization_id: str
    kind: BreachKind
    identity: tuple[str | int, ...]
    slot_s: int
    at_ms: int
    project_id: str | None = None
    item_id: str | None = None
    client_uuid: str | None = None
    quota: int | None = None
    limit: int | None = None
    value: int | None = None
    percent_base: int | None = None
    late: bool = False
    detail: str | None = None

    @property
    def breach_id(self) -> str:
        """Hash of what the breach is about: 32 hexadecimal digits."""
        text = dumps([self.organization_id, self.kind, *self.identity], ensure_ascii=False, separators=(",", ":"))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def breach_message(fact: BreachFact) -> Breach:
    """Return what `license.alerts` says of a breach."""
    return Breach(
        breach_id=fact.breach_id,
        kind=fact.kind,
        organization_id=fact.organization_id,
        project_id=fact.project_id,
        item_id=fact.item_id,
        client_uuid=fact.client_uuid,
        slot=datetime.fromtimestamp(fact.slot_s, UTC),
        quota=fact.quota,
        limit=fact.limit,
        value=fact.value,
        percent=None if fact.value is None else percent_of(fact.value, fact.percent_base),
        late=fact.late,
        at=datetime.fromtimestamp(fact.at_ms / 1000, UTC),
        detail=fact.detail,
    )


@dataclass(slots=True)
class NoticeBook:
    """Which breaches of a day were given, by id; `changed` since it was cleared, `withheld` beyond the bound."""

    days: dict[int, set[str]] = field(default_factory=dict)
    changed: list[tuple[int, str]] = field(default_factory=list)
    withheld: int = 0

    def note(self, day: int, identifier: str) -> bool:
        """Remember a notice; tell whether it is to be given."""
        known = self.days.get(day)
        if known is None:
            if day < max(self.days, default=day) - _DAYS_KEPT:
                return False
            known = self.days[day] = set()
            for old in [each for each in self.days if each < max(self.days) - _DAYS_KEPT]:
                del self.days[old]
        if identifier in known:
            return False
        if len(known) >= NOTICES_A_DAY_MAX:
            self.withheld += 1
            return False
        known.add(identifier)
        self.changed.append((day, identifier))
        return True

    def load(self, day: int, identifier: str) -> None:
        """Take over a notice that was stored."""
        self.days.setdefault(day, set()).add(identifier)
