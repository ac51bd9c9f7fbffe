from licmeter.schemas.replays import Place, ReplayMark, ReplayNote, RunAlive, RunBegun, RunEnded
from licmeter.schemas.topics import USAGE_EVENTS, USAGE_REJECTED
from licmeter.sinks.replay.memory import ReplayMemory


def place(partition: int, offset: int) -> Place:
    return Place(USAGE_EVENTS.name, partition, offset)


def test_what_was_put_back_is_known_by_its_place() -> None:
    memory = ReplayMemory()
    memory.take(RunBegun(run="a", ends={0: 100}), 1)
    memory.take(ReplayNote(run="a", replays=((0, 5, 0, 100), (65_535, 2**50, 3, 2**51))), 2)
    assert memory.replayed_as(place(0, 5)) == place(0, 100)
    assert memory.replayed_as(place(65_535, 2**50)) == place(3, 2**51)
    assert memory.replayed_as(place(5, 0)) is None
    assert memory.replayed_as(Place(USAGE_REJECTED.name, 0, 5)) is None
    assert len(memory) == 2


def test_of_several_replays_of_one_reject_the_first_is_kept() -> None:
    memory = ReplayMemory()
    memory.add([(0, 5, 0, 100)])
    memory.add([(0, 5, 0, 200)])
    assert memory.replayed_as(place(0, 5)) == place(0, 100)


def test_a_run_is_unfinished_until_it_ended_and_is_read_from_its_last_note_on() -> None:
    memory = ReplayMemory()
    memory.take(RunBegun(run="a", ends={0: 100, 1: 50}), 1)
    memory.take(RunBegun(run="b", ends={0: 110, 1: 50}), 2)
    memory.take(ReplayNote(run="a", replays=((0, 5, 0, 120), (0, 6, 0, 119))), 3)
    memory.take(RunAlive(run="a"), 9)
    (a,) = memory.unfinished(but="b")
    assert (a.unread, a.sign_ms) == ({0: 121, 1: 50}, 9)
    memory.take(RunEnded(run="a"), 10)
    assert [run.name for run in memory.unfinished()] == ["b"]


def test_the_run_that_began_last_is_the_one_that_may_write() -> None:
    memory = ReplayMemory()
    assert not memory.superseded("a")
    memory.take(RunBegun(run="a", ends={}), 1)
    assert not memory.superseded("a")
    memory.take(RunBegun(run="b", ends={}), 2)
    memory.take(RunAlive(run="a"), 3)  # said before it looked
    assert memory.superseded("a")
    assert not memory.superseded("b")


def test_notes_outlive_the_beginning_of_their_run() -> None:
    memory = ReplayMemory()
    memory.take(ReplayNote(run="gone", replays=((0, 5, 0, 100),)), 1)
    memory.take(RunEnded(run="gone"), 2)
    assert (len(memory), memory.runs) == (1, {})


def test_only_the_name_of_a_run_vouches_for_a_mark() -> None:
    memory = ReplayMemory()
    memory.take(RunBegun(run="a", ends={}), 1)
    assert memory.vouches_for(ReplayMark(place(0, 1), "a"))
    assert not memory.vouches_for(ReplayMark(place(0, 1), "guessed"))
    assert not memory.vouches_for(None)
