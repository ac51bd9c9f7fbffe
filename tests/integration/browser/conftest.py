"""A real Chromium, a site, and a gateway on another port of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from tests.integration.browser.server import Gateway
from tests.integration.browser.tabs import Tab

CHROMIUM = Path("/usr/bin/chromium")
#: A host that is no secure context, as `127.0.0.1` is one: no Web Locks, no `crypto.randomUUID`.
INSECURE_HOST = "shop.test"
ARGS = ["--no-sandbox", f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1"]


def require_chromium() -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there")


# Not for the session: while it runs, its event loop is the thread's, and other tests want to run one of their own.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    require_chromium()
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
    yield browser
    browser.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Whatever else a test says: no event breaks the contract, and none comes twice with different content."""
    running = Gateway()
    yield running
    running.stop()
    assert running.books.faults == []


@pytest.fixture
def site() -> Iterator[Gateway]:
    """The application's own server, of another origin than the gateway."""
    running = Gateway()
    yield running
    running.stop()
    assert running.books.deliveries == []


@pytest.fixture
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def new_tab(profile: BrowserContext, site: Gateway, gateway: Gateway) -> Callable[[], Tab]:
    def make() -> Tab:
        page = profile.new_page()
        page.goto(site.url)
        return Tab(page, gateway)

    return make
