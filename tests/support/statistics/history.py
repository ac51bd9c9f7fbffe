"""A generated history that statistics are counted on: months of several organizations, as a partition's log has it.

Everything comes from one seed. Use is planned by the slot in which it happens, and then arrives when its client gets
through: in seconds, after hours, after weeks, or as one burst that tells of all of them. The log is in the order of
arrival. What goes wrong in reality is in it, too: repeats, conflicts, broken records, clocks that are off.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from licmeter.schemas.authorizations import authorization
from licmeter.schemas.catalog import catalog_event
from licmeter.schemas.reports import encode_event, usage_report
from licmeter.stream.batch import InputRecord
from tests.support.statistics.catalogs import CHANGES, DAYS, IDLE, LARGE, SMALL, START, UNKNOWN, document

__all__ = ["generate"]

SLOT_MS: Final = 180_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
START_MS: Final = int(START.timestamp()) * 1000

#: What is used through which project; `mystery` is a feature that no item names.
FEATURES: Final = {
    f"{LARGE}-kiosk": ("qr", "code128", "core", "ocr", "seat", "kiosk", "serve", "desk", "load", "web", "mystery"),
    f"{LARGE}-mobile": ("qr", "seat", "desk", "load", "mystery"),
    f"{LARGE}-bare": ("qr", "mystery"),
    f"{LARGE}-old": ("code128", "qr"),
    f"{LARGE}-vault": ("code128", "load"),
    f"{SMALL}-kiosk": ("qr", "core", "ocr", "seat", "kiosk", "load"),
    f"{SMALL}-mobile": ("qr", "desk", "load", "mystery"),
    f"{SMALL}-bare": ("qr",),
}
#: Often used projects first.
PROJECTS: Final = {
    LARGE: [f"{LARGE}-{name}" for name in ("kiosk",) * 6 + ("mobile",) * 4 + ("bare", "old", "vault")],
    SMALL: [f"{SMALL}-{name}" for name in ("kiosk",) * 3 + ("mobile",) * 3 + ("bare",)],
}
DEFAULTS: Final = {LARGE: f"{LARGE}-kiosk", SMALL: f"{SMALL}-mobile"}
CLIENTS: Final = {LARGE: 13, SMALL: 8}
#: Of a hundred events of either kind, how many are the large organization's.
LARGE_PERCENT: Final = 70
#: Features of which several devices at a time matter.
CROWDED: Final = ("desk", "load")
HOSTS: Final = ("shop.example.org", "a.SHOP.example.org:8443", "example.org", "other.example.net")
CODES: Final = ("limit_exceeded", "expired", "standby_refuses", "clone_detected", "bad_project_format")


def generate(seed: int, events: int = 2_500) -> list[InputRecord]:
    """Return a log of about `events` records, and the catalogs; offsets begin with 0 and leave nothing out."""
    plan = _Plan(Random(seed))
    plan.catalogs()
    plan.corners()
    while len(plan.records) < events:
        kind = plan.random.randrange(1_000)
        if kind < 200:
            plan.request()
        elif kind < 240:
            plan.crowd()
        elif kind < 248:
            plan.burst()
        elif kind < 300:
            plan.repeat()
        elif kind < 330:
            plan.broken()
        else:
            plan.use()
    return plan.log()


class _Plan:
    """Records with the instants of their arrival, in any order."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.records: list[tuple[int, str, bytes]] = []  # arrival, organization, value
        self.repeatable: list[tuple[int, str, dict[str, Any]]] = []
        self.number = 0

    def log(self) -> list[InputRecord]:
        """Return all of it in the order of arrival."""
        arrived = sorted(self.records, key=lambda record: record[0])
        return [
            InputRecord(offset, received_ms, organization.encode(), value)
            for offset, (received_ms, organization, value) in enumerate(arrived)
        ]

    def add(self, received_ms: int, organization: str, event: dict[str, Any] | bytes) -> None:
        """Let an event arrive."""
        value = event if isinstance(event, bytes) else encode_event(event)
        self.records.append((received_ms, organization, value))

    def catalogs(self) -> None:
        """Tell of all organizations before anything happens, and of the changes."""
        for number, name in enumerate((LARGE, SMALL, IDLE)):
            self._catalog(name, 0, START_MS - HOUR_MS + number)
        for stage, day in enumerate(CHANGES, 1):
            self._catalog(LARGE, stage, START_MS + day * DAY_MS + 12 * HOUR_MS + 7)

    def _catalog(self, name: str, stage: int, received_ms: int) -> None:
        changed = catalog_event(
            document(name, stage), event_id=f"catalog-{stage}", source="admin", time=_instant(received_ms)
        )
        self.add(received_ms, name, changed)

    # --- who and when

    def organization(self) -> str:
        """Choose one of those that are used."""
        return LARGE if self.random.randrange(100) < LARGE_PERCENT else SMALL

    def client(self, organization: str, slot_ms: int) -> str:
        """Choose a client that is there by that day: some come later than others, and some use more."""
        day = (slot_ms - START_MS) // DAY_MS
        there = [number for number in range(CLIENTS[organization]) if number * 7 <= day + 7]
        return f"client-{min(self.random.choice(there), self.random.choice(there)):02d}"

    def slot(self) -> int:
        """Choose the start of a slot: mostly in office hours, often the first or the last of a day."""
        day = START_MS + self.random.randrange(DAYS) * DAY_MS
        kind = self.random.randrange(20)
        if kind == 0:
            return day
        if kind == 1:
            return day + DAY_MS - SLOT_MS
        first, last = (0, 480) if kind < 5 else (140, 380)
        return day + self.random.randrange(first, last) * SLOT_MS

    def arrival(self, slot_ms: int) -> int:
        """Choose when a report of a slot gets through."""
        end = slot_ms + SLOT_MS
        kind = self.random.randrange(100)
        if kind < 4:  # a clock that is a little ahead
            return slot_ms - self.random.randrange(1, 5 * MINUTE_MS)
        if kind < 60:
            return slot_ms + self.random.randrange(SLOT_MS + 4 * MINUTE_MS)
        if kind < 62:  # around the instant at which the slot closes
            return end + 6 * MINUTE_MS - self.random.randrange(2)
        if kind < 78:
            return end + self.random.randrange(2 * HOUR_MS)
        if kind < 92:
            return end + self.random.randrange(10 * DAY_MS)
        if kind < 99:
            return end + self.random.randrange(10 * DAY_MS, 30 * DAY_MS)
        return end + 30 * DAY_MS + self.random.randrange(2) * self.random.randrange(DAY_MS)

    # --- reports

    def report(
        self, organization: str, project: str, client: str, slot_ms: int, received_ms: int, **fields: Any
    ) -> dict[str, Any]:
        """Let a report arrive; what is not given of it is chosen."""
        self.number += 1
        if "counts" not in fields:
            fields["counts"] = self.counts(project)
        if "web" in fields["counts"]:
            fields.setdefault("validation", {"kind": "domain", "value": self.random.choice(HOSTS)})
        if "serve" in fields["counts"] and self.random.randrange(2):
            fields.setdefault("version", self.random.choice("223"))
        if "instances" not in fields and ("load" in fields["counts"] or not self.random.randrange(6)):
            fields["instances"] = self.random.choice((None, 1, 2, 3, 5))
        named: dict[str, Any] = {"project_id": project}
        if project == DEFAULTS.get(organization) and not self.random.randrange(4):
            named = {"organization_id": organization}
        event = usage_report(report_id=f"r{self.number}", client_uuid=client, slot=_instant(slot_ms), **named, **fields)
        self.add(received_ms, organization, event)
        self.repeatable.append((received_ms, organization, event))
        return event

    def counts(self, project: str) -> dict[str, int]:
        """Choose what was used: one feature or several, now and then nothing."""
        features, chance = FEATURES[project], self.random.randrange(100)
        if chance < 3:
            return {}
        if chance < 8:
            return dict.fromkeys(self.random.sample(features, min(2, len(features))), 0)
        chosen = self.random.sample(features, min(len(features), self.random.choice((1, 1, 1, 2, 3))))
        counts = {feature: self.random.randrange(1, 10) for feature in chosen}
        if not self.random.randrange(12):
            counts.setdefault(self.random.choice(features), 0)
        return counts

    def use(self) -> None:
        """One client's report, at times two of the same slot."""
        name, slot_ms = self.organization(), self.slot()
        client, project = self.client(name, slot_ms), self.random.choice(PROJECTS[name])
        self.report(name, project, client, slot_ms, self.arrival(slot_ms))
        if not self.random.randrange(20):
            self.report(name, self.random.choice(PROJECTS[name]), client, slot_ms, self.arrival(slot_ms))

    def crowd(self) -> None:
        """Several clients at a time, through several projects: more than the concurrency items allow."""
        name, slot_ms = self.organization(), self.slot()
        for _ in range(self.random.randrange(3, 8)):
            project = f"{name}-{self.random.choice(('kiosk', 'mobile'))}"
            features = [feature for feature in CROWDED if feature in FEATURES[project]]
            counts = {feature: self.random.randrange(1, 4) for feature in features if self.random.randrange(3)}
            if counts:
                client = self.client(name, START_MS + DAYS * DAY_MS)
                self.report(name, project, client, slot_ms, self.arrival(slot_ms), counts=counts)

    def burst(self) -> None:
        """A client that was offline for days tells everything at once (L4)."""
        name, slot_ms = self.organization(), self.slot()
        client, project = self.client(name, slot_ms), self.random.choice(PROJECTS[name])
        offline_ms = self.random.choice((1, 4, 12, 28)) * DAY_MS
        for number in range(self.random.randrange(4, 16)):
            earlier = slot_ms - self.random.randrange(offline_ms) // SLOT_MS * SLOT_MS
            if earlier >= START_MS:
                self.report(name, project, client, earlier, slot_ms + MINUTE_MS + number * 40)

    # --- requests

    def request(self, organization: str | None = None, **fields: Any) -> None:
        """Let a client ask for leave; some requests come with the answer that somebody gave already."""
        name = organization or self.organization()
        at_ms = fields.pop("at_ms", self.slot() + self.random.randrange(SLOT_MS))
        received_ms = fields.pop("received_ms", at_ms + self._transport())
        self.number += 1
        project = f"{name}-gone"
        if name in PROJECTS and self.random.randrange(25):
            project = self.random.choice(PROJECTS[name])
        features = FEATURES.get(project, ("qr",))
        chosen: dict[str, Any] = {}
        if self.random.randrange(4):
            chosen["feature"] = self.random.choice(features)
        if chosen.get("feature") == "web":
            chosen["validation"] = {"kind": "domain", "value": self.random.choice(HOSTS)}
        for key, chance, values in (
            ("requested_instances", 3, (1, 2, 4, 6)),
            ("charge_way", 12, ("per_device", "per_scan", "per_concurrent_device")),
            ("version", 6, ("2", "3")),
            ("product", 15, ("hub", "other")),
            ("clone_suspected", 60, (True,)),
            ("password_ok", 2, (*[True] * 7, False)),
        ):
            if not self.random.randrange(chance):
                chosen[key] = self.random.choice(values)
        chosen |= self._answer(name)
        client = fields.pop("client_uuid", None) or self.client(name if name in CLIENTS else SMALL, at_ms)
        event = authorization(
            auth_id=f"a{self.number}", client_uuid=client, at=_instant(at_ms), project_id=project, **chosen | fields
        )
        self.add(received_ms, name, event)
        if name in PROJECTS:
            self.repeatable.append((received_ms, name, event))

    def _answer(self, organization: str) -> dict[str, Any]:
        if organization not in PROJECTS or self.random.randrange(6):
            return {}
        if self.random.randrange(2):
            return {"result": "refused"} | ({"code": self.random.choice(CODES)} if self.random.randrange(3) else {})
        items = ("scan-a", "dev-m", "desk", "load")
        return {"result": "ok"} | ({"item_id": self.random.choice(items)} if self.random.randrange(2) else {})

    def _transport(self) -> int:
        kind = self.random.randrange(20)
        if kind < 14:
            return self.random.randrange(3_000)
        if kind < 17:
            return self.random.randrange(20 * MINUTE_MS)
        if kind < 19:
            return -self.random.randrange(4 * MINUTE_MS)
        return self.random.randrange(23 * HOUR_MS)

    # --- what goes wrong

    def repeat(self) -> None:
        """An event comes again, a second or some days later: the same, or with other content (A1, check 10)."""
        if not self.repeatable:
            return
        first_ms, name, event = self.random.choice(self.repeatable)
        received_ms = first_ms + self.random.choice((1_000, HOUR_MS, 5 * DAY_MS, 20 * DAY_MS))
        again = event | {"data": dict(event["data"])}
        kind = self.random.randrange(4)
        if kind == 0 and "counts" in again["data"]:
            again["data"]["counts"] = again["data"]["counts"] | {"qr": self.random.randrange(40, 50)}
        elif kind == 0:
            again["data"]["requested_instances"] = 3
        elif kind == 1 and "counts" in again["data"]:
            again["data"] |= {"attempt": 2, "sent_at": _instant(received_ms - 900)}
        self.add(received_ms, name, again)

    def broken(self) -> None:
        """Something that no total may hold."""
        name, slot_ms = self.organization(), self.slot()
        client, received_ms = self.client(name, slot_ms), slot_ms + SLOT_MS + 5_000
        project, kind = f"{name}-kiosk", self.random.randrange(10)
        if kind == 0:
            self.add(received_ms, name, b"{no json")
        elif kind == 1:
            self.request(UNKNOWN)
        elif kind == 2:
            self.report(name, project, client, slot_ms + 1_000, received_ms)  # not the start of a slot
        elif kind == 3:
            self.report(name, project, client, slot_ms, slot_ms - 5 * MINUTE_MS - 1)  # future_slot
        elif kind == 4:
            self.report(name, project, client, slot_ms, received_ms, sent_at=_instant(received_ms + 2 * DAY_MS))
        elif kind == 5:
            self.request(name, client_uuid=client, at_ms=slot_ms - 2 * DAY_MS, received_ms=received_ms)
        else:
            bad = {6: {"qr": -1}, 7: {"qr": 1_000_001}, 8: {"qr": "1"}, 9: {"qr": 5}}[kind]
            known = f"{name}-gone" if kind == 9 else project
            self.report(name, known, client, slot_ms, received_ms, counts=bad)

    def corners(self) -> None:
        """What chance might leave out."""
        noon = START_MS + 44 * DAY_MS + 12 * HOUR_MS
        kiosk, mobile = f"{LARGE}-kiosk", f"{LARGE}-mobile"
        # Two reports of one client in a slot, with other instances, through two projects of one item (E22, E27).
        for project, instances in ((kiosk, 3), (kiosk, 5), (mobile, 2)):
            self.report(LARGE, project, "twice", noon, noon + 9_000, counts={"load": 1}, instances=instances)
        # The arrival is the first instant of a day, and the use is of the day before; then the other way round.
        midnight = START_MS + 45 * DAY_MS
        self.report(LARGE, kiosk, "client-00", midnight - SLOT_MS, midnight, counts={"qr": 2})
        self.report(LARGE, kiosk, "client-00", midnight, midnight - MINUTE_MS, counts={"qr": 3})
        self.report(LARGE, kiosk, "client-01", midnight, midnight, counts={"qr": 4})
        for at_ms in (midnight, midnight - 1):
            self.request(LARGE, client_uuid="client-02", at_ms=at_ms, feature="seat", result="ok")
        # One who only asks and is granted, one who is only refused, one who never uses anything.
        self.request(LARGE, client_uuid="asks", at_ms=noon, result="ok", item_id="scan-free")
        self.request(LARGE, client_uuid="refused", at_ms=noon, result="refused", code="limit_exceeded")
        self.report(LARGE, kiosk, "idle", noon, noon + 1_000, counts={"qr": 0})
        # Seats that are held by contacts without use, which are through no project.
        for day in (0, 20, 45):
            at_ms = START_MS + day * DAY_MS + 10 * HOUR_MS
            counts = {"seat": 1} if day == 0 else {}
            self.report(LARGE, mobile, "holder", at_ms, at_ms + 5_000, counts=counts)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)
