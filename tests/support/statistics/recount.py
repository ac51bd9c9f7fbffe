"""Every measure of the domain's section 10, counted in plain Python over the facts of a log.

Instants of buckets are epoch seconds, days are UTC, both ends of a range are included (Q6). Answers are sparse: what is
zero is left out (Q9). On top of the domain:

- A report is in an item's view if a line of it was charged to the item. Split by feature or item it counts once for
  each that its lines name: "" is a report without counts, or what no item took.
- A device is a client with units in the bucket, or with a granted request at an instant in it: on the item, through
  the project. Requests have no feature and are never late, so such splits leave them out.
- A new device falls into the bucket of the first of these in all history of the scope, and of the part of the split. So
  over all buckets of all history they add up to the devices.
- a(s) of an item of concurrent instances is the sum over clients of the most instances that each declared in the slot
  in reports with units on the item; of any other item, and of what no item took, the number of clients. A project's
  and an organization's is the sum over clients with units of the most instances that each declared there.
- On the basis `received` reports are bucketed by their arrival; requests always by their own instant.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from licmeter.stream.batch import InputRecord
from tests.support.statistics.facts import NONE, Facts, Line, Report, Request, facts_of
from tests.support.statistics.seats import Seat, lives

__all__ = ["BUCKETS", "MEASURES", "ORGANIZATION", "SPLITS", "SUMS", "WITHOUT", "Basis", "Recount", "Scope", "day_ms"]

DAY_MS: Final = 86_400_000
BUCKETS: Final = {"slot": 180_000, "1h": 3_600_000, "2h": 7_200_000, "day": DAY_MS, "all": None}
SPLITS: Final = (None, "feature", "client", "project", "item", "late")
SUMS: Final = ("count", "uncharged", "in_quota", "in_grace", "over", "exceptions")
MEASURES: Final = (
    *SUMS, "submit", "auth", "auth_failed", "devices", "new_devices", "active_devices", "peak_concurrent"
)  # fmt: skip
#: What requests and seats know nothing of.
WITHOUT: Final = {
    "auth": ("feature", "late"),
    "auth_failed": ("feature", "late"),
    "active_devices": ("feature", "late"),
}

Scope = tuple[Literal["organization", "project", "item"], str | None]
Basis = Literal["usage", "received"]
Value = str | bool | None
Key = tuple[int | None, Value]

ORGANIZATION: Final[Scope] = ("organization", None)


def day_ms(day: date) -> int:
    """Return the first instant of a day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class _Use:
    """A line of a report in a scope, with the part of the split that it belongs to."""

    when_ms: int
    part: Value
    report: Report
    line: Line


@dataclass(frozen=True, slots=True)
class _Question:
    organization_id: str
    scope: Scope
    split: str | None
    basis: Basis

    def uses(self, reports: Iterable[Report]) -> Iterator[_Use]:
        kind, name = self.scope
        for report in reports:
            if report.organization_id != self.organization_id or (kind == "project" and report.project_id != name):
                continue
            when_ms = report.slot_s * 1000 if self.basis == "usage" else report.received_ms
            for line in report.lines:
                if kind == "item" and line.item_id != name:
                    continue
                parts: dict[str | None, Value] = {
                    None: None,
                    "feature": line.feature,
                    "client": report.client,
                    "project": report.project_id,
                    "item": line.item_id,
                    "late": report.late,
                }
                yield _Use(when_ms, parts[self.split], report, line)

    def requests(self, requests: Iterable[Request]) -> Iterator[tuple[Value, Request]]:
        kind, name = self.scope
        for request in requests:
            own = {"organization": None, "project": request.project_id, "item": request.item_id}[kind]
            if request.organization_id == self.organization_id and own == name:
                parts = {
                    None: None,
                    "client": request.client,
                    "project": request.project_id,
                    "item": request.item_id,
                }
                yield parts[self.split], request


