from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.metering.slots import is_late, slot_index, slot_start

CASES = [
    ("2031-03-08T14:14:59.999+00:00", "2031-03-08T14:12:00+00:00", 284),
    ("2031-03-08T14:17:42.500+00:00", "2031-03-08T14:15:00+00:00", 285),
    ("2031-03-08T06:00:00.000+00:00", "2031-03-08T06:00:00+00:00", 120),
    ("2031-03-08T23:59:59.999+00:00", "2031-03-08T23:57:00+00:00", 479),
    ("2031-03-08T01:01:30+05:30", "2031-03-07T19:30:00+00:00", 390),
]


@pytest.mark.parametrize(("instant", "start", "index"), CASES, ids=[case[0] for case in CASES])
def test_t2_worked_examples(instant: str, start: str, index: int) -> None:
    epoch = int(datetime.fromisoformat(instant).timestamp())
    assert slot_start(epoch) == int(datetime.fromisoformat(start).timestamp())
    assert slot_index(epoch) == index


def test_t3_a_day_has_480_slots() -> None:
    midnight = int(datetime.fromisoformat("2031-03-08T00:00:00+00:00").timestamp())
    assert [slot_index(midnight + 180 * number) for number in range(480)] == list(range(480))


@given(st.integers(min_value=0, max_value=10**11))
def test_invariant_9_slot_start_is_idempotent(epoch: int) -> None:
    assert slot_start(slot_start(epoch)) == slot_start(epoch) <= epoch < slot_start(epoch) + 180


def test_t6_a_report_is_late_from_six_minutes_after_the_slot() -> None:
    assert not is_late(slot_s=0, received_ms=540_000 - 1)
    assert is_late(slot_s=0, received_ms=540_000)
