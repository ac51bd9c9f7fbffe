"""Two anonymized outputs of real servers; the header of each feature is the oracle."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from licmeter.producers.lmstat import FeatureStatus, Snapshot, convert, decode, parse, slot_of, snapshot_instant
from licmeter.schemas.reports import encode_event, parse_report

SITES = Path(__file__).parents[5] / "shared" / "data" / "lmstat"
SLOT = datetime(2031, 3, 8, 14, 12, tzinfo=UTC)


def _snapshot(site: str) -> Snapshot:
    path = SITES / site
    if not path.exists():
        pytest.skip(f"{path} is not here; it is not ours to keep in the repository")
    (snapshot,) = parse(decode(path.read_bytes()))
    return snapshot


@pytest.fixture(params=["site-a.txt", "site-b.txt"])
def snapshot(request: pytest.FixtureRequest) -> Snapshot:
    return _snapshot(request.param)


def test_lines_sum_to_every_header(snapshot: Snapshot) -> None:
    counted = [feature for feature in snapshot.features if feature.status is FeatureStatus.COUNTED]
    assert len(counted) >= 10
    assert {feature.name: feature.difference for feature in counted} == {feature.name: 0 for feature in counted}


def test_reports_sum_to_every_header(snapshot: Snapshot) -> None:
    totals: Counter[str] = Counter()
    for event in convert([snapshot], project_id="300417-cad", slot=SLOT).reports:
        totals.update(event["data"]["counts"])
    # Also those of which none is in use: that is an observation, too.
    assert dict(totals) == {f.name: f.in_use for f in snapshot.features if f.in_use is not None}


def test_every_report_keeps_the_contract(snapshot: Snapshot) -> None:
    for event in convert([snapshot], project_id="300417-cad", slot=SLOT).reports:
        assert parse_report(encode_event(event))["source"] == event["source"]


def test_nothing_is_left_to_say(snapshot: Snapshot) -> None:
    assert snapshot.notices == ()
    assert all(checkout.start is not None for feature in snapshot.features for checkout in feature.checkouts)


def test_reservations_stay_apart() -> None:
    events = convert([_snapshot("site-b.txt")], project_id="300417-cad", slot=SLOT).reports
    reserved = [event for event in events if event["data"].get("usage_kind") == "reservation"]
    assert len(reserved) == 6
    assert {event["source"] for event in reserved} == {"reservation:GROUP DED@SERVER1/1713"}


def test_a_snapshot_knows_its_instant() -> None:
    instant = snapshot_instant(_snapshot("site-a.txt"), ZoneInfo("Europe/Berlin"))
    assert instant == datetime(2017, 10, 20, 15, 2, tzinfo=UTC)
    assert slot_of(instant) == datetime(2017, 10, 20, 15, 0, tzinfo=UTC)
