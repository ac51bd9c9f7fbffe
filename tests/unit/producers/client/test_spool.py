"""What the spool promises: once, in order, within bounds, and said when dropped."""

import contextlib
import json
import sqlite3
from itertools import count
from pathlib import Path

import pytest

from licmeter.producers.client.reports import UNITS_MAX
from licmeter.producers.client.spool import Dropped, Spool
from licmeter.producers.client.tally import SLOT_SECONDS, Entry

SLOT = 1_930_000_140
LATER = SLOT + 100 * SLOT_SECONDS


@pytest.fixture(params=["file", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    ids = count(1)
    return Spool(tmp_path / "spool.db" if request.param == "file" else None, lambda: f"r-{next(ids):04}")


def entry(units: int = 1, slot: int = SLOT, attributes: str = "{}", feature: str = "qr") -> Entry:
    return Entry(attributes, slot, feature, units, 1)


def fill(spool: Spool, reports: int) -> None:
    for number in range(reports):
        spool.ingest(f"tally-{number}", [entry(number + 1, SLOT + number * SLOT_SECONDS)])
    spool.close_slots("device-1", LATER)


def ids(spool: Spool, **options: str) -> list[str]:
    return [report.report_id for report in spool.pending(100, 10**6, **options)]  # type: ignore[arg-type]


def test_a_tally_is_taken_in_once(spool: Spool) -> None:
    assert spool.ingest("one", [entry(3)])
    assert not spool.ingest("one", [entry(3)])
    assert spool.ingest("two", [entry(4)])
    assert spool.status()["units_of_open_slots"] == 7


def test_slots_that_are_over_become_reports_and_others_wait(spool: Spool) -> None:
    spool.ingest("one", [entry(3), entry(4, SLOT + SLOT_SECONDS)])
    assert spool.close_slots("device-1", SLOT + SLOT_SECONDS) == 1
    assert (spool.status()["units"], spool.status()["units_of_open_slots"]) == (3, 4)
    assert spool.close_slots("device-1", SLOT + SLOT_SECONDS) == 0


def test_the_oldest_come_first_and_within_the_bounds(spool: Spool) -> None:
    fill(spool, 5)
    assert [report.units for report in spool.pending(3, 10**6)] == [1, 2, 3]
    assert [report.units for report in spool.pending(3, 1)] == [1]


def test_going_on_after_a_report_ends(spool: Spool) -> None:
    fill(spool, 5)
    first = spool.pending(3, 10**6)
    rest = spool.pending(3, 10**6, after=first[-1])
    assert [report.units for report in rest] == [4, 5]
    assert spool.pending(3, 10**6, after=rest[-1]) == []


def test_what_a_session_tried_is_for_others(spool: Spool) -> None:
    fill(spool, 2)
    spool.attempted(spool.pending(1, 10**6), "session-1")
    assert (len(ids(spool, not_in_session="session-1")), len(ids(spool, not_in_session="session-2"))) == (1, 2)
    assert [report.attempt for report in spool.pending(2, 10**6)] == [1, 0]


def test_settled_reports_are_gone(spool: Spool) -> None:
    fill(spool, 3)
    spool.settle([ids(spool)[1], "unknown"])
    assert [report.units for report in spool.pending(9, 10**6)] == [1, 3]


def test_too_old_and_too_many_are_dropped_and_counted(spool: Spool) -> None:
    fill(spool, 5)
    assert spool.enforce(oldest_slot=SLOT + SLOT_SECONDS, bytes_max=10**6) == Dropped(1, 1)
    size = spool.status()["bytes"]
    assert size is not None
    assert spool.enforce(oldest_slot=0, bytes_max=size // 2) == Dropped(2, 5)
    assert spool.dropped() == Dropped(3, 6)


def test_dropped_is_said_once_whoever_settles(spool: Spool) -> None:
    """Two processes deliver the same report, which says the same; another drop comes meanwhile."""
    fill(spool, 5)
    spool.enforce(oldest_slot=SLOT + SLOT_SECONDS, bytes_max=10**6)
    said, first = spool.dropped(), ids(spool)[0]
    spool.settle([first], said)
    spool.enforce(oldest_slot=SLOT + 3 * SLOT_SECONDS, bytes_max=10**6)
    left = spool.dropped()
    assert left == Dropped(1, 3)
    spool.settle([first], said)
    assert spool.dropped() == left


def test_counts_that_make_no_report_stop_nobody_and_go_when_they_are_too_old(spool: Spool) -> None:
    spool.ingest("one", [entry(3, attributes="{"), entry(4)])
    assert (spool.close_slots("device-1", LATER), spool.unusable) == (1, 1)
    assert spool.status()["units_of_open_slots"] == 3
    assert spool.enforce(oldest_slot=SLOT + 1, bytes_max=10**6) == Dropped(1, 7)
    assert spool.status()["units_of_open_slots"] == 0


def test_what_nobody_can_have_done_is_dropped_and_said(spool: Spool) -> None:
    spool.ingest("one", [entry(UNITS_MAX + 5)])
    assert spool.close_slots("device-1", LATER) == 1_000
    assert (spool.status()["units"], spool.dropped()) == (UNITS_MAX, Dropped(0, 5))


def test_a_value_is_made_once(spool: Spool) -> None:
    assert spool.remembered("device", lambda: "a") == spool.remembered("device", lambda: "b") == "a"
    spool.remember("device", "c")
    assert (spool.recall("device"), spool.recall("other")) == ("c", None)


def test_a_step_that_fails_changes_nothing(spool: Spool) -> None:
    fill(spool, 2)
    before = spool.status()

    def fails() -> str:
        raise RuntimeError("no id today")

    spool.ingest("more", [entry(9)])
    spool._new_id = fails
    with pytest.raises(RuntimeError, match="no id"):
        spool.close_slots("device-1", LATER)
    assert spool.status() == before | {"units_of_open_slots": 9}


def test_a_database_that_is_removed_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", lambda: "r-1")
    spool.open()
    for path in tmp_path.iterdir():
        path.unlink()
    with contextlib.suppress(sqlite3.Error):
        spool.status()
    assert spool.ingest("one", [entry()])


def test_a_child_has_a_lock_of_its_own_and_memory_of_its_own(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 2)
    with spool.lock:
        child = spool.for_child()
    assert child.lock is not spool.lock
    assert child.status()["reports"] == (2 if (tmp_path / "spool.db").exists() else 0)


def test_an_event_has_nothing_that_changes_with_the_attempt(spool: Spool) -> None:
    fill(spool, 1)
    assert json.loads(spool.pending(1, 10**6)[0].event)["data"] == {"counts": {"qr": 1}}
