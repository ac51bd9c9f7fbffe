"""Everything that a spool folder holds comes out, keeps its identity, and leaves the spool only when it is safe."""

import json
import sqlite3
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from licmeter.producers.client.export import (
    NoOwnerError,
    SpoolError,
    export_spool,
    spool_status,
    write_durably,
)
from licmeter.producers.client.folder import Folder
from licmeter.producers.client.spool import Dropped
from licmeter.producers.client.tally import FileTally
from licmeter.producers.reading import ReadEvent, read_events, read_lines

SLOT = 1_930_000_140
OWNED = '{"project_id":"300417-kiosk"}'


class File:
    """Where exports go in these tests."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def __call__(self, events: Sequence[bytes]) -> None:
        self.lines += events

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def open_folder(path: Path) -> Folder:
    opened = Folder(path, "{}", lambda event, what: pytest.fail(f"{event}: {what}"))
    opened.spool.remember("client_uuid", "device-1")
    return opened


def leave_tally(folder: Path, *, units: int, attributes: str = OWNED, slot: int = SLOT) -> None:
    """Leave what a killed process leaves: a tally that nobody holds."""
    tally = FileTally(folder / f"{units}-{slot}.tally", attributes)
    tally.words[tally.add(slot, "qr")] = units
    tally.close()


def take_in(folder: Path, *, units: int, attributes: str = OWNED) -> None:
    leave_tally(folder, units=units, attributes=attributes)
    assert open_folder(folder).adopt() == 1


def test_reports_open_counts_and_tallies_of_dead_processes_come_out(folder: Path) -> None:
    opened = open_folder(folder)
    take_in(folder, units=1)
    opened.spool.close_slots("device-1", SLOT + 1)
    take_in(folder, units=10)
    leave_tally(folder, units=100, slot=SLOT + 180)
    file = File()
    done = export_spool(folder, file)
    assert (done.reports, done.units, done.running, done.notices) == (3, 111, 0, ())
    assert sorted(event["data"]["counts"]["qr"] for event in file.events) == [1, 10, 100]
    assert {event["source"] for event in file.events} == {"device-1"}


def test_lines_are_what_send_takes_as_they_stand(folder: Path) -> None:
    open_folder(folder)
    take_in(folder, units=3)
    target = folder.parent / "out.jsonl"
    export_spool(folder, lambda events: write_durably(target, events))
    with target.open("rb") as source:
        (read,) = read_events(read_lines(source))
    assert isinstance(read, ReadEvent)
    assert (read.key, read.value + b"\n") == (b"300417", target.read_bytes())


def test_ids_stay_from_one_export_to_the_next(folder: Path) -> None:
    open_folder(folder)
    take_in(folder, units=3)
    first, second = File(), File()
    export_spool(folder, first)
    export_spool(folder, second)
    assert first.lines == second.lines
    assert open_folder(folder).spool.status()["reports"] == 1


def test_remove_takes_out_what_was_written_and_nothing_else(folder: Path) -> None:
    spool = open_folder(folder).spool
    take_in(folder, units=3)

    def write(events: Sequence[bytes]) -> None:
        assert spool.status()["reports"] == len(events) == 1
        take_in(folder, units=5)
        spool.close_slots("device-1", SLOT + 1)

    export_spool(folder, write, remove=True)
    assert [report.units for report in spool.pending(10, 10_000)] == [5]


def test_a_write_that_fails_removes_nothing(folder: Path) -> None:
    open_folder(folder)
    take_in(folder, units=3)

    def full(_: Sequence[bytes]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        export_spool(folder, full, remove=True)
    assert open_folder(folder).spool.status()["units"] == 3


@pytest.mark.parametrize("remove", [False, True])
def test_an_empty_spool_writes_nothing(folder: Path, *, remove: bool) -> None:
    open_folder(folder)
    done = export_spool(folder, lambda _: pytest.fail("there is nothing to write"), remove)
    assert done.reports == 0


def test_reports_without_owner_are_refused_until_a_project_is_named(folder: Path) -> None:
    open_folder(folder)
    take_in(folder, units=3, attributes="{}")
    take_in(folder, units=4, attributes='{"organization_id":"7"}')
    take_in(folder, units=5)
    with pytest.raises(NoOwnerError) as caught:
        export_spool(folder, lambda _: pytest.fail("not to be written"), remove=True)
    assert caught.value.reports == 1
    file = File()
    export_spool(folder, file, project_id="300417-tills")
    owners = {e["data"]["counts"]["qr"]: (e.get("subject"), e.get("organizationid")) for e in file.events}
    assert owners == {3: ("300417-tills", None), 4: (None, "7"), 5: ("300417-kiosk", None)}
    assert all(isinstance(line, ReadEvent) for line in read_events(BytesIO(b"\n".join(file.lines))))


def test_a_running_process_keeps_its_tally(folder: Path) -> None:
    open_folder(folder)
    running = FileTally(folder / "running.tally", OWNED)
    running.words[running.add(SLOT, "qr")] = 9
    done = export_spool(folder, File(), remove=True)
    assert (done.reports, done.running) == (0, 1)
    assert spool_status(folder).open_units == 9
    running.close()


def test_a_report_that_a_broken_disk_changed_does_not_hold_up_the_others(folder: Path) -> None:
    spool = open_folder(folder).spool
    for units in (1, 2):
        take_in(folder, units=units)
        spool.close_slots("device-1", SLOT + 1)
    database = sqlite3.connect(folder / "spool.db")
    with database:
        database.execute("UPDATE reports SET event = X'FF00' WHERE units = 1")
    database.close()
    file = File()
    done = export_spool(folder, file, remove=True)
    assert (done.units, len(file.lines), spool.status()["reports"]) == (2, 1, 1)
    assert "cannot be read" in done.notices[0]


class TestWhichDeviceItIs:
    def test_a_client_that_was_given_its_identity_is_known_by_its_reports(self, folder: Path) -> None:
        spool = open_folder(folder).spool
        take_in(folder, units=1)
        spool.close_slots("till-7", SLOT + 1)
        leave_tally(folder, units=2)
        file = File()
        export_spool(folder, file)
        assert [event["source"] for event in file.events] == ["till-7", "till-7"]

    def test_who_is_not_known_is_not_made_up(self, folder: Path) -> None:
        Folder(folder, "{}", lambda event, what: None)
        leave_tally(folder, units=2)
        with pytest.raises(SpoolError, match="client_uuid"):
            export_spool(folder, File())
        file = File()
        export_spool(folder, file, client_uuid="till-7")
        assert [event["source"] for event in file.events] == ["till-7"]


def test_what_was_dropped_is_said_once_in_what_leaves_the_spool(folder: Path) -> None:
    spool = open_folder(folder).spool
    take_in(folder, units=3)
    spool.close_slots("device-1", SLOT + 1)
    spool.enforce(oldest_slot=SLOT + 1, bytes_max=10_000)
    take_in(folder, units=4)
    kept, moved = File(), File()
    assert export_spool(folder, kept).dropped == Dropped(1, 3)
    assert export_spool(folder, moved, remove=True).dropped == Dropped(1, 3)
    assert [event["data"].get("dropped_units") for event in (*kept.events, *moved.events)] == [None, 3]
    assert spool.dropped() == Dropped()


class TestFoldersThatCannotBeUsed:
    def test_no_folder_is_said_and_not_made(self, folder: Path) -> None:
        for use in (spool_status, lambda path: export_spool(path, File())):
            with pytest.raises(SpoolError, match="no such folder"):
                use(folder)
        assert not folder.exists()

    def test_a_folder_without_spool_is_said_and_left_alone(self, tmp_path: Path) -> None:
        for use in (spool_status, lambda path: export_spool(path, File())):
            with pytest.raises(SpoolError, match="no spool"):
                use(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SpoolError, match="directory"):
            spool_status(tmp_path / "file")

    def test_a_spool_that_cannot_be_opened_is_no_empty_one(self, tmp_path: Path) -> None:
        (tmp_path / "spool.db").mkdir()
        for use in (spool_status, lambda path: export_spool(path, File())):
            with pytest.raises(SpoolError, match=r"spool\.db"):
                use(tmp_path)

    def test_a_broken_database_is_put_aside_and_said(self, folder: Path) -> None:
        open_folder(folder)
        (folder / "spool.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(SpoolError, match="not a database"):
            spool_status(folder)
        done = export_spool(folder, File())
        assert "cannot be read" in done.notices[0]
        assert spool_status(folder).unreadable == 1


def test_status_counts_everything_and_changes_nothing(folder: Path) -> None:
    spool = open_folder(folder).spool
    take_in(folder, units=3)
    spool.close_slots("device-1", SLOT + 1)
    take_in(folder, units=10)
    leave_tally(folder, units=100)
    (folder / "bad.tally").write_bytes(b"\xff" * 64)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = spool_status(folder)
    assert (found.reports, found.units, found.open_units, found.oldest_slot) == (1, 3, 110, SLOT)
    assert (found.tallies, found.dropped) == (2, Dropped())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_status_reads_a_damaged_tally_as_far_as_it_goes(folder: Path) -> None:
    folder.mkdir()
    tally = FileTally(folder / "damaged.tally", OWNED)
    for name, units in (("qr", 7), ("ean", 9)):
        tally.words[tally.add(SLOT, name)] = units
    tally.close()
    content = (folder / "damaged.tally").read_bytes()
    (folder / "damaged.tally").write_bytes(content.replace(b"ean", b"\xff\xff\xff"))
    found = spool_status(folder)
    assert (found.open_units, found.unreadable) == (7, 1)


def test_status_of_tallies_alone_makes_no_database(folder: Path) -> None:
    folder.mkdir()
    leave_tally(folder, units=2)
    assert spool_status(folder).open_units == 2
    assert not (folder / "spool.db").exists()


class TestWriting:
    def test_a_file_is_never_replaced(self, tmp_path: Path) -> None:
        target = tmp_path / "out.jsonl"
        write_durably(target, [b"a"])
        with pytest.raises(FileExistsError):
            write_durably(target, [b"b"])
        assert target.read_bytes() == b"a\n"

    def test_what_fails_halfway_leaves_nothing(self, tmp_path: Path) -> None:
        def lines() -> Any:
            yield b"a"
            raise sqlite3.OperationalError("disk")

        with pytest.raises(sqlite3.OperationalError):
            write_durably(tmp_path / "out.jsonl", lines())
        assert list(tmp_path.iterdir()) == []
