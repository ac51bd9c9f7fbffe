"""The topics that licmeter reads and writes: names, keys, partitions, retention, size limits.

One table, used by `licmeter topics apply`, by every producer and consumer, and by the documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

__all__ = [
    "ALL_TOPICS",
    "CATALOGS_CHANGELOG",
    "FACTS_CHANGELOG",
    "LEVELS_CHANGELOG",
    "LICENSE_ALERTS",
    "LICENSE_CATALOG",
    "LICENSE_COUNTERS",
    "LICENSE_UNDELIVERED",
    "LICENSE_VERDICTS",
    "ORGANIZATIONS_CHANGELOG",
    "SEEN_CHANGELOG",
    "SLOTS_CHANGELOG",
    "STREAM_APP_ID",
    "USAGE_ATTRIBUTED",
    "USAGE_EVENTS",
    "USAGE_REJECTED",
    "USAGE_REPLAYS",
    "TopicSpec",
    "changelog_name",
    "day_ms",
]

_DAY_MS: Final = 86_400_000

#: The largest record anybody may put on `usage.events`. Far above what a report needs
#: (`metering.limits.REPORT_BYTES_MAX`): what is too large must reach the rejects with its origin
#: instead of failing at the sender where nobody looks.
EVENT_BYTES_MAX: Final = 12 * 1024 * 1024
#: A reject is the original plus headers that say why.
REJECT_BYTES_MAX: Final = EVENT_BYTES_MAX + 1024 * 1024
#: A block of attribution rows is far smaller; the bound only has to be above the largest block.
BLOCK_BYTES_MAX: Final = 8 * 1024 * 1024

#: A notice in words, or the alert itself as text in JSON; the broker takes alerts of 1 MB.
LETTER_BYTES_MAX: Final = 4 * 1024 * 1024


def day_ms(days: int) -> str:
    """Return a topic setting of `days` days, in milliseconds."""
    return str(days * _DAY_MS)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must look like on the broker.

    `co_partitioned`: as many partitions as `usage.events`, because a record of partition p of the events
    leads to records in partition p here.
    """

    name: str
    key: str
    content: str
    config: Mapping[str, str] = field(default_factory=dict)
    co_partitioned: bool = True


def _topic(name: str, key: str, content: str, **config: str) -> TopicSpec:
    settings = {setting.replace("_", "."): value for setting, value in config.items()}
    return TopicSpec(name=name, key=key, content=content, config=MappingProxyType(settings))


