"""Every unit that was recorded is counted once, whatever happens to the server, the connection or the tab."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Error

from tests.integration.browser.conftest import INSECURE_HOST
from tests.integration.browser.server import CUT, Gateway
from tests.integration.browser.tabs import KEY, Tab, until

pytestmark = pytest.mark.integration
NewTab = Callable[[], Tab]


def test_what_is_recorded_is_summed_and_sent(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(projectId="300417-kiosk", edition="pro", instances=2)
    for _ in range(3):
        tab.record("qr")
    tab.record("pages", 4)
    answer = tab.flush()
    assert answer["left"] == 0
    assert answer["accepted"] == len(gateway.books.counted) >= 1
    assert gateway.books.units == {"qr": 3, "pages": 4}
    assert tab.spool() == []
    event = gateway.books.deliveries[0].event
    assert event["subject"] == "300417-kiosk"
    given = {name: event["data"][name] for name in ("product", "version", "edition", "deployment_type", "instances")}
    assert given == {
        "product": "barcode-reader",
        "version": "11",
        "edition": "pro",
        "deployment_type": "browser",
        "instances": 2,
    }
    assert event["data"]["validation"] == {"kind": "domain", "value": "127.0.0.1"}
    assert tab.page.evaluate("client.items") == [{"item_id": "41", "state": "grace", "percent": "100.50"}]
    assert gateway.books.deliveries[0].key == KEY


def test_one_profile_is_one_device(new_tab: NewTab, gateway: Gateway) -> None:
    for _ in range(2):
        tab = new_tab().start()
        tab.record("qr")
        tab.flush()
        tab.page.close()
    assert len({source for source, _ in gateway.books.counted}) == 1
    assert gateway.books.units == {"qr": 2}


def test_a_reload_sends_what_was_left(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    gateway.stop()
    tab.record("qr", 5)
    assert tab.flush()["left"] >= 1
    tab.page.reload()
    gateway.start()
    tab.start()
    until(lambda: gateway.books.units == {"qr": 5}, "the spool sent at start")
    until(lambda: tab.spool() == [], "the spool emptied")
    assert max(delivery.event["data"]["attempt"] for delivery in gateway.books.deliveries) == 2


def test_a_failed_report_waits_for_the_next_session(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(submitIntervalMs=50)
    gateway.stop()
    tab.record("qr", 5)
    tab.flush()
    gateway.start()
    tab.record("code128")
    tab.flush()  # asked for, so it sends all
    assert gateway.books.units == {"qr": 5, "code128": 1}


def test_a_failed_report_is_tried_again_in_the_session_if_so_set(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(submitIntervalMs=50, retryInSession=True)
    gateway.stop()
    tab.record("qr", 5)
    tab.flush()
    gateway.start()
    until(lambda: gateway.books.units == {"qr": 5}, "sent in the same session")
    until(lambda: tab.spool() == [], "the spool emptied")


def test_a_lost_answer_brings_the_same_id_again(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    gateway.next.append(CUT)
    tab.record("qr", 7)
    assert tab.flush() == {"accepted": 0, "rejected": 0, "left": 1}
    assert tab.flush() == {"accepted": 1, "rejected": 0, "left": 0}
    (identity,) = gateway.books.counted
    assert gateway.books.times(identity) == 2
    assert gateway.books.units == {"qr": 7}


def test_a_closed_tab_sends_a_beacon_and_the_next_one_the_same_ids(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.flush()
    tab.record("qr", 2)
    tab.page.close(run_before_unload=True)
    until(lambda: gateway.books.units == {"qr": 2}, "the beacon")
    (delivery,) = gateway.books.deliveries
    assert (delivery.beacon, delivery.key) == (True, KEY)
    next_tab = new_tab().start()
    until(lambda: gateway.books.times(delivery.identity) == 2, "the same report again")
    until(lambda: next_tab.spool() == [], "the spool emptied")
    assert gateway.books.units == {"qr": 2}


def test_leaving_for_another_page_sends_a_beacon(new_tab: NewTab, gateway: Gateway, site: Gateway) -> None:
    tab = new_tab().start()
    tab.flush()
    tab.record("qr", 2)
    tab.page.goto(f"{site.url}/other")
    until(lambda: gateway.books.units == {"qr": 2}, "the beacon")


def test_no_beacon_where_a_session_password_must_be_shown(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab()
    recorded = 0
    for units in range(1, 11):
        tab.start(sessionPassword="open sesame").flush()
        assert gateway.books.units.get("qr", 0) == recorded, "sent by the next page"
        tab.record("qr", units)
        recorded += units
        tab.page.reload()
        assert tab.kept_units() == units, "written while the page went away"
    tab.start(sessionPassword="open sesame").flush()
    assert gateway.books.units == {"qr": recorded}
    assert gateway.books.passwords == {"open sesame"}
    assert not any(delivery.beacon for delivery in gateway.books.deliveries)


def test_two_tabs_lose_and_double_nothing(new_tab: NewTab, gateway: Gateway) -> None:
    tabs = [new_tab().start(submitIntervalMs=30) for _ in range(2)]
    for _ in range(10):
        for tab in tabs:
            tab.record("qr")
    for tab in tabs:  # both at once: neither is waited for
        tab.page.evaluate("() => { client.flush(); client.record('qr', 10); }")
    for tab in tabs:
        until(lambda tab=tab: tab.flush()["left"] == 0, "all sent")
    assert gateway.books.units == {"qr": 40}
    assert tabs[0].spool() == []


def test_the_open_slot_of_a_living_tab_is_left_alone(new_tab: NewTab, gateway: Gateway) -> None:
    first = new_tab().start()
    first.record("qr")
    until(lambda: first.kept_units() == 1, "written")
    second = new_tab().start()
    assert second.flush() == {"accepted": 0, "rejected": 0, "left": 0}
    first.record("qr", 2)
    first.flush()
    assert gateway.books.units == {"qr": 3}


def test_a_tab_that_crashed_leaves_its_open_slot_to_the_next(new_tab: NewTab, gateway: Gateway) -> None:
    first = new_tab().start()
    first.record("qr", 3)
    until(lambda: first.kept_units() == 3, "written")
    with pytest.raises(Error, match="crash"):
        first.page.goto("chrome://crash")
    new_tab().start(submitIntervalMs=50)  # its lock may outlive it by a moment
    until(lambda: gateway.books.units == {"qr": 3}, "the dead tab's report")
    assert not gateway.books.deliveries[0].beacon


def test_a_hidden_page_writes_at_once(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.flush()
    hidden = """() => {
        Object.defineProperty(document, "visibilityState", {value: "hidden"});
        window.setTimeout = () => 0;  // the debounced write never comes
        client.record("qr", 3);
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    tab.page.evaluate(hidden)
    until(lambda: tab.kept_units() == 3, "written")
    tab.flush()
    assert gateway.books.units == {"qr": 3}


def test_plain_http_has_no_locks_and_works(profile: BrowserContext, site: Gateway, gateway: Gateway) -> None:
    page = profile.new_page()
    page.goto(f"http://{INSECURE_HOST}:{site.port}")
    assert page.evaluate("[isSecureContext, 'locks' in navigator, 'randomUUID' in crypto]") == [False, False, False]
    tab = Tab(page, gateway).start()
    tab.record("qr", 2)
    assert tab.flush()["left"] == 0
    tab.record("qr", 3)
    page.reload()
    tab.start()
    until(lambda: tab.spool() == [], "the spool emptied")
    assert gateway.books.units == {"qr": 5}
    assert gateway.books.deliveries[0].event["data"]["validation"]["value"] == INSECURE_HOST


def test_without_storage_it_keeps_in_memory_and_says_so_once(
    profile: BrowserContext, site: Gateway, gateway: Gateway
) -> None:
    page = profile.new_page()
    said: list[str] = []
    page.on("console", lambda message: "licmeter" in message.text and said.append(message.text))
    page.goto(f"{site.url}/sandbox")  # an opaque origin: IndexedDB and Web Locks are denied
    frame = page.wait_for_selector("iframe").content_frame()
    assert frame is not None
    frame.wait_for_function("window.ready")
    tab = Tab(frame, gateway).start()
    gateway.next.append(CUT)
    tab.record("qr", 2)
    assert tab.flush()["left"] == 1
    tab.record("qr", 3)
    tab.flush()
    assert gateway.books.units == {"qr": 5}
    assert tab.stats["storage"] == "memory"
    assert [text for text in said if "only as long as this page lives" in text] == said


def test_reports_of_another_license_key_are_sent_with_it(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(licenseKey="lmk_a_tenant")
    tab.record("qr", 2)
    gateway.stop()
    tab.flush()
    tab.page.reload()
    gateway.start()
    tab.start(licenseKey="lmk_b_tenant")
    tab.record("qr", 3)
    tab.flush()
    assert gateway.books.units == {"qr": 5}
    keys = {sum(each.event["data"]["counts"].values()): each.key for each in gateway.books.deliveries}
    assert keys == {2: "lmk_a_tenant", 3: "lmk_b_tenant"}


def test_reports_that_name_their_project_follow_a_rotated_key(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(licenseKey="lmk_old_key", projectId="1-shop")
    tab.record("qr", 2)
    gateway.stop()
    tab.flush()
    tab.page.reload()
    gateway.start()
    tab.start(licenseKey="lmk_new_key", projectId="1-shop")
    until(lambda: gateway.books.units == {"qr": 2}, "the old report")
    assert {each.key for each in gateway.books.deliveries} == {"lmk_new_key"}


def test_storage_that_is_cleared_or_full_ends_in_memory(new_tab: NewTab, site: Gateway, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.record("qr", 2)
    tab.flush()
    devtools = tab.page.context.new_cdp_session(tab.page)
    devtools.send("Storage.clearDataForOrigin", {"origin": site.url, "storageTypes": "all"})
    gateway.next.append(CUT)
    tab.record("qr", 3)
    until(lambda: tab.stats["storage"] == "memory", "the store given up")
    tab.flush()
    tab.record("qr", 4)
    tab.flush()
    assert gateway.books.units == {"qr": 9}
    tab.page.reload()
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.url, "quotaSize": 1})
    tab.start().record("qr", 5)
    tab.flush()
    assert tab.stats["storage"] == "memory"
    assert gateway.books.units == {"qr": 14}
