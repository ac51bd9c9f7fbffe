"""Imports the output of `lmstat -a`, the status tool of FlexNet license servers, as usage reports.

`decode` bytes to text, `parse` text to snapshots, `convert` snapshots to events, `summarize` for a table. Nothing
here reads a file, a clock or a topic.
"""

from licmeter.producers.lmstat.conversion import Conversion, convert, reports, slot_of, snapshot_instant
from licmeter.producers.lmstat.decoding import decode
from licmeter.producers.lmstat.errors import LmstatError, SnapshotTimeUnknown
from licmeter.producers.lmstat.parser import parse
from licmeter.producers.lmstat.snapshot import (
    Checkout,
    Feature,
    FeatureStatus,
    LicenseServer,
    Notice,
    NoticeKind,
    Pool,
    QueuedRequest,
    Reservation,
    Snapshot,
    VendorDaemon,
)
from licmeter.producers.lmstat.summary import FeatureSummary, ImportSummary, summarize

__all__ = [
    "Checkout",
    "Conversion",
    "Feature",
    "FeatureStatus",
    "FeatureSummary",
    "ImportSummary",
    "LicenseServer",
    "LmstatError",
    "Notice",
    "NoticeKind",
    "Pool",
    "QueuedRequest",
    "Reservation",
    "Snapshot",
    "SnapshotTimeUnknown",
    "VendorDaemon",
    "convert",
    "decode",
    "parse",
    "reports",
    "slot_of",
    "snapshot_instant",
    "summarize",
]
