"""`record` counts what is right, notes what is wrong, and never raises."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.producers.client.recorder import COUNT_MAX, FULL_MAX, Recorder
from licmeter.producers.client.tally import MEMORY_ENTRIES_MAX, SLOT_SECONDS, MemoryTally

START = 1_930_000_140.0


class Stage:
    """A recorder in memory, and what it said."""

    def __init__(self) -> None:
        self.now = START
        self.said: list[str] = []
        self.recorder = Recorder(memory(), memory, lambda: self.now, lambda kind, _: self.said.append(kind))

    def counts(self) -> dict[tuple[str, int], int]:
        done = self.recorder.swap(memory())
        assert done is not None
        found: Counter[tuple[str, int]] = Counter()
        for tally in done:
            for entry in tally.entries():
                found[entry.feature, entry.slot - int(START)] += entry.units
        return dict(found)


def memory() -> MemoryTally:
    return MemoryTally("{}")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_counts_add_up_by_feature_and_slot(stage: Stage) -> None:
    for seconds in (0, 0, 179.9, 180, -0.1):
        stage.now = START + seconds
        stage.recorder.record("qr")
        stage.recorder.record("page", 10)
    assert stage.counts() == {("qr", 0): 3, ("page", 0): 30, ("qr", 180): 1, ("page", 180): 10} | {
        ("qr", -180): 1,
        ("page", -180): 10,
    }


def test_an_instant_names_the_slot_in_its_zone(stage: Stage) -> None:
    at = datetime.fromtimestamp(START - 200, timezone(timedelta(hours=5.5)))
    stage.recorder.record("qr", at=at)
    stage.recorder.record("qr")
    assert stage.counts() == {("qr", -360): 1, ("qr", 0): 1}


def test_nothing_is_counted_for_a_count_of_zero(stage: Stage) -> None:
    stage.recorder.record("qr", 0)
    assert (stage.counts(), stage.recorder.misused) == ({}, {})


class Feature(StrEnum):
    QR = "qr"


class Old(str, Enum):  # noqa: UP042 - its hash is not that of its text
    QR = "qr"


def test_members_of_an_enum_are_the_texts_that_they_are(stage: Stage) -> None:
    for feature in (Feature.QR, Old.QR, "qr", Old.QR):
        stage.recorder.record(feature)
    assert stage.counts() == {("qr", 0): 4}


class Liar:
    """Says that it is a text, and equal to any."""

    __class__ = str  # type: ignore[assignment]

    def __hash__(self) -> int:
        return hash("qr")

    def __eq__(self, other: object) -> bool:
        return True

    def __len__(self) -> int:
        return 2

    def encode(self) -> bytes:
        raise RuntimeError("I lied")


class Angry(Liar):
    """Raises whatever it is asked."""

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Text(str):
    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")


class Number(int):
    def __lt__(self, other: int) -> bool:
        raise RuntimeError("not comparable")

    __le__ = __gt__ = __ge__ = __lt__


class Broken(timezone.__base__):  # type: ignore[misc]
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("no zone")


WRONG_FEATURES = [None, 1, b"qr", "", "x" * 129, "\ud800", ["qr"], Liar(), Angry(), object()]
WRONG_COUNTS = [None, -1, COUNT_MAX + 1, 2**70, 1.0, float("nan"), True, "1", Number(3)]
WRONG_INSTANTS = [
    START,
    "now",
    datetime(2031, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(2031, 1, 1, tzinfo=Broken()),
]


@pytest.mark.parametrize("number", range(len(WRONG_FEATURES)))  # pytest asks values themselves for their class
def test_a_wrong_feature_is_noted(stage: Stage, number: int) -> None:
    stage.recorder.record("qr")
    stage.recorder.record(WRONG_FEATURES[number])
    assert (stage.counts(), dict(stage.recorder.misused)) == ({("qr", 0): 1}, {"feature": 1})


@pytest.mark.parametrize("count", WRONG_COUNTS, ids=lambda value: type(value).__name__)
def test_a_wrong_count_is_noted(stage: Stage, count: Any) -> None:
    stage.recorder.record("qr")
    stage.recorder.record("qr", count)
    assert (stage.counts(), dict(stage.recorder.misused)) == ({("qr", 0): 1}, {"count": 1})


@pytest.mark.parametrize("number", range(len(WRONG_INSTANTS)))
def test_a_wrong_instant_is_noted(stage: Stage, number: int) -> None:
    at: Any = WRONG_INSTANTS[number]
    stage.recorder.record("qr", at=at)
    assert (stage.counts(), sum(stage.recorder.misused.values())) == ({}, 1)


def test_a_hostile_text_is_its_text(stage: Stage) -> None:
    for _ in range(2):
        stage.recorder.record(Text("qr"))
    assert stage.counts() == {("qr", 0): 2}


HOSTILE = [*WRONG_FEATURES, *WRONG_COUNTS, *WRONG_INSTANTS, Text("qr"), Old.QR]
#: Made by a function: Hypothesis would ask the values themselves for hash and class.
anything = st.one_of(
    st.one_of(
        st.text(max_size=200),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.binary(),
        st.datetimes(),
        st.datetimes(timezones=st.timezones()),
    ).map(lambda value: lambda: value),
    st.integers(0, len(HOSTILE) - 1).map(lambda number: lambda: HOSTILE[number]),
)


@given(st.lists(st.tuples(anything, anything, anything), max_size=10))
def test_record_never_raises(calls: list[tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]]) -> None:
    stage = Stage()
    for feature, count, at in calls:
        stage.recorder.record(feature(), count(), at())
        stage.recorder.record(feature(), count())
        stage.recorder.record(feature())
    stage.recorder.record("last")
    assert ("last", 0) in stage.counts()
    assert not stage.recorder._busy


def test_misuse_is_said_once_for_each_kind_and_not_by_record(stage: Stage) -> None:
    """Saying it is IO, and a log handler may hold the lock that its thread waits for."""
    for _ in range(3):
        stage.recorder.record("")
        stage.recorder.record("qr", -1)
    assert stage.said == []
    stage.recorder.say_misuse()
    stage.recorder.record("")
    stage.recorder.say_misuse()
    assert stage.said == ["feature", "count"]
    assert stage.recorder.misused == {"feature": 4, "count": 3}


def test_a_record_within_a_record_is_taken_in_at_its_end(stage: Stage) -> None:
    inner = [True]

    def clock() -> float:
        if inner.pop() if inner else False:
            stage.recorder.record("inner", 2)
            assert stage.recorder.swap(memory()) is None
            assert stage.recorder.take_spare() is None
        return START

    stage.recorder._clock = clock
    stage.recorder.record("outer")
    assert stage.counts() == {("outer", 0): 1, ("inner", 0): 2}


def test_an_exception_of_a_handler_leaves_the_recorder_usable(stage: Stage) -> None:
    def interrupted() -> float:
        raise KeyboardInterrupt

    clock, stage.recorder._clock = stage.recorder._clock, interrupted
    with pytest.raises(KeyboardInterrupt):
        stage.recorder.record("qr")
    stage.recorder._clock = clock
    thread = threading.Thread(target=stage.recorder.record, args=("qr",))
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert stage.counts() == {("qr", 0): 1}


def test_beyond_the_bound_recording_is_refused_and_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("licmeter.producers.client.recorder.FULL_MAX", 1)
    monkeypatch.setattr("licmeter.producers.client.tally.MEMORY_ENTRIES_MAX", 3)
    for number in range(10):
        stage.recorder.record(f"feature-{number}")
    stage.recorder.record("feature-5")
    assert dict(stage.recorder.misused) == {"full": 4}
    assert sum(stage.counts().values()) == 7
    assert FULL_MAX * MEMORY_ENTRIES_MAX == 1_000_000


def test_a_full_tally_is_followed_by_the_spare(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("licmeter.producers.client.tally.MEMORY_ENTRIES_MAX", 1)
    stage.recorder.spare = spare = memory()
    stage.recorder.record("a")
    stage.recorder.record("b")
    assert stage.recorder.tally is spare
    assert stage.recorder.take_spare() is None


def test_a_slot_has_the_most_instances_that_were_declared_in_it(stage: Stage) -> None:
    for instances in (2, 5, 1):
        stage.recorder.set_instances(instances)
        stage.recorder.record("qr")
    stage.now += SLOT_SECONDS
    stage.recorder.record("qr")
    done = stage.recorder.swap(memory())
    assert done is not None
    assert [entry.instances for entry in done[0].entries()] == [5, 1]


def test_a_child_begins_anew_and_wakes_once(stage: Stage) -> None:
    woken: list[int] = []
    stage.recorder.on_child = lambda: woken.append(1)
    stage.recorder.record("parent")
    stage.recorder._lock.acquire()  # by a thread that is not in the child
    stage.recorder.after_fork(memory())
    stage.recorder.record("child")
    stage.recorder.record("child")
    assert (stage.counts(), woken) == ({("child", 0): 2}, [1])
