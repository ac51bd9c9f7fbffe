"""Which item is used, and who is granted, at the edges of every limit (domain, sections 7 and 9)."""

from typing import Any

import pytest

from licmeter.metering.items import DAY_MS
from licmeter.metering.seats import Seat
from tests.support.build import RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import HOUR, MINUTE, Bench, instant

DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def test_c3_one_report_over_the_quota_is_split_exactly() -> None:
    bench = Bench(organization(item(quota=2_000)))
    found = []
    for count in (1_995, 10, 94, 3, 1):
        (line,) = bench.send(counts={"qr": count}).lines
        found.append((line.in_quota, line.in_grace, line.over, line.tier.value))
    assert found == [
        (1_995, 0, 0, "quota"),
        (5, 5, 0, "grace"),
        (0, 94, 0, "grace"),
        (0, 1, 2, "over"),
        (0, 0, 1, "over"),
    ]
    assert bench.parts() == (2_000, 100, 3)


def test_7_3_invariant_3_no_item_takes_beyond_its_grace_before_the_last() -> None:
    bench = Bench(organization(item("1", quota=10), item("2", quota=10)))
    found = []
    for count in (9, 12, 3):
        lines = bench.send(counts={"qr": count}).lines
        found.append([(line.item_id, line.in_quota, line.in_grace, line.over) for line in lines])
    assert found == [
        [("1", 9, 0, 0)],
        [("1", 1, 1, 0), ("2", 10, 0, 0)],
        [("2", 0, 1, 2)],
    ]


def test_a_recorded_answer_is_merged_with_the_verdict_g4() -> None:
    def merged(*, full: bool = False, **data: Any) -> tuple[Any, ...]:
        bench = Bench(organization(item(quota=1)))
        if full:
            bench.send()
        answer = bench.authorize(**data)
        end = answer.local_expires_ms
        code = None if answer.code is None else answer.code.number
        return answer.outcome.value, answer.item_id, code, answer.agrees, None if end is None else end - ms(RECEIVED)

    days = 3 * DAY_MS
    end = RECEIVED + HOUR
    assert merged() == ("granted", "41", None, True, days)
    assert merged(full=True) == ("refused", "", 120, True, None)
    assert merged(result="ok") == ("granted", "41", None, True, days)
    assert merged(result="ok", item_id="41") == ("granted", "41", None, True, days)
    assert merged(result="ok", item_id="42", local_expires_at=end) == ("granted", "42", None, False, 3_600_000)
    assert merged(result="ok", full=True) == ("granted", "", None, False, None)
    assert merged(result="refused") == ("refused", "", None, False, None)
    assert merged(result="refused", full=True) == ("refused", "", 120, True, None)
    assert merged(result="refused", full=True, code="limit_exceeded") == ("refused", "", 120, True, None)
    assert merged(result="refused", full=True, code="expired") == ("refused", "", 111, False, None)


def test_g4_only_devices_and_concurrency_hold_anything_after_a_grant() -> None:
    for changes, held in (({}, 0), ({"charge_way": "per_page"}, 0), (DEVICES, 1), (CONCURRENT, 1)):
        bench = Bench(organization(item(quota=5, **changes)))
        assert bench.authorize().outcome == "granted"
        assert len(bench.seats().seats) == held, changes


def test_n8_a_lease_holds_what_was_asked() -> None:
    bench = Bench(organization(item(quota=5, charge_way="per_concurrent_instance")))
    bench.authorize(requested_instances=3)
    assert bench.seats().seats["device-1"] == Seat(ms(RECEIVED), ms(RECEIVED), ms(SLOT) + 360_000, 3)


def capped() -> Bench:
    """Return an instance item, N = 5, whose budget is used up a slot before."""
    bench = Bench(organization(item(charge_way="per_concurrent_instance", quota=5, overuse_budget=1)))
    bench.use("Z", SLOT - 3 * MINUTE, instances=6)
    return bench


@pytest.mark.parametrize(
    ("reported", "asked", "outcome"),
    [
        pytest.param(None, 2, "granted", id="beside the lease"),
        pytest.param(None, 3, "refused", id="more than the lease leaves"),
        pytest.param(2, 2, "granted", id="the lease is larger than what was reported"),
        pytest.param(2, 3, "refused", id="it is not the smaller"),
        pytest.param(4, 1, "granted", id="more was reported than leased"),
        pytest.param(4, 2, "refused", id="and that counts"),
    ],
)
def test_g15_of_each_client_the_larger_of_lease_and_report_is_held(
    reported: int | None, asked: int, outcome: str
) -> None:
    bench = capped()
    assert bench.authorize("A", requested_instances=3).outcome == "granted"
    if reported is not None:
        bench.use("A", instances=reported)
    assert bench.authorize("B", requested_instances=asked).outcome == outcome


def test_g15_a_client_that_holds_as_much_passes() -> None:
    bench = capped()
    bench.use("A", instances=3)
    bench.use("B", instances=4)
    asked = [bench.authorize(client, requested_instances=number) for client, number in (("A", 3), ("A", 4), ("B", 4))]
    assert [answer.outcome.value for answer in asked] == ["granted", "refused", "granted"]


def test_n5_an_authorizer_looks_at_the_budget_year_of_the_instant() -> None:
    bench = Bench(organization(item(quota=1, overuse_budget=1, expires_at="2033-01-01T00:00:00Z", **CONCURRENT)))
    last = instant("2031-12-31T23:57Z")
    for client in "AB":
        bench.use(client, last)
    assert bench.authorize("C", last + MINUTE).code == "limit_exceeded"
    for client in "AB":
        bench.use(client, last + 6 * MINUTE)
    bench.item_use().consumed[1] = 0
    assert bench.authorize("C", last + 7 * MINUTE).outcome == "granted"


def test_g3_a_repeated_authorization_moves_the_clock_and_one_count() -> None:
    bench = Bench(organization(item()))
    bench.authorize(auth_id="a")
    assert bench.authorize(auth_id="a", received=RECEIVED + MINUTE).outcome == "duplicate"
    conflict = bench.authorize(auth_id="a", product="x", received=RECEIVED + 2 * MINUTE)
    assert (conflict.outcome, conflict.reason) == ("rejected", "conflict")
    assert bench.state.updated_ms == ms(RECEIVED + 2 * MINUTE)
    assert bench.state.outcomes == {"charged": 0, "uncharged": 0, "duplicate": 1, "rejected": 1}
    assert (bench.state.granted, bench.state.refused) == (1, 0)


def test_refused_requests_are_counted_up() -> None:
    bench = Bench(organization(item()))
    for auth_id in "ab":
        assert bench.authorize(auth_id=auth_id, charge_way="per_page").outcome == "refused"
    assert (bench.state.granted, bench.state.refused) == (0, 2)
