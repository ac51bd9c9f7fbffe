from licmeter.sinks.notify.breaker import RETRY_AFTER_S_MAX, Breaker, BreakerState


def opened(breaker: Breaker, now: float = 0.0) -> Breaker:
    for _ in range(breaker.failures_max):
        assert breaker.wait_s(now) == 0
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(failures_max=3)
    for _ in range(5):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    opened(breaker)
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s(0) == 30


def test_one_probe_decides_and_others_wait_for_it() -> None:
    breaker = opened(Breaker())
    assert breaker.wait_s(29) == 1
    assert breaker.wait_s(30) == 0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.wait_s(30) > 0
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.wait_s(30) == 0


def test_each_probe_that_fails_doubles_the_time_up_to_a_bound() -> None:
    breaker, now, waits = opened(Breaker(open_s_max=100)), 0.0, []
    for _ in range(4):
        wait_s = breaker.wait_s(now)
        waits.append(wait_s)
        now += wait_s
        assert breaker.wait_s(now) == 0
        breaker.failed(now)
    assert waits == [30, 60, 100, 100]
    assert breaker.opened == 5


def test_a_probe_that_is_broken_off_is_left_to_the_next() -> None:
    breaker = opened(Breaker())
    assert breaker.wait_s(30) == 0
    breaker.abandoned()
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s(30) == 0


def test_what_was_on_its_way_when_it_opened_does_not_open_it_again() -> None:
    breaker = opened(Breaker())
    breaker.failed(1)
    assert breaker.opened == 1
    assert breaker.wait_s(30) == 0


def test_a_receiver_that_asks_for_time_gets_it_up_to_a_bound() -> None:
    breaker = Breaker()
    breaker.failed(10, retry_after_s=7)
    assert breaker.wait_s(10) == 7
    assert breaker.wait_s(17) == 0
    breaker.failed(20, retry_after_s=1e9)
    assert breaker.wait_s(20) == RETRY_AFTER_S_MAX
