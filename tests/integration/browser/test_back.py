"""A page that the browser keeps for "back" must not be kept out of there by the module, and goes on when it returns."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright

from tests.integration.browser.conftest import ARGS, CHROMIUM
from tests.integration.browser.server import Gateway
from tests.integration.browser.tabs import Tab, until

pytestmark = pytest.mark.integration


@pytest.fixture
def keeping(playwright: Playwright) -> Iterator[Browser]:
    """A browser that keeps pages, as all do that are not tested by Playwright."""
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=ARGS, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield browser
    browser.close()


def test_a_page_goes_on_when_it_comes_back(keeping: Browser, site: Gateway, gateway: Gateway) -> None:
    page = keeping.new_page()
    page.goto(site.url)
    page.evaluate("addEventListener('pageshow', (event) => { window.persisted = event.persisted; })")
    tab = Tab(page, gateway).start()
    tab.flush()
    tab.record("qr", 2)
    page.goto(f"{site.url}/other")
    until(lambda: gateway.books.units == {"qr": 2}, "the beacon")
    page.go_back(wait_until="commit")
    page.wait_for_function("window.persisted")
    tab.record("qr", 3)
    tab.flush()
    assert gateway.books.units == {"qr": 5}
    assert len(gateway.books.counted) == 2, "what a beacon took is closed"
    assert tab.spool() == []
