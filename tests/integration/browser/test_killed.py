"""The browser itself is killed: what was recorded a moment before is sent at its next start."""

import os
import signal
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Playwright

from tests.integration.browser.conftest import ARGS, CHROMIUM
from tests.integration.browser.server import Gateway
from tests.integration.browser.tabs import Tab, until

pytestmark = pytest.mark.integration


def launch(playwright: Playwright, folder: Path) -> BrowserContext:
    return playwright.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, args=ARGS)


def processes_of(folder: Path) -> list[int]:
    """All processes that were started with this profile."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:  # it has ended meanwhile
            continue
        if f"--user-data-dir={folder}".encode() in command:
            found.append(int(entry.name))
    return found


def kill(folder: Path) -> None:
    for pid in processes_of(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # children go with their parent
            continue
    until(lambda: not processes_of(folder), "the browser is gone")


def test_a_killed_browser_sends_at_its_next_start(
    playwright: Playwright, site: Gateway, gateway: Gateway, tmp_path: Path
) -> None:
    recorded = 0
    for life in range(3):
        context = launch(playwright, tmp_path)
        page = context.new_page()
        page.goto(site.url)
        tab = Tab(page, gateway).start()
        until(lambda expected=recorded: gateway.books.units.get("qr", 0) == expected, "what the last life left")
        until(lambda tab=tab: tab.spool() == [], "the spool emptied")
        for _ in range(5):
            tab.record("qr", life + 1)
        recorded += 5 * (life + 1)
        until(lambda tab=tab, life=life: tab.kept_units() == 5 * (life + 1), "written, a moment later")
        kill(tmp_path)
        with pytest.raises(Error):
            page.evaluate("1")
    context = launch(playwright, tmp_path)
    page = context.new_page()
    page.goto(site.url)
    Tab(page, gateway).start()
    until(lambda: gateway.books.units == {"qr": recorded}, "all of it")
    context.close()
    assert len({source for source, _ in gateway.books.counted}) == 1, "one profile is one device"
    assert not any(delivery.beacon for delivery in gateway.books.deliveries)
