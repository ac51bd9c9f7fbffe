"""What a gateway knows, in memory: catalogs, whom a license key stands for, and how items stand. No IO, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import MeteredCatalog, MeteredProject
from licmeter.metering.report import Report
from licmeter.metering.states import state_of
from licmeter.producers.gateway.problems import code_of
from licmeter.schemas.catalog import LicenseKey, Organization
from licmeter.schemas.counters import ItemCounters
from licmeter.schemas.license_keys import digest_matches, parse_license_key, usable
from licmeter.schemas.outcomes import ItemState, RefusalCode

__all__ = ["Access", "Directory", "Standing", "Tenant"]

_to_json: Final = msgspec.json.encode
#: Answers that are remembered for an organization between two changes of its counters.
STANDINGS_MAX: Final = 4_096
#: How long an answer is remembered when nothing changes: an item starts or ends without a message.
STANDING_MS: Final = 1_000
_USED_UP: Final = frozenset({ItemState.BLOCKED, ItemState.CAPPED})


class Access(NamedTuple):
    """Whom a license key stands for; `password_hash` is that of the project."""

    organization_id: str
    project_id: str
    key_id: str
    usable: bool
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item stands, as a client is told."""

    item_id: str
    state: ItemState
    percent: str | None

    def to_json(self) -> dict[str, str | None]:
        """Return it for an answer."""
        return {"item_id": self.item_id, "state": self.state.value, "percent": self.percent}


class Tenant:
    """One organization: its catalog made ready, and the latest counters of its items."""

    def __init__(self, document: Organization) -> None:
        self.catalog = MeteredCatalog(document)
        self.counters: dict[str, ItemCounters] = {}
        self._standings: dict[tuple[object, ...], bytes] = {}
        self._remembered_ms = 0

    def adopt(self, document: Organization) -> None:
        """Take a new catalog; counters stay."""
        self.catalog = MeteredCatalog(document)
        self._standings.clear()

    def note(self, counters: ItemCounters) -> None:
        """Take the counters of an item; older ones than those known change nothing."""
        known = self.counters.get(counters.item_id)
        if known is None or known.applied_offset <= counters.applied_offset:
            self.counters[counters.item_id] = counters
            self._standings.clear()

    def item_standing(self, item: MeteredItem, now_ms: int) -> Standing:
        """Tell how an item stands at an instant."""
        counters = self.counters.get(item.item_id)
        value = 0 if counters is None else _measured(item, counters, now_ms)
        limit = item.budget if item.concurrent else item.quota
        percent = None if counters is None else counters.percent
        return Standing(item.item_id, state_of(item, value, limit, now_ms), percent)

    def standing(self, project: MeteredProject, report: Report, now_ms: int) -> bytes:
        """Return the members `items` and `code` of an accepted report's result, as JSON without braces."""
        if now_ms - self._remembered_ms > STANDING_MS or len(self._standings) >= STANDINGS_MAX:
            self._standings.clear()
            self._remembered_ms = now_ms
        wanted = (
            project.project_id,
            report.slot_s,
            *report.counts,
            report.product,
            report.version,
            report.edition,
            report.deployment_type,
            report.validation,
        )
        encoded = self._standings.get(wanted)
        if encoded is None:
            encoded = self._standings[wanted] = self._encode(project, report, now_ms)
        return encoded

    def _encode(self, project: MeteredProject, report: Report, now_ms: int) -> bytes:
        features: list[str | None] = [*report.counts] or [None]
        items = {item.item_id: item for feature in features for item in project.eligible(feature, report)}
        standings = {name: self.item_standing(item, now_ms) for name, item in items.items()}
        members: dict[str, object] = {"items": [standing.to_json() for standing in standings.values()]}
        if not items:
            members["code"] = code_of(RefusalCode.NO_MATCHING_ITEM)
        elif all(not item.seated and standings[name].state in _USED_UP for name, item in items.items()):
            members["code"] = code_of(RefusalCode.LIMIT_EXCEEDED)
        return _to_json(members)[1:-1]


def _measured(item: MeteredItem, counters: ItemCounters, now_ms: int) -> int:
    if item.seated:
        return counters.active
    if item.concurrent:
        return counters.consumed if counters.budget_year == item.budget_year(now_ms) else 0
    return counters.used


class Directory:
    """All organizations by id, and all license keys."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self._keys: dict[str, tuple[str, str, LicenseKey, str | None]] = {}
        self._early: dict[str, dict[str, ItemCounters]] = {}

    def adopt(self, document: Organization) -> None:
        """Make a document the current one of its organization."""
        name = document.organization_id
        tenant = self.tenants.get(name)
        if tenant is None:
            tenant = self.tenants[name] = Tenant(document)
            for counters in self._early.pop(name, {}).values():
                tenant.note(counters)
        else:
            self._forget_keys(name)
            tenant.adopt(document)
        for key_id, entry in _keys_of(document):
            # A key id that another organization has already stays with it: nobody takes over another's key.
            self._keys.setdefault(key_id, entry)

    def remove(self, organization_id: str) -> None:
        """Forget an organization."""
        self.tenants.pop(organization_id, None)
        self._forget_keys(organization_id)

    def note(self, counters: ItemCounters) -> None:
        """Take the counters of an item; they may come before the catalog does."""
        tenant = self.tenants.get(counters.organization_id)
        if tenant is not None:
            tenant.note(counters)
        else:
            self._early.setdefault(counters.organization_id, {})[counters.item_id] = counters

    def access(self, text: str, now: datetime) -> Access | None:
        """Return whom a license key stands for; None = there is no such key. Takes as long for any secret."""
        parsed = parse_license_key(text)
        if parsed is None:
            return None
        key_id, secret = parsed
        entry = self._keys.get(key_id)
        if entry is None:
            return None
        organization_id, project_id, key, password_hash = entry
        if not digest_matches(secret, key.secret_sha256):
            return None
        return Access(organization_id, project_id, key_id, usable(key, now), password_hash)

    def _forget_keys(self, organization_id: str) -> None:
        self._keys = {key_id: entry for key_id, entry in self._keys.items() if entry[0] != organization_id}


def _keys_of(document: Organization) -> Iterator[tuple[str, tuple[str, str, LicenseKey, str | None]]]:
    for project in document.projects:
        for key in project.license_keys:
            entry = (document.organization_id, project.project_id, key, project.session_password_hash)
            yield key.key_id, entry
