"""What an application sees: calls that never throw, options that are checked, leave to run, and the types."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Error

from licmeter.producers.browser import browser_file
from tests.integration.browser.server import Gateway
from tests.integration.browser.tabs import KEY, Tab

pytestmark = pytest.mark.integration
NewTab = Callable[[], Tab]

MISUSES = """() => {
    const angry = new Proxy({}, {get() { throw new Error("angry"); }, has() { throw new Error("angry"); }});
    const trap = {toString() { throw new Error("trap"); }, valueOf() { throw new Error("trap"); }};
    const things = [null, undefined, {}, [], NaN, Infinity, -1, 0.5, 1e300, 1000001, 10n, Symbol("s"), "", "2", true,
                    angry, trap, () => {}, "x".repeat(129), "\\ud800", new Date(NaN), document.body];
    let calls = 0;
    for (const thing of things) {
        if (typeof thing !== "string" || thing === "" || thing.length > 128 || thing === "\\ud800") {
            client.record(thing); calls += 1;
        }
        if (thing !== undefined) { client.record("qr", thing); calls += 1; }
        client.record(thing, angry); calls += 1;
        client.recordScan(thing, thing === "2" ? null : thing); calls += 1;
    }
    client.recordScan("qr", "x".repeat(20000)); calls += 1;
    client.record(); calls += 1;
    return calls;
}"""


def test_record_never_throws_and_says_misuse_once(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab()
    said: list[str] = []
    thrown: list[Any] = []
    tab.page.on("console", lambda message: "licmeter" in message.text and said.append(message.text))
    tab.page.on("pageerror", lambda error: thrown.append(error))
    tab.start()
    calls = tab.page.evaluate(MISUSES)
    tab.record("qr", 0)  # no operation, no report: nothing wrong with it
    tab.record("qr", 3)
    tab.record("x" * 128, 1_000_000)
    tab.flush()
    assert tab.stats["misused"] == calls
    assert [text for text in said if "not counted" in text] == said
    assert len(said) == 1
    assert thrown == []
    assert gateway.books.units == {"qr": 3, "x" * 128: 1_000_000}


def test_nothing_is_recorded_after_close(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.flush()
    tab.record("qr", 2)
    tab.page.evaluate("client.close()")
    tab.record("qr", 5)
    assert tab.kept_units() == 2
    tab.start()
    tab.flush()
    assert gateway.books.units == {"qr": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"licenseKey": None},
        {"licenseKey": "ключ"},
        {"product": 5},
        {"instances": 0},
        {"validation": "shop.example.org"},
        {"submitIntervalMs": -1},
        {"licenceKey": KEY},
        {"url": "http://"},
    ],
    ids=str,
)
def test_wrong_options_are_refused_at_once(new_tab: NewTab, options: dict[str, Any]) -> None:
    with pytest.raises(Error, match=r"TypeError.*(licmeter: wrong or missing options|URL)"):
        new_tab().start(**options)


def test_leave_to_run_is_asked_for(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start(instances=2)
    answer = tab.page.evaluate("client.authorize({ feature: 'qr' })")
    assert (answer["granted"], answer["item_id"]) == (True, "41")
    (asked,) = gateway.books.authorizations
    assert asked["client_uuid"] == tab.stats["clientUuid"]
    assert (asked["feature"], asked["product"], asked["requested_instances"]) == ("qr", "barcode-reader", 2)
    assert asked["validation"] == {"kind": "domain", "value": "127.0.0.1"}
    assert tab.page.evaluate("client.items") == answer["items"]


def test_a_local_license_stands_in_when_the_gateway_is_away(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    granted = tab.page.evaluate("client.authorize()")
    tab.page.reload()
    gateway.stop()
    gateway.start()
    tab.start()
    gateway.stop()
    cached = tab.page.evaluate("client.authorize()")
    assert cached == {**granted, "cached": True}
    failure = tab.page.evaluate(
        "client.authorize({ feature: 'never asked for' }).catch((error) => [error.name, error.status])"
    )
    assert failure == ["LicmeterError", 0]


def test_a_refusal_is_an_answer_and_ends_the_local_license(new_tab: NewTab, gateway: Gateway) -> None:
    tab = new_tab().start()
    tab.page.evaluate("client.authorize()")
    refusal = {"granted": False, "item_id": None, "code": {"number": 120, "slug": "limit_exceeded"}, "items": []}
    gateway.verdict = lambda _: (200, refusal)
    assert tab.page.evaluate("client.authorize()") == refusal
    gateway.verdict = lambda _: (503, {"title": "under construction", "status": 503})
    failing = "client.authorize().catch((error) => error.status)"
    tab.page.evaluate("() => { window.setTimeout = (work) => queueMicrotask(work); }")  # no waiting between tries
    assert tab.page.evaluate(failing) == 503
    tries = gateway.books.authorizations[-3:]
    assert len({(asked["auth_id"], asked["at"]) for asked in tries}) == 1, "a repetition is the same request"
    gateway.verdict = lambda _: (401, {"title": "no such key", "status": 401})
    assert tab.page.evaluate(failing) == 401


def test_the_types_name_what_the_module_has(new_tab: NewTab) -> None:
    tab = new_tab().start()
    members = """() => {
        const own = Object.getOwnPropertyDescriptors(licmeter.UsageClient.prototype);
        return Object.keys(own).filter((name) => name !== "constructor").sort();
    }"""
    types = browser_file("licmeter.d.ts")[0].decode()
    declared = re.search(r"export declare class UsageClient \{(.*?)\n\}", types, re.DOTALL)
    assert declared is not None
    named = set(re.findall(r"^  (?:get )?(\w+)\(", declared[1], re.MULTILINE)) - {"constructor"}
    assert sorted(named) == tab.page.evaluate(members)
    assert sorted(re.findall(r"export declare class (\w+)", types)) == sorted(
        tab.page.evaluate("Object.keys(licmeter)")
    )
    options = re.search(r"export interface UsageClientOptions \{(.*?)\n\}", types, re.DOTALL)
    assert options is not None
    code = browser_file("licmeter.js")[0].decode()
    checks = re.search(r"const CHECKS = \{(.*?)\n\};", code, re.DOTALL)
    assert checks is not None
    checked = set(re.findall(r"(\w+): (?:is|\(\{|\(value)", checks[1])) | {"url"}
    assert set(re.findall(r"^  (\w+)\??:", options[1], re.MULTILINE)) == checked
    stats = re.search(r"export interface UsageStats \{(.*?)\n\}", types, re.DOTALL)
    assert stats is not None
    assert set(re.findall(r"^  (\w+):", stats[1], re.MULTILINE)) == set(tab.stats)
