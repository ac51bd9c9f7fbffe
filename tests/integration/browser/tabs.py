"""A tab of a real browser in which the module runs, and how a test waits for what it should have done."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from playwright.sync_api import Frame, Page

KEY = "lmk_1_secret"
WAIT_S = 15.0  # a bound, not a pause: far more than a loaded machine needs


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
    """Wait for a condition, and return what it gave."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.01)
    return value


class HasUrl(Protocol):
    """A gateway, real or not."""

    @property
    def url(self) -> str: ...


class Tab:
    """A page with a client."""

    def __init__(self, page: Page | Frame, gateway: HasUrl) -> None:
        self.page = page
        self.gateway = gateway

    def start(self, **options: Any) -> "Tab":
        given = {"url": self.gateway.url, "licenseKey": KEY, "product": "barcode-reader", "version": "11", **options}
        self.page.evaluate(
            """async ([module, options]) => {
                 const licmeter = await import(module);
                 window.licmeter = licmeter;
                 window.client = new licmeter.UsageClient(options);
               }""",
            [f"{self.gateway.url}/v1/client/licmeter.js", given],
        )
        return self

    def record(self, feature: str, count: int = 1) -> None:
        self.page.evaluate("([feature, count]) => client.record(feature, count)", [feature, count])

    def flush(self) -> dict[str, int]:
        answer: dict[str, int] = self.page.evaluate("client.flush()")
        return answer

    @property
    def stats(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.page.evaluate("client.stats")
        return answer

    def spool(self, name: str = "licmeter") -> list[dict[str, Any]]:
        """What IndexedDB holds."""
        records: list[dict[str, Any]] = self.page.evaluate(
            """(name) => new Promise((resolve, reject) => {
                 const request = indexedDB.open(name);
                 request.onerror = () => reject(request.error);
                 request.onsuccess = () => {
                   const all = request.result.transaction("reports").objectStore("reports").getAll();
                   all.onsuccess = () => { request.result.close(); resolve(all.result); };
                 };
               })""",
            name,
        )
        return records

    def kept_units(self) -> int:
        """The units that would survive if everything ended now."""
        return sum(sum(record["event"]["data"]["counts"].values()) for record in self.spool())
