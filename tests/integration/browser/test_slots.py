"""What becomes a report, when it is sent, and what is dropped: with the page's clock in the test's hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from tests.integration.browser.server import CUT, Gateway
from tests.integration.browser.tabs import Tab, until

pytestmark = pytest.mark.integration

START = datetime(2031, 3, 8, 10, 1, tzinfo=UTC)
SLOT_S = 180
NewTab = Callable[[], Tab]


class ClockedTab(Tab):
    """A tab in which time passes when the test says so."""

    def start(self, **options: Any) -> "ClockedTab":
        super().start(**options)
        # Before that, hours that pass at once look like a store that does not answer.
        until(lambda: self.stats["storage"], "the store opened")
        until(lambda: len(self.locks()) > 0, "the session shown to be alive")
        self.wait_for_idle()
        return self

    def locks(self) -> list[str]:
        names: list[str] = self.page.evaluate(
            "navigator.locks.query().then(({held, pending}) => [...held, ...pending].map(({name}) => name))"
        )
        return names

    def wait_for_idle(self) -> None:
        """Nothing is being sent: a request would run into its timeout when the clock jumps, as it should."""
        until(lambda: "licmeter licmeter" not in self.locks(), "nothing under way")

    def pass_time(self, seconds: float) -> None:
        self.wait_for_idle()
        self.page.clock.run_for(round(seconds * 1000))
        self.wait_for_idle()

    def kept(self, units: int) -> None:
        """Wait until IndexedDB has so many units."""
        until(lambda: self.kept_units() == units, f"{units} units kept")


@pytest.fixture
def clocked(profile: BrowserContext, site: Gateway, gateway: Gateway) -> Callable[[], ClockedTab]:
    def make() -> ClockedTab:
        page = profile.new_page()
        page.clock.install(time=START - timedelta(minutes=5))
        page.goto(site.url)
        page.clock.pause_at(START)
        return ClockedTab(page, gateway)

    return make


def test_units_are_summed_per_slot_and_feature(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    tab.record("qr")
    tab.record("qr")
    tab.record("pages", 3)
    tab.pass_time(119.999)  # the last instant of the slot that began at 10:00
    tab.record("qr")
    tab.pass_time(0.001)  # an instant on a boundary is in the later slot (T2)
    tab.record("qr", 5)
    tab.pass_time(3 * SLOT_S)
    tab.record("code128")
    tab.flush()
    assert gateway.books.slots == {
        "2031-03-08T10:00:00.000Z": {"qr": 3, "pages": 3},
        "2031-03-08T10:03:00.000Z": {"qr": 5},
        "2031-03-08T10:12:00.000Z": {"code128": 1},
    }
    assert len(gateway.books.counted) == 3


def test_a_slot_that_is_over_is_sent_by_the_next_cycle(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    tab.flush()
    tab.record("qr", 2)
    tab.pass_time(SLOT_S + 1)
    until(lambda: gateway.books.units == {"qr": 2}, "sent without being asked")
    tab.pass_time(3 * SLOT_S)
    until(lambda: tab.spool() == [], "the spool emptied")
    assert len(gateway.books.deliveries) == 1  # no operation, no report (L1)


def test_a_failed_report_is_not_tried_again_in_its_session(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    tab.flush()
    tab.record("qr", 2)
    gateway.next.append(CUT)
    tab.pass_time(SLOT_S + 1)
    assert tab.stats["failures"] == 1
    tab.record("code128", 1)
    tab.pass_time(SLOT_S + 1)
    assert tab.stats["accepted"] == 1, "the report after it"
    assert len(gateway.books.deliveries) == 2
    tab.page.reload()
    tab.start()
    until(lambda: tab.spool() == [], "sent at the next start (L3)")
    assert gateway.books.units == {"qr": 2, "code128": 1}


def test_a_refusal_for_now_is_honored(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    tab.flush()
    for status in (429, 503):
        gateway.next.append((status, {"Retry-After": "7"}))
    tab.record("qr", 2)
    assert tab.flush()["left"] == 1
    assert tab.flush()["left"] == 1  # asked too early: nothing is sent
    assert len(gateway.next) == 1
    tab.pass_time(8)
    until(lambda: not gateway.next, "asked again after Retry-After")
    until(lambda: tab.stats["failures"] == 2, "and refused again")
    tab.flush()
    until(lambda: (tab.pass_time(8), gateway.books.units == {"qr": 2})[1], "taken at last, in the same session")
    assert len(gateway.books.deliveries) == 1


def test_more_than_a_report_may_hold_becomes_several(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.page.evaluate("() => { for (let n = 0; n < 200; n += 1) client.record(`f${n % 130}`); }")
    tab.page.evaluate("() => { for (let n = 0; n < 3; n += 1) client.record('bulk', 700000); }")
    tab.page.evaluate("() => { for (const name of ['__proto__', 'constructor', 'toString']) client.record(name, 2); }")
    tab.flush()
    units = gateway.books.units
    assert sum(units.values()) == 200 + 3 * 700_000 + 6
    assert len(units) == 130 + 1 + 3
    assert all(len(counts) <= 64 and max(counts.values()) <= 1_000_000 for counts in gateway.books.counted.values())


def make_reports(tab: ClockedTab, number: int) -> None:
    """Record n units in the n-th slot from now."""
    for n in range(1, number + 1):
        tab.record("qr", n)
        tab.pass_time(SLOT_S)


def test_what_exceeds_the_bound_is_dropped_oldest_first_and_said(
    clocked: Callable[[], ClockedTab], gateway: Gateway
) -> None:
    tab = clocked().start(spoolReportsMax=3)
    gateway.stop()
    make_reports(tab, 5)
    assert tab.flush()["left"] == 3
    until(lambda: tab.stats["droppedReports"] == 2, "two dropped")
    assert tab.stats["droppedUnits"] == 1 + 2
    gateway.start()
    gateway.next.append(CUT)  # said again until it is confirmed
    tab.flush()
    tab.flush()
    assert gateway.books.units == {"qr": 3 + 4 + 5}
    said = [each.event["data"].get("dropped_reports") for each in gateway.books.deliveries]
    assert said == [2, None, None, 2, None, None]
    assert gateway.books.deliveries[0].event["data"]["dropped_units"] == 3
    tab.record("qr")
    tab.flush()
    assert "dropped_reports" not in gateway.books.deliveries[-1].event["data"]


def test_the_spool_is_bounded_in_bytes(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start(spoolBytesMax=900)
    gateway.stop()
    make_reports(tab, 5)
    tab.flush()
    kept = tab.spool()
    assert 0 < len(kept) < 5
    assert sum(record["bytes"] for record in kept) <= 900
    gateway.start()
    tab.flush()
    assert gateway.books.units["qr"] + tab.stats["droppedUnits"] == 1 + 2 + 3 + 4 + 5


def test_a_month_old_report_is_dropped(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    gateway.stop()
    tab.record("qr", 4)
    tab.flush()
    tab.page.clock.fast_forward(30 * 86_400_000)  # its slot ended less than 30 days ago, by two minutes
    assert tab.flush()["left"] == 1
    tab.page.clock.fast_forward(SLOT_S * 1000)
    tab.record("qr", 1)
    gateway.start()
    tab.flush()
    assert gateway.books.units == {"qr": 1}
    data = gateway.books.deliveries[0].event["data"]
    assert (data["dropped_reports"], data["dropped_units"]) == (1, 4)


def test_a_large_spool_goes_in_batches_that_the_server_takes(
    clocked: Callable[[], ClockedTab], gateway: Gateway
) -> None:
    tab = clocked().start(retryInSession=True)
    gateway.stop()
    make_reports(tab, 12)
    tab.flush()
    gateway.batch_max = 5
    gateway.start()
    assert tab.flush()["left"] == 0
    assert gateway.books.units == {"qr": sum(range(1, 13))}
    assert {delivery.batch for delivery in gateway.books.deliveries} == {3}
    times = [delivery.event["time"] for delivery in gateway.books.deliveries]
    assert times == sorted(times), "the oldest first"


def test_rejected_reports_leave_and_those_of_a_wrong_clock_stay(
    clocked: Callable[[], ClockedTab], gateway: Gateway
) -> None:
    tab = clocked().start()
    gateway.rejecting = {"bad": "unknown_project", "ahead": "future_slot", "skewed": "clock_skew"}
    for feature in ("bad", "ahead", "skewed", "good"):
        tab.record(feature, 2)
        tab.pass_time(SLOT_S)
    tab.flush()
    until(lambda: len(tab.spool()) == 2, "two are kept")
    stats = tab.stats
    assert (stats["accepted"], stats["rejected"]) == (1, 1)
    assert gateway.books.units == {"good": 2}
    gateway.rejecting = {}
    until(lambda: (tab.pass_time(SLOT_S), tab.spool() == [])[1], "sent when the clock may be right")
    assert gateway.books.units == {"good": 2, "ahead": 2, "skewed": 2}


def test_a_beacon_is_small_and_brings_the_oldest(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    gateway.stop()
    for _ in range(40):  # of some 2 KB each
        tab.page.evaluate("() => { for (let n = 0; n < 60; n += 1) client.record(`a-feature-with-a-long-name-${n}`); }")
        tab.pass_time(SLOT_S)
    tab.kept(40 * 60)
    tab.flush()
    gateway.start()
    tab.page.reload()
    until(lambda: gateway.books.deliveries, "the beacon")
    assert all(delivery.beacon for delivery in gateway.books.deliveries)
    assert 20 <= len(gateway.books.deliveries) < 40
    assert gateway.books.deliveries[0].event["time"] == "2031-03-08T10:00:00.000Z"
    assert len(tab.spool()) == 40, "nobody saw an answer"
    tab.start()
    until(lambda: tab.spool() == [], "the spool emptied")
    assert sum(gateway.books.units.values()) == 40 * 60


def test_the_same_scan_is_counted_once(clocked: Callable[[], ClockedTab], gateway: Gateway) -> None:
    tab = clocked().start()
    scan = "(what) => client.recordScan(...what)"
    counted = []
    at = 0.0
    for seen in (0.0, 2.9, 5.1, 9.0):  # the example of L6
        tab.pass_time(seen - at)
        at = seen
        counted.append(tab.page.evaluate(scan, ["qr", "Z"]))
    assert counted == [True, False, False, True]
    assert tab.page.evaluate(scan, ["qr", "other"])
    assert tab.page.evaluate(scan, ["aztec", "Z"])
    tab.pass_time(3.0)
    assert tab.page.evaluate(scan, ["qr", "Z"]), "3 s are not less than 3 s"
    assert tab.page.evaluate("client.recordScan('qr', new Uint8Array([1, 2]))")
    assert not tab.page.evaluate("client.recordScan('qr', new Uint8Array([1, 2]))")
    tab.flush()
    assert gateway.books.units == {"qr": 5, "aztec": 1}
    assert "other" not in str([delivery.event for delivery in gateway.books.deliveries])
