import pytest

from licmeter.producers.gateway.admission import InFlight, RateLimiter
from licmeter.producers.gateway.problems import Unavailable


def test_what_is_on_its_way_has_a_bound_and_is_given_back() -> None:
    in_flight = InFlight(100)
    with in_flight.reservation() as first:
        first.add(60)
        with in_flight.reservation() as second:
            second.add(40)
            with pytest.raises(Unavailable) as refused:
                second.add(1)
            assert refused.value.headers["Retry-After"] == "2"
        assert in_flight.bytes == 60
    assert (in_flight.bytes, in_flight.refused) == (0, 1)


def test_a_request_alone_is_let_in_whatever_its_size() -> None:
    in_flight = InFlight(100)
    with in_flight.reservation() as only:
        only.add(60)
        only.add(90)
        with in_flight.reservation() as other, pytest.raises(Unavailable):
            other.add(1)
    assert in_flight.bytes == 0


def test_a_key_may_send_its_burst_and_then_its_rate() -> None:
    rates = RateLimiter(rate_per_s=10, burst=20)
    assert rates.take("a", 15, 0.0) == 0
    assert rates.take("a", 15, 0.0) == 0  # has 5 left, and owes 10 then
    assert rates.take("a", 1, 0.0) == pytest.approx(1.1)
    assert rates.take("a", 1, 0.9) > 0
    assert rates.take("a", 1, 1.2) == 0
    assert rates.take("b", 1, 0.0) == 0  # keys do not share


def test_a_clock_that_goes_back_gives_nothing() -> None:
    rates = RateLimiter(rate_per_s=10, burst=1)
    assert rates.take("a", 1, 100.0) == 0
    assert rates.take("a", 1, 50.0) > 0
    assert rates.take("a", 1, 50.2) == 0
