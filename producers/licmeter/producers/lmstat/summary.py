"""What an import saw, as one row per feature: the figures of the header beside those of the lines."""

from collections.abc import Iterable
from dataclasses import dataclass

from licmeter.producers.lmstat.snapshot import Feature, LicenseServer, Notice, Snapshot, VendorDaemon

__all__ = ["FeatureSummary", "ImportSummary", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSummary:
    """One feature over all its blocks; the header's figures are None when no block printed any."""

    feature: str
    issued: int | None
    in_use_header: int | None
    checked_out: int
    reserved: int
    queued: int
    notices: tuple[Notice, ...] = ()

    @property
    def counted(self) -> int:
        """What is reported: check-outs and reservations."""
        return self.checked_out + self.reserved

    @property
    def difference(self) -> int | None:
        """Return lines minus header; None without figures in the header."""
        return None if self.in_use_header is None else self.counted - self.in_use_header


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """All features in the order of the text, the servers by how they are, and the notices."""

    features: tuple[FeatureSummary, ...]
    servers_up: tuple[LicenseServer, ...]
    servers_down: tuple[LicenseServer, ...]
    daemons_up: tuple[VendorDaemon, ...]
    daemons_down: tuple[VendorDaemon, ...]
    notices: tuple[Notice, ...]  # every one, those of features included


def summarize(snapshots: Iterable[Snapshot], further: Iterable[Notice] = ()) -> ImportSummary:
    """Summarize snapshots that belong together; `further` are the notices of their conversion."""
    snapshots = tuple(snapshots)
    notices = (*(each for snapshot in snapshots for each in snapshot.notices), *further)
    servers = [server for snapshot in snapshots for server in snapshot.servers]
    daemons = [daemon for snapshot in snapshots for daemon in snapshot.daemons]
    return ImportSummary(
        features=_features(snapshots),
        servers_up=tuple(server for server in servers if server.up),
        servers_down=tuple(server for server in servers if not server.up),
        daemons_up=tuple(daemon for daemon in daemons if daemon.up),
        daemons_down=tuple(daemon for daemon in daemons if not daemon.up),
        notices=notices,
    )


def _features(snapshots: Iterable[Snapshot]) -> tuple[FeatureSummary, ...]:
    blocks: dict[str, list[tuple[Feature, tuple[Notice, ...]]]] = {}
    for snapshot in snapshots:
        owned = _owned(snapshot)
        for at, feature in enumerate(snapshot.features):
            blocks.setdefault(feature.name, []).append((feature, tuple(owned[at])))
    return tuple(_summary(name, parts) for name, parts in blocks.items())


def _owned(snapshot: Snapshot) -> list[list[Notice]]:
    """Return the notices of each feature block: those between its header and the next one."""
    owned: list[list[Notice]] = [[] for _ in snapshot.features]
    starts = [feature.line_number for feature in snapshot.features]
    at = -1
    for said in sorted(snapshot.notices, key=lambda each: each.line_number):
        while at + 1 < len(starts) and starts[at + 1] <= said.line_number:
            at += 1
        if at >= 0:
            owned[at].append(said)
    return owned


def _summary(name: str, parts: list[tuple[Feature, tuple[Notice, ...]]]) -> FeatureSummary:
    features = [feature for feature, _ in parts]
    return FeatureSummary(
        feature=name,
        issued=_sum(feature.issued for feature in features),
        in_use_header=_sum(feature.in_use for feature in features),
        checked_out=sum(feature.checked_out for feature in features),
        reserved=sum(feature.reserved for feature in features),
        queued=sum(request.licenses for feature in features for request in feature.queued),
        notices=tuple(said for _, notices in parts for said in notices),
    )


def _sum(figures: Iterable[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
