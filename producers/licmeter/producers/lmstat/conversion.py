"""From snapshots of a license server to usage reports.

A snapshot is an observation: it says who holds what in one slot, and the caller says which slot that is. The
present one by default, or the snapshot's own (`snapshot_instant`, `slot_of`).

Decisions:

- One report per check-out line and one per reservation line, with `counts = {feature: licenses of that line}`, so
  that the counts of a feature sum to what its lines say. Its header is compared (see the notices), never counted.
- A client is `user@host:display`; a display that is not printed is the host. A reservation is a client of its own,
  `reservation:GROUP name@server`, and its reports have `usage_kind` `reservation`, so that it stays apart from use.
- `instances` is what that client holds of that feature in the whole snapshot. A slot takes the highest number a
  client declares (domain, I3), so each of several lines must declare their sum.
- `report_id` is a hash over project, slot, the snapshot's own time and server line as printed, feature, client,
  kind, and the occurrence number among lines equal in these. Importing one file twice into one slot therefore
  gives duplicates, and a later snapshot in the same slot gives reports of its own.
- Several snapshots in one slot add up when they come from several servers. Of one server they are two looks at the
  same licenses: `instances` takes the higher, and a notice says so. The same output twice gives one set of reports.
- `product`, `version` and the like are left out: an item's restrictions must not filter what was observed.
- Names longer than the contract takes are cut and end in a hash of the whole, which keeps them apart and stable.
- A feature of whose licenses none is in use gives one report with count 0, from the server itself: "none" is an
  observation, too, and the last one must not go on standing in the statistics as if it were still so.
- Queued requests hold nothing and a line of no license says nothing: neither becomes a report.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from licmeter.metering.slots import slot_start
from licmeter.producers.lmstat.errors import SnapshotTimeUnknown
from licmeter.producers.lmstat.records import notice
from licmeter.producers.lmstat.snapshot import Checkout, Feature, Notice, NoticeKind, Reservation, Snapshot
from licmeter.schemas.outcomes import UsageKind
from licmeter.schemas.reports import usage_report

__all__ = ["Conversion", "convert", "reports", "slot_of", "snapshot_instant"]

NAME_CHARS_MAX: Final = 128  # of a client and of a feature: domain, section 2
LICENSES_MAX: Final = 1_000_000  # a count per feature and slot: domain, section 14
_HASH_CHARS: Final = 16  # 64 bits tell a billion names apart
_UNNAMED: Final = "(unnamed)"  # the contract has no empty feature


@dataclass(frozen=True, slots=True)
class Conversion:
    """The events to send, and what had to be said about making them."""

    reports: tuple[dict[str, Any], ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Holding:
    """One line on its way to a report; `origin` is the time and server line of its snapshot, as printed."""

    origin: tuple[str, str]
    feature: str
    client: str
    kind: UsageKind
    licenses: int
    line_number: int

    @property
    def key(self) -> tuple[str, str, UsageKind]:
        return (self.feature, self.client, self.kind)


def slot_of(instant: datetime) -> datetime:
    """Return the start of the slot that holds an aware instant, in UTC."""
    assert instant.tzinfo is not None, "an instant names its zone"
    return datetime.fromtimestamp(slot_start(int(instant.timestamp() // 1)), UTC)


def snapshot_instant(snapshot: Snapshot, zone: tzinfo) -> datetime:
    """Return when the snapshot was taken, in UTC; it prints the local time of `zone`.

    Raises `SnapshotTimeUnknown` when it prints none that can be read.
    """
    if snapshot.taken_at is None:
        raise SnapshotTimeUnknown(line_number=snapshot.line_number, time_text=snapshot.time_text)
    return snapshot.taken_at.replace(tzinfo=zone).astimezone(UTC)


def reports(
    snapshots: Iterable[Snapshot], *, project_id: str | None, slot: datetime, **optional: Any
) -> list[dict[str, Any]]:
    """Return the events of `convert` alone."""
    return list(convert(snapshots, project_id=project_id, slot=slot, **optional).reports)


def convert(
    snapshots: Iterable[Snapshot],
    *,
    project_id: str | None,
    slot: datetime,
    organization_id: str | None = None,
    **optional: Any,
) -> Conversion:
    """Turn all snapshots that belong into one slot into reports; `optional` goes into each (`sent_at`, `attempt`).

    Give all snapshots of a slot in one call: what a client holds is summed over them.
    """
    assert slot == slot_of(slot), "a report is for the start of a slot"
    notices: list[Notice] = []
    looks = [list(_holdings(snapshot, notices)) for snapshot in snapshots]
    instances = _instances(looks, notices)
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for look in looks:
        occurrences: Counter[tuple[object, ...]] = Counter()
        for holding in look:
            occurrences[holding.origin, holding.key] += 1
            event = usage_report(
                report_id=_report_id(
                    project_id or organization_id, slot, holding, occurrences[holding.origin, holding.key]
                ),
                client_uuid=holding.client,
                slot=slot,
                counts={holding.feature: holding.licenses},
                project_id=project_id,
                organization_id=organization_id,
                instances=min(instances[holding.key], LICENSES_MAX) or None,
                usage_kind=holding.kind,
                **optional,
            )
            made.setdefault((event["source"], event["id"]), event)
    return Conversion(tuple(made.values()), tuple(notices))


def _report_id(owner: str | None, slot: datetime, holding: _Holding, occurrence: int) -> str:
    parts = (owner or "", slot.isoformat(), *holding.origin, *holding.key, str(occurrence))
    # Lengths keep ("ab", "c") apart from ("a", "bc").
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def _instances(looks: Sequence[Sequence[_Holding]], notices: list[Notice]) -> Counter[tuple[str, str, UsageKind]]:
    """Return what each client holds: the sum over servers of the most that one look at a server shows."""
    by_server: dict[str, Counter[tuple[str, str, UsageKind]]] = {}
    for look in looks:
        seen: dict[str, Counter[tuple[str, str, UsageKind]]] = {}
        for holding in look:
            seen.setdefault(holding.origin[1], Counter())[holding.key] += holding.licenses
        for server, held in seen.items():
            if server in by_server and look:
                message = "seen more than once in this slot; the looks are reported one by one, and add up"
                notices.append(notice(NoticeKind.SNAPSHOT_REPEATED, look[0].line_number, server, message))
            by_server[server] = by_server.get(server, Counter()) | held
    total: Counter[tuple[str, str, UsageKind]] = Counter()
    for held in by_server.values():
        total += held
    return total


def _holdings(snapshot: Snapshot, notices: list[Notice]) -> Iterator[_Holding]:
    for feature in snapshot.features:
        name = _fitted(feature.name or _UNNAMED, feature.line_number, notices)
        lines: tuple[Checkout | Reservation, ...] = (*feature.checkouts, *feature.reservations)
        if feature.in_use is not None and not any(line.licenses for line in lines):
            yield _none_held(feature, name, snapshot.time_text, notices)
        for line in lines:
            if line.licenses > LICENSES_MAX:
                message = f"{name}: {line.licenses} licenses on one line are more than a report may count; not reported"
                notices.append(notice(NoticeKind.COUNT_OUT_OF_RANGE, line.line_number, name, message))
            elif line.licenses:
                yield _holding(line, feature, name, snapshot.time_text, notices)


def _none_held(feature: Feature, name: str, time_text: str, notices: list[Notice]) -> _Holding:
    return _Holding(
        origin=(time_text, feature.server_line),
        feature=name,
        client=_fitted(f"server:{feature.server_line or _UNNAMED}", feature.line_number, notices),
        kind=UsageKind.USE,
        licenses=0,
        line_number=feature.line_number,
    )


def _holding(
    line: Checkout | Reservation, feature: Feature, name: str, time_text: str, notices: list[Notice]
) -> _Holding:
    reserved = isinstance(line, Reservation)
    client = _reserved_for(line, feature) if isinstance(line, Reservation) else _client(line)
    return _Holding(
        origin=(time_text, feature.server_line),
        feature=name,
        client=_fitted(client, line.line_number, notices),
        kind=UsageKind.RESERVATION if reserved else UsageKind.USE,
        licenses=line.licenses,
        line_number=line.line_number,
    )


def _client(checkout: Checkout) -> str:
    return f"{checkout.user}@{checkout.host}:{checkout.display or checkout.host}"


def _reserved_for(reservation: Reservation, feature: Feature) -> str:
    return f"reservation:{reservation.kind} {reservation.name}@{reservation.server or feature.server_line}"


def _fitted(name: str, line_number: int, notices: list[Notice]) -> str:
    if len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARS]
    fitted = f"{name[: NAME_CHARS_MAX - _HASH_CHARS - 1]}~{digest}"
    message = f"{len(name)} characters are more than {NAME_CHARS_MAX}; reported as {fitted}"
    notices.append(notice(NoticeKind.NAME_SHORTENED, line_number, name, message))
    return fitted