USAGE_EVENTS: Final = _topic(
    "usage.events",
    "organization_id",
    "CloudEvents: usage reports, authorizations, catalog changes; one ordered log per organization",
    cleanup_policy="delete",
    # Late reports are accepted for 30 days; five more to notice that a consumer stood still.
    retention_ms=day_ms(35),
    # `received_at` is the broker's clock. A producer's time would let retention delete late data.
    message_timestamp_type="LogAppendTime",
    max_message_bytes=str(EVENT_BYTES_MAX),
)
USAGE_ATTRIBUTED: Final = _topic(
    "usage.attributed",
    "none; the partition is that of the events",
    "blocks of attribution rows (Arrow IPC), one record = one insert block",
    cleanup_policy="delete",
    retention_ms=day_ms(7),
    max_message_bytes=str(BLOCK_BYTES_MAX),
)
LICENSE_COUNTERS: Final = _topic(
    "license.counters",
    "organization_id/item_id",
    "latest absolute state of each item, and of each organization's outcomes",
    cleanup_policy="compact",
)
LICENSE_ALERTS: Final = _topic(
    "license.alerts",
    "organization_id",
    "CloudEvents: breach events and usage alerts",
    cleanup_policy="delete",
    retention_ms=day_ms(90),
)
LICENSE_UNDELIVERED: Final = _topic(
    "license.undelivered",
    "organization_id/target/notice",
    "alerts that could not be delivered to a target of `licmeter notify`, until they are replayed",
    # Compacted, so that a tombstone takes out what was replayed; what nobody cares for goes with the alerts.
    cleanup_policy="compact,delete",
    retention_ms=day_ms(90),
    max_message_bytes=str(LETTER_BYTES_MAX),
)
USAGE_REJECTED: Final = _topic(
    "usage.rejected",
    "the original's key",
    "original key, value and headers, untouched, with reason and origin in added headers",
    cleanup_policy="delete",
    retention_ms=day_ms(90),
    max_message_bytes=str(REJECT_BYTES_MAX),
)
USAGE_REPLAYS: Final = _topic(
    "usage.replays",
    "run",
    "which rejects were put back on usage.events (licmeter.schemas.replays), all in partition 0",
    cleanup_policy="delete",
    # What was put back must be known for longer than there are rejects, whose segments may outlive their 90 days.
    retention_ms=day_ms(125),
    # Runs are told old from new by one clock.
    message_timestamp_type="LogAppendTime",
)
LICENSE_VERDICTS: Final = _topic(
    "license.verdicts",
    "organization_id",
    "CloudEvents: the answer to every request for leave to run",
    cleanup_policy="delete",
    # Who asked waits seconds; a day is for those who look into what was answered.
    retention_ms=day_ms(1),
)
LICENSE_CATALOG: Final = _topic(
    "license.catalog",
    "organization_id",
    "current organization document: projects, license files, items",
    cleanup_policy="compact",
    max_message_bytes=str(4 * 1024 * 1024),
)

#: The consumer group of the stream, and the first part of its changelogs' names.
STREAM_APP_ID: Final = "licmeter-stream"


def changelog_name(table: str) -> str:
    """Return the changelog topic of a state table, as Faust names it."""
    return f"{STREAM_APP_ID}-{table}-changelog"


def _changelog(table: str, content: str, **config: str) -> TopicSpec:
    return _topic(changelog_name(table), "see licmeter.stream.store", content, **config)


_STATE: Final = {
    "cleanup_policy": "compact",
    "segment_bytes": str(64 * 1024 * 1024),  # small, because only closed segments are compacted
    "max_message_bytes": str(BLOCK_BYTES_MAX),
}
ORGANIZATIONS_CHANGELOG: Final = _changelog("organizations", "counters of each organization, with its fence", **_STATE)
CATALOGS_CHANGELOG: Final = _changelog("catalogs", "documents by organization and offset", **_STATE)
SEEN_CHANGELOG: Final = _changelog(
    "seen",
    "accepted reports, packed by batch",
    cleanup_policy="delete",
    # Reports are remembered for 32 days; then for as long as a worker may have been behind.
    retention_ms=day_ms(35),
    max_message_bytes=str(BLOCK_BYTES_MAX),
)

FACTS_CHANGELOG: Final = _changelog("facts", "seats and notices: what changed, and now and then all", **_STATE)
SLOTS_CHANGELOG: Final = _changelog(
    "slots",
    "who used a concurrency item in which slot",
    cleanup_policy="delete",
    retention_ms=day_ms(35),  # a slot is asked for 33 days, and written no earlier than it begins
    max_message_bytes=str(BLOCK_BYTES_MAX),
)
LEVELS_CHANGELOG: Final = _changelog("levels", "alert levels that are held, by organization and check", **_STATE)

ALL_TOPICS: Final = (
    USAGE_EVENTS,
    USAGE_ATTRIBUTED,
    LICENSE_COUNTERS,
    LICENSE_ALERTS,
    LICENSE_UNDELIVERED,
    USAGE_REJECTED,
    USAGE_REPLAYS,
    LICENSE_VERDICTS,
    LICENSE_CATALOG,
    ORGANIZATIONS_CHANGELOG,
    CATALOGS_CHANGELOG,
    SEEN_CHANGELOG,
    FACTS_CHANGELOG,
    SLOTS_CHANGELOG,
    LEVELS_CHANGELOG,
)
