"""What processes leave in a folder is taken over once, and what is broken is put aside."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from licmeter.producers.client.folder import LEFTOVER_S, Folder
from licmeter.producers.client.spool import Contents
from licmeter.producers.client.tally import Entry, FileTally, MemoryTally

SLOT = 1_930_000_140


class Stage:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.folder = self.another()

    def another(self) -> Folder:
        return Folder(self.path, "{}", lambda event, _: self.said.append(event))

    def units(self) -> int | None:
        return self.folder.spool.status()["units_of_open_slots"]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "spool")


def counted(folder: Folder, units: int) -> FileTally:
    tally = folder.new_tally()
    assert isinstance(tally, FileTally)
    tally.words[tally.add(SLOT, "qr")] = units
    return tally


def test_the_folder_is_its_owners_alone(stage: Stage) -> None:
    assert stage.path.stat().st_mode & 0o777 == 0o700


def test_a_tally_is_taken_in_and_gone(stage: Stage) -> None:
    stage.folder.take_in(counted(stage.folder, 3))
    memory = MemoryTally("{}")
    memory.words[memory.add(SLOT, "qr")] = 4
    stage.folder.take_in(memory)
    assert (stage.units(), stage.names()) == (7, ["spool.db"])


def test_only_tallies_that_nobody_holds_are_adopted(stage: Stage) -> None:
    alive, dead = counted(stage.folder, 1), counted(stage.folder, 10)
    dead.close()
    assert (stage.another().adopt(), stage.units()) == (1, 10)
    alive.close()
    assert (stage.another().adopt(), stage.units()) == (1, 11)
    assert stage.another().adopt() == 0


def test_a_tally_that_was_taken_in_and_not_removed_counts_once(stage: Stage) -> None:
    tally = counted(stage.folder, 3)
    content = tally.path.read_bytes()
    stage.folder.take_in(tally)
    tally.path.write_bytes(content)
    assert (stage.folder.adopt(), stage.units()) == (1, 3)
    assert stage.names() == ["spool.db"]


def test_of_a_broken_tally_the_entries_before_that_place_are_saved(stage: Stage) -> None:
    tally = counted(stage.folder, 3)
    place = tally.add(SLOT, "second")
    tally.words[place - 1] = 7  # is no slot
    tally.close()
    for _ in range(2):
        stage.folder.adopt()
    assert (stage.units(), stage.folder.unreadable, stage.said) == (3, 1, ["tally_unreadable"])
    assert [name.partition(".")[2] for name in stage.names()] == ["unreadable", "db"] or len(stage.names()) == 2


@pytest.mark.parametrize("name", ["one.new", "two.probe"])
def test_what_a_killed_process_left_half_made_is_removed_later(stage: Stage, name: str) -> None:
    path = stage.path / name
    path.touch()
    stage.folder.adopt()
    assert path.exists()
    old = path.stat().st_mtime - LEFTOVER_S - 1
    os.utime(path, (old, old))
    stage.folder.adopt()
    assert not path.exists()


def test_no_folder_is_memory_and_no_fault(tmp_path: Path) -> None:
    said: list[str] = []
    folder = Folder(None, "{}", lambda event, _: said.append(event))
    assert folder.in_memory
    assert isinstance(folder.new_tally(), MemoryTally)
    assert (folder.adopt(), said) == (0, [])


def test_a_path_that_cannot_be_is_memory_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    stage = Stage(tmp_path / "file" / "spool")
    assert (stage.folder.in_memory, stage.said) == (True, ["spool_in_memory"])


def test_a_database_that_is_a_folder_is_memory_and_said(tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    stage = Stage(tmp_path)
    assert (stage.folder.in_memory, stage.said) == (True, ["spool_in_memory"])


def test_processes_that_find_a_database_broken_replace_it_once(stage: Stage) -> None:
    others = [stage.another() for _ in range(3)]
    (stage.path / "spool.db").write_bytes(b"no database" * 1_000)
    errors = [error for folder in others if (error := failure(folder.spool.status)) is not None]
    assert all(folder.mend(error) for folder, error in zip(others, errors, strict=True))  # type: ignore[arg-type]
    assert len(list(stage.path.glob("spool.db.unreadable-*"))) == 1
    assert all(folder.spool.status()["reports"] == 0 for folder in others)


def failure(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def test_everything_that_can_be_read_is_saved(stage: Stage) -> None:
    folder = stage.folder
    folder.spool.add(
        Contents(meta=[("client_uuid", "device-1"), ("dropped_reports", "3")], counts=[Entry("{}", SLOT, "qr", 5, 2)])
    )
    folder.spool.ingest("tally-1", [Entry("{}", SLOT - 180, "qr", 1, 1)])
    folder.spool.close_slots("device-1", SLOT)
    folder._replace(stage.path / "spool.db", "as a test wants it")
    assert (folder.spool.recall("client_uuid"), folder.spool.dropped().reports) == ("device-1", 3)
    assert not folder.spool.ingest("tally-1", [])
    assert (stage.units(), folder.spool.status()["units"]) == (5, 1)
