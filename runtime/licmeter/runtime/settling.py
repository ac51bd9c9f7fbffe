"""Waits until events that were sent have been counted, and says what became of them."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from licmeter.producers.sending import OffsetSpan
from licmeter.runtime.errors import ServiceError
from licmeter.sinks.target import ClickHouseTarget

__all__ = ["Settled", "wait_until_counted"]

POLL_INTERVAL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Settled:
    """Events by outcome, and rejected ones by reason; `open` are those not seen in ClickHouse yet."""

    outcomes: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    open: int = 0


def wait_until_counted(target: ClickHouseTarget, spans: Sequence[OffsetSpan], wait_s: float) -> Settled:
    """Poll ClickHouse for the events stored at `spans`, for `wait_s` at most."""
    sent = sum(span.count for span in spans)
    if not sent:
        return Settled()
    deadline = time.monotonic() + wait_s
    while True:
        settled = _look(target, _merged(spans), sent)
        if settled.open <= 0 or time.monotonic() >= deadline:
            return settled
        time.sleep(POLL_INTERVAL_S)


def _merged(spans: Sequence[OffsetSpan]) -> list[OffsetSpan]:
    """Join spans that follow each other, so that the question stays short."""
    merged: list[OffsetSpan] = []
    for span in sorted(spans, key=lambda each: (each.partition, each.first)):
        if merged and merged[-1].partition == span.partition and merged[-1].last + 1 == span.first:
            merged[-1] = OffsetSpan(span.partition, merged[-1].first, span.last)
        else:
            merged.append(span)
    return merged


def _look(target: ClickHouseTarget, spans: Sequence[OffsetSpan], sent: int) -> Settled:
    # The spans are numbers of our own; everything else is constant.
    where = " OR ".join(
        f"(source_partition = {each.partition} AND source_offset BETWEEN {each.first} AND {each.last})"
        for each in spans
    )
    try:
        client = target.connect(final=1)
        try:
            outcomes = Counter(
                _counts(client, f"SELECT outcome, count() FROM usage_attributed WHERE line = 0 AND ({where})")  # noqa: S608
            )
            outcomes.update(_counts(client, f"SELECT outcome, count() FROM authorizations WHERE {where}"))  # noqa: S608
            rejected = _counts(
                client,
                f"SELECT reason, count() FROM usage_rejected WHERE source_topic = 'usage.events' AND ({where})",  # noqa: S608
            )
        finally:
            client.close()
    except Exception as error:
        raise ServiceError(
            f"ClickHouse at {target.url} could not be asked: {error}",
            service="clickhouse",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error
    known = sum(outcomes.values()) + sum(rejected.values())
    return Settled(dict(outcomes), rejected, sent - known)


def _counts(client: Any, text: str) -> dict[str, int]:
    rows = client.query(f"{text} GROUP BY 1").result_rows
    return {str(name): int(count) for name, count in rows}