class Recount:
    """The facts of a log, and every question about them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.seats: list[Seat] = lives(facts.contacts)

    @classmethod
    def of(cls, log: Iterable[InputRecord]) -> "Recount":
        """Count a log in the order of its offsets."""
        return cls(facts_of(log))

    def measure(
        self,
        measure: str,
        *,
        organization_id: str,
        scope: Scope = ORGANIZATION,
        bucket: str = "day",
        split: str | None = None,
        basis: Basis = "usage",
        first_day: date | None = None,
        last_day: date | None = None,
    ) -> dict[Key, int]:
        """Return what is not zero by the bucket's start (None for `all`) and the part of the split.

        Raises `ValueError` for a split that the measure knows nothing of.
        """
        if measure not in MEASURES or split not in SPLITS or split in WITHOUT.get(measure, ()):
            raise ValueError(f"no {measure} by {split}")
        within = _Range(first_day, last_day, BUCKETS[bucket])
        question = _Question(organization_id, scope, split, basis)
        if measure in SUMS:
            found = self._sums(measure, question, within)
        elif measure == "submit":
            found = self._submits(question, within)
        elif measure in ("auth", "auth_failed"):
            found = self._requests(question, within, failed_only=measure == "auth_failed")
        elif measure == "devices":
            found = self._devices(question, within)
        elif measure == "new_devices":
            found = self._new_devices(question, within)
        elif measure == "peak_concurrent":
            found = self._peaks(question, within)
        else:
            found = self._active(question, within)
        return {key: value for key, value in found.items() if value}

    # --- what is added up

    def _sums(self, measure: str, question: _Question, within: "_Range") -> dict[Key, int]:
        found: dict[Key, int] = defaultdict(int)
        for use in question.uses(self.facts.reports):
            if measure == "uncharged" and use.line.item_id != NONE:
                continue
            name = "quantity" if measure in ("count", "uncharged") else measure
            if use.when_ms in within:
                found[within.bucket(use.when_ms), use.part] += getattr(use.line, name)
        return found

    def _submits(self, question: _Question, within: "_Range") -> dict[Key, int]:
        found: dict[Key, set[int]] = defaultdict(set)
        for use in question.uses(self.facts.reports):
            if use.when_ms in within:
                found[within.bucket(use.when_ms), use.part].add(use.report.offset)
        return {key: len(offsets) for key, offsets in found.items()}

    def _requests(self, question: _Question, within: "_Range", *, failed_only: bool) -> dict[Key, int]:
        found: dict[Key, int] = defaultdict(int)
        for part, request in question.requests(self.facts.requests):
            if request.at_ms in within and not (failed_only and request.granted):
                found[within.bucket(request.at_ms), part] += 1
        return found

    # --- who

    def _sightings(self, question: _Question) -> Iterator[tuple[int, Value, str]]:
        """Instant, part and client of every use and every grant."""
        for use in question.uses(self.facts.reports):
            if use.line.quantity > 0:
                yield use.when_ms, use.part, use.report.client
        if question.split not in ("feature", "late"):
            for part, request in question.requests(self.facts.requests):
                if request.granted:
                    yield request.at_ms, part, request.client

    def _devices(self, question: _Question, within: "_Range") -> dict[Key, int]:
        found: dict[Key, set[str]] = defaultdict(set)
        for when_ms, part, client in self._sightings(question):
            if when_ms in within:
                found[within.bucket(when_ms), part].add(client)
        return {key: len(clients) for key, clients in found.items()}

    def _new_devices(self, question: _Question, within: "_Range") -> dict[Key, int]:
        first: dict[tuple[Value, str], int] = {}
        for when_ms, part, client in self._sightings(question):
            first[part, client] = min(when_ms, first.get((part, client), when_ms))
        found: dict[Key, int] = defaultdict(int)
        for (part, _client), when_ms in first.items():
            if when_ms in within:
                found[within.bucket(when_ms), part] += 1
        return found

    # --- how many at a time

    def _peaks(self, question: _Question, within: "_Range") -> dict[Key, int]:
        #: Most instances by bucket, part, slot and client.
        seats: dict[tuple[int | None, Value, int, str], int] = {}
        for use in question.uses(self.facts.reports):
            if use.line.quantity > 0 and use.when_ms in within:
                item_id = use.part if question.split == "item" else question.scope[1] if _of_item(question) else None
                declared = use.report.instances if self._by_instance(question.organization_id, item_id) else 1
                key = (within.bucket(use.when_ms), use.part, use.report.slot_s, use.report.client)
                seats[key] = max(declared, seats.get(key, 0))
        at_a_time: dict[tuple[int | None, Value, int], int] = defaultdict(int)
        for (start, part, slot_s, _client), declared in seats.items():
            at_a_time[start, part, slot_s] += declared
        found: dict[Key, int] = defaultdict(int)
        for (start, part, _slot), a in at_a_time.items():
            found[start, part] = max(found[start, part], a)
        return found

    def _by_instance(self, organization_id: str, item_id: Any) -> bool:
        """Whether instances count: of a whole project or organization, and of items that are charged by them."""
        if item_id is None:
            return True
        item = self.facts.items.get((organization_id, item_id))
        return item is not None and item["charge_way"] == "per_concurrent_instance"

    # --- seats

    def active_devices(self, organization_id: str, scope: Scope, instants: Sequence[int]) -> list[int]:
        """Return the number of live seats at instants in epoch seconds; contacts at an instant itself count."""
        return [len(self._live(organization_id, scope, instant * 1000)) for instant in instants]

    def _live(self, organization_id: str, scope: Scope, at_ms: int) -> list[Seat]:
        kind, name = scope
        tests: dict[str, Callable[[Seat], bool]] = {
            "organization": lambda seat: seat.live(at_ms),
            "item": lambda seat: seat.item_id == name and seat.live(at_ms),
            "project": lambda seat: seat.through(name or NONE, at_ms),
        }
        return [seat for seat in self.seats if seat.organization_id == organization_id and tests[kind](seat)]

    def _active(self, question: _Question, within: "_Range") -> dict[Key, int]:
        """The state at the end of each bucket, from the organization's first contact to the log's last day."""
        own = [seat.first_ms for seat in self.seats if seat.organization_id == question.organization_id]
        if not own:
            return {}
        first_ms, last_ms = min(own), self.facts.received_ms
        begin_ms = within.first_ms if within.first_ms is not None else first_ms - first_ms % DAY_MS
        end_ms = within.end_ms if within.end_ms is not None else last_ms - last_ms % DAY_MS + DAY_MS
        found: dict[Key, int] = defaultdict(int)
        step = within.step_ms or end_ms - begin_ms
        for start_ms in range(begin_ms, end_ms, step):
            for seat in self._live(question.organization_id, question.scope, start_ms + step):
                for part in _seat_parts(seat, question, start_ms + step):
                    found[within.bucket(start_ms), part] += 1
        return found

    @property
    def last_day(self) -> date:
        """The day of the last arrival."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.facts.received_ms)).date()


def _of_item(question: _Question) -> bool:
    return question.scope[0] == "item"


def _seat_parts(seat: Seat, question: _Question, at_ms: int) -> list[Value]:
    if question.split == "project":
        kind, name = question.scope
        # Of a project only what is its own: that a seat shows in others too is not part of its statistics.
        projects = [name] if kind == "project" else seat.projects
        return [project for project in projects if seat.through(project or NONE, at_ms)]
    return [{None: None, "client": seat.client, "item": seat.item_id}[question.split]]


class _Range:
    """Whole days, both included, in buckets."""

    def __init__(self, first_day: date | None, last_day: date | None, step_ms: int | None) -> None:
        self.first_ms = None if first_day is None else day_ms(first_day)
        self.end_ms = None if last_day is None else day_ms(last_day) + DAY_MS
        self.step_ms = step_ms

    def __contains__(self, when_ms: int) -> bool:
        return (self.first_ms is None or when_ms >= self.first_ms) and (self.end_ms is None or when_ms < self.end_ms)

    def bucket(self, when_ms: int) -> int | None:
        """The start of an instant's bucket in epoch seconds."""
        return None if self.step_ms is None else when_ms // self.step_ms * self.step_ms // 1000
