"""Deliveries with a sender that does as it is told, in time that passes at once."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from licmeter.sinks.notify.breaker import BreakerState
from licmeter.sinks.notify.delivery import Delivery
from licmeter.sinks.notify.errors import FailedError, GoneError, RefusedError
from licmeter.sinks.notify.letters import Letter, letter_key
from licmeter.sinks.notify.notices import Notice, webhook_notice
from licmeter.sinks.notify.secrets import Redactor
from licmeter.sinks.notify.stats import LaneStats
from tests.unit.sinks.notify.samples import breach, event, webhook

Outcome = Mapping[str, str] | Exception


@dataclass
class Script:
    """A sender, the letters, and the time."""

    outcomes: list[Outcome]
    then: Outcome | None = None
    sent: list[Notice] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    now: float = 1_000.0

    async def send(self, notice: Notice) -> dict[str, str]:
        self.sent.append(notice)
        outcome = self.outcomes.pop(0) if self.outcomes else (self.then or {})
        if isinstance(outcome, Exception):
            raise outcome
        return dict(outcome)

    async def close(self) -> None:
        pass

    async def put(self, letter: Letter) -> None:
        self.letters.append(letter)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def delivery(script: Script, **changes: Any) -> tuple[Delivery, LaneStats]:
    stats = LaneStats()
    made = Delivery(
        webhook(**changes),
        script,
        script,
        Redactor(words=["hush-hush"]),
        stats,
        clock=lambda: script.now,
        wall=lambda: script.now,
        sleep=script.sleep,
    )
    return made, stats


NOTICE = webhook_notice(webhook(), event(breach()))


async def test_what_fails_is_tried_again_with_the_same_key() -> None:
    script = Script([FailedError("no"), FailedError("no"), {}])
    made, stats = delivery(script)
    await made.deliver(NOTICE)
    assert [notice.key for notice in script.sent] == [NOTICE.key] * 3
    assert (stats.delivered, stats.failures, script.letters) == (1, 2, [])


async def test_what_never_works_becomes_a_letter_after_its_attempts() -> None:
    script = Script([], then=FailedError("the receiver answered 500"))
    made, stats = delivery(script, attempts_max=7, circuit_failures_max=100)
    await made.deliver(NOTICE)
    (letter,) = script.letters
    assert (letter.reason, letter.detail, letter.attempts) == ("attempts_used_up", "the receiver answered 500", 7)
    assert letter.notice == NOTICE
    assert letter.given_up_at > letter.first_tried_at
    assert (stats.delivered, dict(stats.undelivered)) == (0, {"attempts_used_up": 1})


async def test_what_is_refused_becomes_a_letter_at_once() -> None:
    script = Script([RefusedError("no recipients")])
    made, _ = delivery(script)
    await made.deliver(NOTICE)
    assert [(letter.reason, letter.attempts) for letter in script.letters] == [("refused", 1)]


async def test_while_the_circuit_is_open_nothing_is_tried_and_waiting_has_an_end() -> None:
    script = Script([], then=FailedError("down"))
    made, stats = delivery(script, circuit_failures_max=3, attempts_max=1_000, give_up_after_s=3_600)
    await made.deliver(NOTICE)
    assert made.breaker.state is BreakerState.OPEN
    assert 8 <= len(script.sent) <= 13  # 3, then probes after 30, 60, 120, 240, 480, 600 … s
    assert script.now == pytest.approx(4_600, abs=400)
    assert len(script.letters) == 1
    assert stats.circuit_opened > 3
    # The next one begins while it is open, and has its own time.
    script.then = {}
    await made.deliver(NOTICE)
    assert (made.breaker.state, stats.delivered) == (BreakerState.CLOSED, 1)


async def test_a_notice_that_never_had_its_turn_says_so() -> None:
    script = Script([], then=FailedError("down"))
    made, _ = delivery(script, circuit_failures_max=1, circuit_open_s=500, attempts_max=1)
    await made.deliver(NOTICE)
    impatient, _ = delivery(script, give_up_after_s=10)
    impatient.breaker = made.breaker
    await impatient.deliver(NOTICE)
    assert [(letter.reason, letter.attempts) for letter in script.letters] == [
        ("attempts_used_up", 1),
        ("circuit_open", 0),
    ]


async def test_recipients_who_have_it_do_not_get_it_again() -> None:
    busy = FailedError("2 not now", left=("b@x", "c@x"), refused={"d@x": "550 nobody"})
    script = Script([busy, {"c@x": "550 nobody"}])
    made, stats = delivery(script)
    await made.deliver(NOTICE)
    assert [notice.left for notice in script.sent] == [None, ("b@x", "c@x")]
    assert [(letter.reason, letter.notice.left) for letter in script.letters] == [
        ("recipient_refused", ("d@x",)),
        ("recipient_refused", ("c@x",)),
    ]
    assert len({letter_key(letter.notice) for letter in script.letters}) == 2
    assert stats.delivered == 1


async def test_gone_is_for_the_lane_to_decide() -> None:
    script = Script([GoneError("410")])
    made, _ = delivery(script)
    with pytest.raises(GoneError):
        await made.deliver(NOTICE)
    assert script.letters == []


async def test_an_error_of_a_library_is_a_failure_whose_words_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    script = Script([RuntimeError("could not reach https://u:hush-hush@host/")])
    made, stats = delivery(script)
    with caplog.at_level(logging.DEBUG):
        await made.deliver(NOTICE)
    assert stats.failures == 1
    assert "hush-hush" not in caplog.text
    assert "could not reach https://u:***@host/" in caplog.text


async def test_a_probe_that_is_cancelled_leaves_the_circuit_to_others() -> None:
    script = Script([FailedError("down")])
    made, _ = delivery(script, circuit_failures_max=1, attempts_max=1)
    await made.deliver(NOTICE)
    script.now += 30
    asked = asyncio.Event()

    async def hang(notice: Notice) -> dict[str, str]:
        asked.set()
        await asyncio.sleep(3_600)
        return {}

    script.send, send = hang, script.send  # type: ignore[method-assign]
    probe = asyncio.create_task(made.deliver(NOTICE))
    await asked.wait()
    assert made.breaker.state is BreakerState.HALF_OPEN
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert made.trying == 0
    script.send = send  # type: ignore[method-assign]
    await made.deliver(NOTICE)
    assert made.breaker.state is BreakerState.CLOSED
