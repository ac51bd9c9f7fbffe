"""The module on the real gateway, up to what the database counted."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext

from tests.integration.browser.conftest import require_chromium
from tests.integration.browser.server import Gateway
from tests.integration.browser.tabs import Tab, until
from tests.integration.gateway_stage import GatewayStage, gateway_stage

pytestmark = pytest.mark.integration


def counted(stage: GatewayStage) -> int:
    rows = stage.query(
        "SELECT toInt64(sum(quantity)) FROM usage_attributed WHERE organization_id = 'a1' AND feature = 'qr' "
        "AND outcome != 'duplicate'"
    )
    return int(rows[0][0])


# Before the browser, whose event loop does not let another one run in this thread.
@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    require_chromium()
    with gateway_stage(tmp_path_factory.mktemp("browser")) as running:
        yield running


def test_what_a_browser_recorded_is_in_the_database(
    stage: GatewayStage, profile: BrowserContext, site: Gateway
) -> None:
    def new_tab() -> Tab:
        page = profile.new_page()
        page.goto(site.url)
        return Tab(page, stage).start(licenseKey=stage.keys["A"], product=None, version=None)

    tab = new_tab()
    answer = tab.page.evaluate("client.authorize({ feature: 'qr' })")
    assert (answer["granted"], answer["item_id"]) == (True, "scans")
    tab.record("qr", 3)
    assert tab.flush() == {"accepted": 1, "rejected": 0, "left": 0}
    assert {item["item_id"]: item["state"] for item in tab.page.evaluate("client.items")}["scans"] == "active"
    tab.record("qr", 4)
    tab.page.close(run_before_unload=True)
    until(lambda: counted(stage) == 7, "the beacon's report counted", seconds=60)
    tab = new_tab()  # sends it again
    tab.record("qr", 5)
    until(lambda: tab.flush()["left"] == 0 and tab.spool() == [], "all confirmed")
    until(lambda: counted(stage) == 12, "counted once", seconds=60)


def test_a_key_that_is_not_known_loses_nothing(stage: GatewayStage, profile: BrowserContext, site: Gateway) -> None:
    page = profile.new_page()
    page.goto(site.url)
    tab = Tab(page, stage).start(licenseKey="lmk_no_such")
    tab.record("qr", 2)
    assert tab.flush() == {"accepted": 0, "rejected": 0, "left": 1}
    assert tab.stats["lastProblem"]["status"] == 401
    assert tab.kept_units() == 2
