from collections.abc import Mapping
from datetime import UTC, datetime

from licmeter.sinks.notify.errors import FailedError, RefusedError
from licmeter.sinks.notify.letters import Letter, parse_letter
from licmeter.sinks.notify.notices import Notice
from licmeter.sinks.notify.replaying import FAILURES_MAX, Replayed, replay

NOW = datetime(2031, 3, 9, tzinfo=UTC)


def letter(number: int, target: str = "hook", left: tuple[str, ...] | None = None) -> Letter:
    notice = Notice(
        key=f"msg_{number}", target=target, organization_id="o", kind="k", event_ids=("e",), events=1, left=left
    )
    return Letter(notice=notice, reason="r", detail="d", attempts=2, first_tried_at=NOW, given_up_at=NOW)


class Sender:
    def __init__(self, outcomes: Mapping[str, Exception | dict[str, str]]) -> None:
        self.outcomes = outcomes
        self.sent: list[str] = []

    async def send(self, notice: Notice) -> dict[str, str]:
        self.sent.append(notice.key)
        outcome = self.outcomes.get(notice.key, {})
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        pass


class Box:
    def __init__(self, *letters: Letter) -> None:
        self.kept = {each.key: each for each in letters}

    async def put(self, letter: Letter) -> None:
        self.kept[letter.key] = letter

    async def remove(self, key: bytes) -> None:
        del self.kept[key]


async def run(letters: list[Letter], senders: dict[str, Sender]) -> tuple[Replayed, Box, int]:
    box, done = Box(*letters), []
    result = await replay(letters, senders, box, lambda: NOW, lambda: done.append(1))
    return result, box, len(done)


async def test_what_is_delivered_leaves_and_what_is_not_stays() -> None:
    letters = [letter(1), letter(2), letter(3), letter(1, "other")]
    senders = {"hook": Sender({"msg_2": FailedError("no"), "msg_3": RefusedError("never")}), "other": Sender({})}
    result, box, done = await run(letters, senders)
    assert senders["hook"].sent == ["msg_1", "msg_2", "msg_3"]
    assert senders["other"].sent == ["msg_1"]
    assert set(box.kept) == {letters[1].key, letters[2].key}
    assert [reason for _, reason in result.failed] == ["no", "never"]
    assert (len(result.delivered), done) == (2, 4)


async def test_a_target_that_does_not_answer_is_left_alone() -> None:
    letters = [letter(number) for number in range(20)]
    sender = Sender({f"msg_{number}": FailedError("down") for number in range(20)})
    result, box, done = await run(letters, {"hook": sender})
    assert len(sender.sent) == FAILURES_MAX
    assert (len(result.failed), len(box.kept), done) == (20, 20, 20)


async def test_a_letter_for_some_takes_the_place_of_one_for_more() -> None:
    letters = [letter(1), letter(2, left=("a@x", "b@x"))]
    sender = Sender({"msg_1": {"c@x": "550"}, "msg_2": FailedError("busy", left=("a@x",), refused={"b@x": "550"})})
    result, box, _ = await run(letters, {"hook": sender})
    assert sorted((each.notice.key, each.notice.left) for each in box.kept.values()) == [
        ("msg_1", ("c@x",)),
        ("msg_2", ("a@x", "b@x")),
    ]
    assert result.delivered == []


def test_a_letter_is_read_back_as_it_was() -> None:
    original = letter(1, left=("a@x",))
    assert parse_letter(original.model_dump_json().encode()) == original
