"""The books of a simulated world: what must come out of all charge ways, written from the domain.

Nothing here comes from the metering core. Every record is booked in the order in which it is sent. Decided, and so
vouched for, are: outcomes and answers by organization, units by project and feature, and all figures that
`license.counters` has of an item. Not decided are instants (the ends of seats and leases) and values in breach events.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from licmeter.producers.simulation.order import consumption_order
from licmeter.producers.simulation.tally import Tally
from licmeter.producers.simulation.world.accounts import Account, Caller, CumulativeAccount, DomainAccount, SeatAccount
from licmeter.producers.simulation.world.authorizations import grant
from licmeter.producers.simulation.world.domains import domain_of
from licmeter.producers.simulation.world.slot_accounts import SlotAccount
from licmeter.schemas.catalog import LicenseItem, Organization
from licmeter.schemas.outcomes import CONCURRENCY, CUMULATIVE, SEATED, Outcome, RejectReason

__all__ = ["WorldLedger"]


@dataclass(slots=True)
class _Project:
    """A project's accounts in consumption order; `fitting` remembers those of a feature and a kind of caller."""

    accounts: list[Account]
    disabled_s: int | None
    suffixes: tuple[str, ...]
    fitting: dict[tuple[object, ...], list[Account]] = field(default_factory=dict)

    def of(self, feature: str | None, caller: Caller) -> list[Account]:
        """Return the accounts that fit, at any time; None = any feature."""
        wanted = (feature, caller.traits, caller.host)
        found = self.fitting.get(wanted)
        if found is None:
            host = None if caller.host is None else domain_of(caller.host, self.suffixes)
            found = [account for account in self.accounts if account.fits(feature, caller, host)]
            self.fitting[wanted] = found
        return found


class WorldLedger(Tally):
    """Books reports and requests; `now_s` is the end of the run, about when all of it is sent."""

    def __init__(self, now_s: int) -> None:
        super().__init__()
        self.items: dict[tuple[str, str], Account] = {}
        self._now_s = now_s
        self._projects: dict[tuple[str, str | None], tuple[str, _Project]] = {}
        self._concurrent: list[SlotAccount] = []

    def adopt(self, document: Organization) -> None:
        """Take a catalog document for granted from here on; what was counted stays."""
        self.catalogs += 1
        name, suffixes = document.organization_id, document.platform_suffixes
        for item_id, item in document.items.items():
            account = self.items.get((name, item_id))
            if account is None:
                account = self.items[name, item_id] = open_account(item, self._now_s, suffixes)
                if isinstance(account, SlotAccount):
                    self._concurrent.append(account)
            else:
                account.revise(item, suffixes)
        for project in document.projects:
            accounts = [self.items[name, item.item_id] for item in consumption_order(document, project)]
            disabled_s = None if project.disabled_at is None else int(project.disabled_at.timestamp())
            entry = (project.project_id, _Project(accounts, disabled_s, suffixes))
            self._projects[name, project.project_id] = entry
            if project.project_id == document.default_project_id:
                self._projects[name, None] = entry

    def report(
        self, organization_id: str, project_id: str | None, caller: Caller, slot_s: int, counts: Mapping[str, int]
    ) -> tuple[Outcome, RejectReason | None]:
        """Book a well-formed report that was not accepted before; `project_id` None means the default project."""
        project_id, project = self._projects[organization_id, project_id]
        if project.disabled_s is not None and slot_s >= project.disabled_s:
            self.refuse(organization_id, RejectReason.PROJECT_DISABLED)
            return Outcome.REJECTED, RejectReason.PROJECT_DISABLED
        taken = total = 0
        for feature, units in counts.items() if len(counts) == 1 else sorted(counts.items()):
            if units:
                total += units
                self.units[organization_id, project_id, feature] += units
                taken += self._charge(units, project.of(feature, caller), caller, slot_s)
        if not total:
            # A contact takes nothing; it is charged where something could have been taken (A6; decision 8, G23).
            possible = chain.from_iterable(project.of(feature, caller) for feature in counts or [None])
            taken = any(account.valid_in(slot_s) for account in possible)
        outcome = Outcome.CHARGED if taken else Outcome.UNCHARGED
        self.outcomes[organization_id][outcome] += 1
        return outcome, None

    def request(self, organization_id: str, project_id: str | None, caller: Caller, at_s: int) -> bool:
        """Book a request for leave to run; tell whether it must be granted."""
        _, project = self._projects[organization_id, project_id]
        enabled = project.disabled_s is None or at_s < project.disabled_s
        granted = enabled and grant(project.of(None, caller), caller, at_s) is not None
        (self.granted if granted else self.refused)[organization_id] += 1
        return granted

    def to_json(self) -> dict[str, Any]:
        """Return all that is vouched for."""
        return {
            "organizations": [row._asdict() for row in self.rows()],
            "reasons": {name: dict(sorted(reasons.items())) for name, reasons in sorted(self.reasons.items())},
            "kinds": dict(self.kinds.most_common()),
            "units": [
                {"organization_id": organization_id, "project_id": project_id, "feature": feature, "count": count}
                for (organization_id, project_id, feature), count in sorted(self.units.items())
            ],
            "items": [
                {"organization_id": organization_id, "item_id": item_id, **account.figures()}
                for (organization_id, item_id), account in sorted(self.items.items())
            ],
        }

    def settle(self, slot_s: int, awaited: Collection[str]) -> None:
        """Keep of a slot only what matters for the clients whose reports are still to come."""
        for account in self._concurrent:
            account.settle(slot_s, awaited)

    def _charge(self, units: int, fitting: list[Account], caller: Caller, slot_s: int) -> int:
        """Divide units among the items (7.3); return how many were taken."""
        accounts = [account for account in fitting if account.valid_in(slot_s)]
        rest = units
        for account in accounts:
            rest -= account.take(rest, caller, slot_s, accounts)
            if not rest:
                return units
        for account in accounts:
            rest -= account.take_in_grace(rest, caller, slot_s, accounts)
            if not rest:
                return units
        last = next((account for account in reversed(accounts) if account.takes_over), None)
        if last is None:
            return units - rest
        last.take_rest(rest, caller, slot_s)
        return units


def open_account(item: LicenseItem, now_s: int, suffixes: tuple[str, ...] = ()) -> Account:
    """Return the account of an item's charge way."""
    way = item.charge_way
    if way in CUMULATIVE:
        return CumulativeAccount(item, now_s, suffixes)
    if way in SEATED:
        return SeatAccount(item, now_s, suffixes)
    return (SlotAccount if way in CONCURRENCY else DomainAccount)(item, now_s, suffixes)
