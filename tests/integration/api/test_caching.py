"""Conditional requests: 304 while nothing changed, another tag when something did."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from licmeter.sinks.target import ClickHouseTarget
from tests.integration.api.addresses import EACH
from tests.integration.api.rows import attribution_blocks, counted, usage, write
from tests.integration.api.stage import ApiStage, api_stage

pytestmark = pytest.mark.integration

ORGANIZATION = "300417"


@pytest.fixture(scope="module")
def stage(history: ClickHouseTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    with api_stage(history, tmp_path_factory.mktemp("caching")) as running:
        yield running


@pytest.mark.parametrize("path", [*EACH, "series?bucket=2h&limit=1", "days/2031-03-08?by=report&limit=2"])
def test_what_did_not_change_is_not_sent_again(stage: ApiStage, path: str) -> None:
    first = stage.get(ORGANIZATION, path)
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["vary"] == "Accept, Authorization"
    assert first.headers["last-modified"].endswith("GMT")
    tag = first.headers["etag"]
    assert tag.startswith('"')
    again = stage.get(ORGANIZATION, path, **{"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    kept = ("etag", "cache-control", "vary", "last-modified")
    assert [again.headers[name] for name in kept] == [first.headers[name] for name in kept]
    assert stage.get(ORGANIZATION, path, **{"If-None-Match": '"other"'}).content == first.content


def test_json_and_csv_have_tags_of_their_own(stage: ApiStage) -> None:
    json_tag = stage.get(ORGANIZATION, "series?bucket=2h").headers["etag"]
    other = stage.get(ORGANIZATION, "series?bucket=2h", Accept="text/csv", **{"If-None-Match": json_tag})
    assert (other.status_code, other.headers["etag"] != json_tag) == (200, True)


def test_q7_new_rows_and_a_new_update_have_new_tags(stage: ApiStage) -> None:
    paths = ("series?bucket=day", "shares", "trend?from=2031-03-01&to=2031-03-31", "days/2031-03-08", "concurrency")
    tags = {path: stage.get(ORGANIZATION, path).headers["etag"] for path in paths}
    slot = datetime(2031, 3, 8, 20, tzinfo=UTC)
    write(stage.target, attribution_blocks([usage(ORGANIZATION, "300417-kiosk", "41", "night", slot, 3)]))
    for path in paths:  # the rows are there, their counters are not yet
        changed = stage.get(ORGANIZATION, path, **{"If-None-Match": tags[path]})
        assert changed.status_code == 200, path
        tags[path] = changed.headers["etag"]
    write(stage.target, [counted(ORGANIZATION, slot + timedelta(days=2), offset=9)])
    for path in paths:
        changed = stage.get(ORGANIZATION, path, **{"If-None-Match": tags[path]})
        assert changed.status_code == 200, path
        assert changed.json()["updated_at"] == "2031-03-10T20:00:00Z"
        assert changed.headers["last-modified"] == "Mon, 10 Mar 2031 20:00:00 GMT"
