"""Second pass: from collected lines to snapshots, with every notice about figures, names and dates."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from licmeter.producers.lmstat.clients import Client, hosts_of, split_client
from licmeter.producers.lmstat.placing import DatePlacer
from licmeter.producers.lmstat.records import Block, Holder, Output, notice
from licmeter.producers.lmstat.snapshot import (
    Checkout,
    Feature,
    FeatureStatus,
    Notice,
    NoticeKind,
    QueuedRequest,
    Snapshot,
)

__all__ = ["assemble"]


def assemble(outputs: Iterable[Output], reference: datetime | None) -> tuple[Snapshot, ...]:
    """Finish the outputs of one text; `reference` stands in where an output has no time of its own."""
    outputs = [output for output in outputs if output.begun or output.notices]
    hosts = frozenset().union(*(hosts_of(holder.line.who) for holder in _holders(outputs)))
    placer = DatePlacer(outputs, reference)
    return tuple(_snapshot(output, placer, hosts) for output in outputs)


def _holders(outputs: Iterable[Output]) -> list[Holder]:
    return [holder for output in outputs for block in output.blocks for holder in block.holders]


def _snapshot(output: Output, placer: DatePlacer, hosts: Collection[str]) -> Snapshot:
    dates = placer.of(output)
    notices = [*output.notices, *dates.notices]
    features = tuple(_feature(block, dates.starts, hosts, notices) for block in output.blocks)
    notices += _repeated(features)
    if not output.blocks:
        message = "no feature usage in this output; usage is what `lmstat -a` prints"
        notices.append(notice(NoticeKind.NO_USAGE, output.line_number, output.time_text or "", message))
    return Snapshot(
        taken_at=dates.taken_at,
        time_text=output.time_text or "",
        servers=tuple(output.servers),
        daemons=tuple(output.daemons),
        features=features,
        notices=tuple(sorted(notices, key=lambda said: said.line_number)),
        line_number=output.line_number,
    )


def _feature(
    block: Block, starts: dict[int, datetime | None], hosts: Collection[str], notices: list[Notice]
) -> Feature:
    checkouts: list[Checkout] = []
    queued: list[QueuedRequest] = []
    for holder in block.holders:
        client = split_client(holder.line.who, hosts)
        notices += _said_of_holder(holder, client)
        if holder.line.queued:
            queued.append(_queued(holder, client))
        else:
            checkouts.append(_checkout(holder, client, starts[holder.line_number]))
    feature = Feature(
        name=block.header.feature,
        status=block.header.status,
        issued=block.header.issued,
        in_use=block.header.in_use,
        server_line=block.server_line,
        pools=tuple(block.pools),
        checkouts=tuple(checkouts),
        reservations=tuple(block.reservations),
        queued=tuple(queued),
        line_number=block.line_number,
    )
    notices += _said_of_feature(feature, block.text)
    return feature


def _checkout(holder: Holder, client: Client, start: datetime | None) -> Checkout:
    line = holder.line
    return Checkout(
        user=client.user,
        host=client.host,
        display=client.display,
        version=line.version,
        server=line.server,
        handle=line.handle,
        start=start,
        licenses=line.licenses,
        suffix=line.suffix,
        line_number=holder.line_number,
    )


def _queued(holder: Holder, client: Client) -> QueuedRequest:
    return QueuedRequest(
        user=client.user,
        host=client.host,
        display=client.display,
        licenses=holder.line.licenses,
        line_number=holder.line_number,
    )


def _said_of_holder(holder: Holder, client: Client) -> list[Notice]:
    line = holder.line
    said: list[tuple[NoticeKind, str]] = []
    if line.queued:
        said.append((NoticeKind.QUEUED, f"waits for {line.licenses} and holds none; not counted"))
    elif line.licenses == 0:
        said.append((NoticeKind.ZERO_LICENSES, "a check-out of no license; not reported"))
    if not line.queued and (not line.complete or not client.host):
        said.append((NoticeKind.CHECKOUT_INCOMPLETE, f"read in part; counted as {line.licenses}"))
    if client.guessed:
        message = f"read as user {client.user!r} on host {client.host!r} at display {client.display!r}"
        said.append((NoticeKind.CLIENT_AMBIGUOUS, message))
    if not line.suffix_known:
        said.append((NoticeKind.SUFFIX_UNKNOWN, f"{line.suffix!r} is not understood; the line is counted"))
    return [notice(kind, holder.line_number, holder.text, message) for kind, message in said]


def _said_of_feature(feature: Feature, text: str) -> list[Notice]:
    said: list[tuple[NoticeKind, str]] = []
    counted = f"{feature.checked_out} checked out and {feature.reserved} reserved"
    if feature.status is FeatureStatus.UNKNOWN:
        headed = text.lower().startswith("users of")
        kind = NoticeKind.HEADER_UNREADABLE if headed else NoticeKind.HEADER_MISSING
        said.append((kind, f"{feature.name}: no total to compare with; its lines are counted: {counted}"))
    elif feature.status is FeatureStatus.ERROR:
        said.append((NoticeKind.FEATURE_ERROR, f"{feature.name}: lmstat reports an error instead of usage"))
    elif feature.difference:
        total = feature.checked_out + feature.reserved
        figures = f"the header says {feature.in_use} in use, the lines {total} ({counted})"
        message = f"{feature.name}: {figures}; the lines are counted"
        said.append((NoticeKind.HEADER_DISAGREES, message))
    zero = [reservation for reservation in feature.reservations if reservation.licenses == 0]
    notices = [notice(kind, feature.line_number, text, message) for kind, message in said]
    return notices + [
        notice(NoticeKind.ZERO_LICENSES, each.line_number, text, f"{feature.name}: a reservation of no license")
        for each in zero
    ]


def _repeated(features: Collection[Feature]) -> list[Notice]:
    times = Counter(feature.name for feature in features)
    seen: set[str] = set()
    notices: list[Notice] = []
    for feature in features:
        if feature.name in seen:
            message = f"{feature.name} is listed {times[feature.name]} times; all of them are counted"
            notices.append(notice(NoticeKind.FEATURE_REPEATED, feature.line_number, feature.name, message))
        seen.add(feature.name)
    return notices
