"""What a tally's file holds is read as it was written, up to where it is broken."""

import contextlib
import fcntl
import json
from pathlib import Path

import pytest

from licmeter.producers.client.tally import (
    MEMORY_ENTRIES_MAX,
    SLOT_MAX,
    TALLY_BYTES,
    Entry,
    FileTally,
    MemoryTally,
    TallyFullError,
    encode_attributes,
    read_tally,
)

SLOT = 1_930_000_140
ATTRIBUTES = encode_attributes({"product": "reader", "edition": "ä"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.tally"


def written(path: Path, *names: str) -> bytes:
    tally = FileTally(path, ATTRIBUTES)
    for name in names:
        place = tally.add(SLOT, name)
        tally.words[place], tally.words[place + 1] = len(name), 1
    tally.close()
    return path.read_bytes()


@pytest.mark.parametrize("name", ["q", "12345678", "123456789", "ä" * 128, "🙂" * 128, "a\0b"])
def test_what_was_written_is_read(path: Path, name: str) -> None:
    assert list(read_tally(written(path, name, "x"))) == [
        Entry(ATTRIBUTES, SLOT, name, len(name), 1),
        Entry(ATTRIBUTES, SLOT, "x", 1, 1),
    ]


def test_nothing_is_in_a_file_that_was_only_reserved() -> None:
    assert list(read_tally(bytes(TALLY_BYTES))) == []


def test_an_entry_counts_only_when_it_is_whole(path: Path) -> None:
    """The number of words is written last: before that, the bytes of an entry are nobody's."""
    content = bytearray(written(path, "first"))
    words = memoryview(content).cast("Q")
    words[words[1] + 3] = 5
    assert [entry.feature for entry in read_tally(bytes(content))] == ["first"]


@pytest.mark.parametrize("size", [16, 40, 60])
def test_a_file_that_was_cut_short_is_said_to_be_broken(path: Path, size: int) -> None:
    content = written(path, "first", "second")
    with pytest.raises(ValueError, match="ends before"):
        list(read_tally(content[: size + 8]))


@pytest.mark.parametrize(("word", "value"), [(0, SLOT + 1), (0, SLOT_MAX + 180), (3, 0), (3, 513), (3, 2**60)])
def test_entries_before_a_broken_one_are_read(path: Path, word: int, value: int) -> None:
    content = bytearray(written(path, "a", "b"))
    words = memoryview(content).cast("Q")
    second = words[1] - 5
    words[second + word] = value
    entries = read_tally(bytes(content))
    assert next(entries).feature == "a"
    with pytest.raises(ValueError, match="broken"):
        next(entries)


def test_a_full_tally_says_so_and_keeps_what_it_has(path: Path) -> None:
    tally, count = FileTally(path, "{}"), 0
    with contextlib.suppress(TallyFullError):
        while count < TALLY_BYTES:
            tally.words[tally.add(SLOT, f"feature-{count}")] = 1
            count += 1
    assert 1_000 < count < TALLY_BYTES
    assert sum(entry.units for entry in tally.entries()) == count
    tally.close()


def test_a_tally_is_locked_as_long_as_it_is_open(path: Path) -> None:
    tally = FileTally(path, "{}")
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tally.close()
        tally.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_tally_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No such file"):
        FileTally(tmp_path / "nowhere" / "one.tally", "{}")
    (tmp_path / "two.new").touch()
    with pytest.raises(FileExistsError):
        FileTally(tmp_path / "two.tally", "{}")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_tally_in_memory_has_a_bound() -> None:
    tally = MemoryTally("{}")
    for number in range(MEMORY_ENTRIES_MAX):
        tally.words[tally.add(SLOT, str(number))] = 2
    with pytest.raises(TallyFullError):
        tally.add(SLOT, "more")
    assert sum(entry.units for entry in tally.entries()) == 2 * MEMORY_ENTRIES_MAX


def test_equal_attributes_have_equal_texts() -> None:
    assert encode_attributes({"a": 1, "b": 2}) == encode_attributes({"b": 2, "a": 1})
    assert json.loads(ATTRIBUTES) == {"product": "reader", "edition": "ä"}
