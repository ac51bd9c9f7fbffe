"""Reads what can be read of a broken database: row by row, from both ends towards the broken place."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from licmeter.producers.client.reports import Report
from licmeter.producers.client.spool import Contents
from licmeter.producers.client.tally import SLOT_MAX, SLOT_SECONDS, Entry

__all__ = ["is_broken", "salvage"]

_T = TypeVar("_T")
#: In their order in the file, and against it.
_DIRECTIONS: Final = ("ASC", "DESC")


def is_broken(database: Path) -> bool:
    """Tell whether a database cannot be relied on."""
    db = sqlite3.connect(database, isolation_level=None)
    try:
        return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok")
    except sqlite3.OperationalError:
        raise  # it is busy, or the disk is; that says nothing
    except sqlite3.DatabaseError:
        return True
    finally:
        db.close()


def salvage(database: Path) -> Contents:
    """Return what can be read; nothing of it is worse than a row of which we do not know that it is broken."""
    db = sqlite3.connect(database, isolation_level=None)
    try:
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA writable_schema = ON")  # else nothing at all is read of a file that was cut short
            db.execute("BEGIN IMMEDIATE")  # waits for another process that is in the middle of something
        contents = Contents(
            meta=_rows(db, "name, value", "meta", "name", _meta),
            ingested=_rows(db, "name, at", "ingested", "name", _ingested),
            counts=_rows(db, "attributes, slot, feature, count, instances", "counts", "attributes, slot", _entry),
            reports=_rows(db, "report_id, slot, event, units", "reports", "rowid", _report),
        )
        if contents.reports and "client_uuid" not in dict(contents.meta):
            contents.meta.append(("client_uuid", json.loads(contents.reports[-1].event)["source"]))
        return contents
    finally:
        db.close()


def _rows(db: sqlite3.Connection, columns: str, table: str, order: str, read: Callable[..., _T | None]) -> list[_T]:
    found: dict[tuple[Any, ...], _T] = {}
    for direction in _DIRECTIONS:
        ordered = ", ".join(f"{name} {direction}" for name in order.split(", "))
        with contextlib.suppress(sqlite3.Error):
            for row in db.execute(f"SELECT {columns} FROM {table} ORDER BY {ordered}"):  # noqa: S608 - our own words
                value = read(*row)
                if value is not None:
                    found[row] = value
    return list(found.values())


def _meta(name: Any, value: Any) -> tuple[str, str] | None:
    if name in ("dropped_reports", "dropped_units") and not str(value).isdecimal():
        return None
    return (name, value) if isinstance(name, str) and isinstance(value, str) else None


def _ingested(name: Any, at: Any) -> tuple[str, float] | None:
    return (name, at) if isinstance(name, str) and isinstance(at, float) else None


def _entry(attributes: Any, slot: Any, feature: Any, count: Any, instances: Any) -> Entry | None:
    whole = isinstance(attributes, str) and isinstance(feature, str) and _is_slot(slot)
    if not (whole and _is_amount(count) and _is_amount(instances)):
        return None
    return Entry(attributes, slot, feature, count, instances)


def _report(report_id: Any, slot: Any, event: Any, units: Any) -> Report | None:
    if not (isinstance(report_id, str) and _is_slot(slot) and isinstance(event, bytes) and _is_amount(units)):
        return None
    try:
        fields = json.loads(event)
        whole = (
            fields["id"] == report_id
            and isinstance(fields["source"], str)
            and sum(fields["data"]["counts"].values()) == units
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Report(report_id, slot, event, units) if whole else None


def _is_slot(value: Any) -> bool:
    return type(value) is int and 0 <= value <= SLOT_MAX and value % SLOT_SECONDS == 0


def _is_amount(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
