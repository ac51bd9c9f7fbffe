"""A recount passes over checks that would see nothing new, so it must know when something changes (W1, W11)."""

from datetime import datetime, timedelta
from typing import Any

from licmeter.metering.idleness import next_change
from licmeter.metering.items import MeteredItem
from licmeter.metering.organization import ItemUse, OrganizationState
from licmeter.metering.recount import Recount
from licmeter.metering.refused import Refused
from licmeter.metering.seats import SeatBook
from licmeter.metering.states import measure
from licmeter.schemas.catalog import LicenseItem
from licmeter.schemas.outcomes import RejectReason
from tests.support.build import ORGANIZATION, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, Bench, instant

CHECK = SLOT + 10 * MINUTE
DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def metered(**changes: Any) -> MeteredItem:
    return MeteredItem.of(LicenseItem.model_validate(item(**changes)))


def changes(bench: Bench, after: str, number: int) -> list[str]:
    """Return so many instants of change after one."""
    found, at_ms = [], ms(instant(after))
    for _ in range(number):
        next_ms = next_change(bench.state, at_ms)
        if next_ms is None:
            break
        at_ms = next_ms
        found.append((datetime.fromisoformat("1970-01-01T00:00Z") + timedelta(milliseconds=at_ms)).isoformat())
    return [text.removesuffix("T00:00:00+00:00") for text in found]


def test_w1_what_time_alone_changes_of_a_cumulative_item() -> None:
    bench = Bench(organization(item(revoked_at="2031-06-01T00:00:00Z"), alerts={"expiry_reminder_days": [30, 1]}))
    expected = ["2031-01-01", "2031-06-01", "2031-12-02", "2031-12-31", "2032-01-01", "2032-01-08"]
    assert changes(bench, "2030-12-01T00:00Z", 9) == expected
    assert changes(Bench(organization(item())), "2032-01-07T23:59:59.999Z", 9) == ["2032-01-08"]


def test_w1_n5_the_budget_year_turns() -> None:
    bench = Bench(organization(item(expires_at="2033-01-01T00:00:00Z", **CONCURRENT)))
    expected = ["2031-01-01", "2032-01-01", "2032-12-31", "2033-01-01", "2033-01-08", "2033-12-31"]
    assert changes(bench, "2030-12-01T00:00Z", 6) == expected


def test_w1_v5_a_seat_ends() -> None:
    bench = Bench(organization(item(quota=5, **DEVICES)))
    bench.use("A", received=SLOT)
    assert changes(bench, "2031-03-08T10:00Z", 2) == ["2031-04-07T10:00:00+00:00", "2032-01-01"]


def test_w1_w8_requests_come_into_the_window_and_leave_it() -> None:
    bench = Bench(organization(item()))
    bench.authorize(at=SLOT + MINUTE)

    def soon(check: datetime) -> bool:
        return next_change(bench.state, ms(check)) == ms(check) + 1

    checks = [SLOT + number * 10 * MINUTE for number in (-1, 0, 1, 6, 7)]
    assert [soon(check) for check in checks] == [False, True, True, True, False]


def test_w1_nothing_changes_without_a_catalog() -> None:
    assert next_change(OrganizationState(ORGANIZATION), 0) is None


def test_w1_a_first_event_at_a_check_is_not_seen_by_it() -> None:
    document = organization(item(quota=1))
    for received, checks in ((SLOT, [SLOT + 10 * MINUTE]), (SLOT + MINUTE, [SLOT + 10 * MINUTE])):
        bench = Bench(document)
        bench.recount.next_check_ms = None
        bench.send(received)
        assert bench.recount.next_check_ms == ms(checks[0])
        bench.recount.check_until(ms(SLOT + 30 * MINUTE))
        assert [alert.checked_at for alert in bench.recount.alerts] == checks


def test_w1_a_check_runs_before_what_arrives_at_its_instant() -> None:
    recount = Recount()
    recount.adopt(organization(item()))
    event = Refused(RejectReason.NOT_JSON, "")
    assert recount.count(ORGANIZATION, event, ms(CHECK)).answer == event
    assert (recount.next_check_ms, recount.now_ms) == (ms(CHECK + 10 * MINUTE), ms(CHECK))
    recount.check_until(ms(CHECK + 10 * MINUTE) - 1)
    assert recount.now_ms == ms(CHECK)
    assert recount.next_check_ms == ms(CHECK + 10 * MINUTE)
    recount.check_until(ms(CHECK + 10 * MINUTE))
    assert recount.now_ms == ms(CHECK + 10 * MINUTE)


def reminded(*ends: datetime) -> Recount:
    """Return a recount of organizations that are reminded of an item a day before its end."""
    recount = Recount()
    for number, end in enumerate(ends):
        recount.adopt(
            organization(item(expires_at=end), organization_id=f"{number}", alerts={"expiry_reminder_days": [1]})
        )
    return recount


def arrive(recount: Recount, at: datetime) -> list[datetime]:
    """Let something arrive; return which checks found something until then."""
    recount.count("0", Refused(RejectReason.NOT_JSON, ""), ms(at))
    return [alert.checked_at for alert in recount.alerts]


def test_w1_w11_the_first_check_is_not_before_the_first_event() -> None:
    assert arrive(reminded(SLOT + HOUR), SLOT) == [SLOT]
    assert arrive(reminded(SLOT + HOUR), SLOT + timedelta(milliseconds=1)) == []


def test_w1_every_check_that_sees_a_change_runs() -> None:
    recount = reminded(SLOT + DAY + 15 * MINUTE, SLOT + DAY + 35 * MINUTE)
    assert arrive(recount, SLOT + MINUTE) == []
    assert arrive(recount, SLOT + HOUR) == [SLOT + 20 * MINUTE, SLOT + 40 * MINUTE]


def test_w1_the_clock_stands_at_the_last_check() -> None:
    recount = reminded(SLOT + DAY + 15 * MINUTE)
    arrive(recount, SLOT + MINUTE)
    recount.check_until(ms(SLOT + 17 * MINUTE))
    assert recount.now_ms == ms(SLOT + 10 * MINUTE)
    assert recount.next_check_ms == ms(SLOT + 20 * MINUTE)
    recount.check_until(ms(SLOT + 5 * MINUTE))
    assert recount.now_ms == ms(SLOT + 10 * MINUTE)


def test_the_clock_stands_for_what_does_not_say_when_it_arrived() -> None:
    recount = reminded(SLOT)
    for at in (ms(SLOT), None, ms(SLOT) - 5):
        recount.count("0", Refused(RejectReason.NOT_JSON, ""), at)
        assert recount.organizations["0"].updated_ms == (ms(SLOT) if at is None else at)
    assert recount.now_ms == ms(SLOT)


def test_w3_what_is_measured_of_a_domain_item_is_its_units() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    domain = metered(charge_way="per_domain", quota=3, validation_fields=fields)
    assert measure(domain, ItemUse(in_quota=2), SeatBook(), 0) == (2, 3)
