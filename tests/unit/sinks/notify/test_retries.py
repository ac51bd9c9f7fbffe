from licmeter.sinks.notify.retries import Retries


def test_waits_double_up_to_a_bound_and_end() -> None:
    retries = Retries(attempts_max=12)
    waits = [retries.wait_s(attempts, 0, 1.0) for attempts in range(1, 13)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, None]


def test_chance_takes_up_to_half() -> None:
    assert Retries().wait_s(4, 0, 0.0) == 4
    assert Retries().wait_s(4, 0, 0.5) == 6


def test_a_wait_that_ends_too_late_is_not_begun() -> None:
    assert Retries(give_up_after_s=100).wait_s(4, 92, 1.0) == 8
    assert Retries(give_up_after_s=100).wait_s(4, 93, 1.0) is None


def test_very_many_attempts_do_not_overflow() -> None:
    assert Retries(attempts_max=100_000).wait_s(99_999, 0, 1.0) == 300
