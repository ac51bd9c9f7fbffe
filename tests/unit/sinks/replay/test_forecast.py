"""What would become of a reject: the checks of the domain, section 5, at the instant of the replay."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from licmeter.metering.organization import MeteredCatalog
from licmeter.schemas.authorizations import authorization
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.replays import Place
from licmeter.schemas.reports import encode_event
from licmeter.schemas.topics import USAGE_ATTRIBUTED, USAGE_EVENTS
from licmeter.sinks.replay.forecast import Forecast, Prospect, forecast
from licmeter.sinks.replay.rejects import Reject
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, catalog_record, item, ms, organization, report

KNOWN = {ORGANIZATION: MeteredCatalog(organization(item()))}
DAY = timedelta(days=1)


def reject(value: bytes | None, reason: str = "unknown_project", **fields: Any) -> Reject:
    given: dict[str, Any] = {
        "place": Place(USAGE_EVENTS.name, 0, 1),
        "partition": 0,
        "offset": 1,
        "detail": "",
        "received_ms": ms(RECEIVED),
        "key": ORGANIZATION.encode(),
    }
    return Reject(value=value, reason=reason, **(given | fields))


def look(value: bytes | None, at: datetime = RECEIVED, known: Any = KNOWN, **fields: Any) -> Forecast:
    return forecast(reject(value, **fields), ms(at), known)


def refused(found: Forecast) -> RejectReason | None:
    assert found.prospect is Prospect.REFUSED
    assert found.text == f"would be {found.reason}"
    return found.reason


GOOD = encode_event(report())


def test_what_passes_the_checks_is_judged() -> None:
    assert look(GOOD).prospect is Prospect.JUDGED


def test_e17_a_project_is_looked_for_in_the_catalogs_that_are_current() -> None:
    assert refused(look(GOOD, known={})) is RejectReason.UNKNOWN_PROJECT
    other = encode_event(report(project_id=f"{ORGANIZATION}-other"))
    assert refused(look(other)) is RejectReason.UNKNOWN_PROJECT
    default = encode_event(report(project_id=None, organization_id=ORGANIZATION))
    assert look(default).prospect is Prospect.JUDGED


def test_e10_a_disabled_project_takes_only_older_slots() -> None:
    catalog = MeteredCatalog(organization(item(), project={"disabled_at": SLOT}))
    assert refused(look(GOOD, known={ORGANIZATION: catalog})) is RejectReason.PROJECT_DISABLED
    older = encode_event(report(slot=SLOT - timedelta(minutes=3)))
    assert look(older, known={ORGANIZATION: catalog}).prospect is Prospect.JUDGED


def test_t5_check_7_the_arrival_is_that_of_the_replay() -> None:
    end = SLOT + timedelta(minutes=3)
    assert look(GOOD, end + 30 * DAY).prospect is Prospect.JUDGED
    assert refused(look(GOOD, end + 30 * DAY + timedelta(milliseconds=1))) is RejectReason.TOO_OLD


def test_e2_a_slot_of_the_future_counts_once_it_has_come() -> None:
    ahead = encode_event(report(slot=SLOT + timedelta(hours=1)))
    assert refused(look(ahead, reason="future_slot")) is RejectReason.FUTURE_SLOT
    assert look(ahead, SLOT + timedelta(hours=1), reason="future_slot").prospect is Prospect.JUDGED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", RejectReason.NOT_JSON),
        (b"", RejectReason.EMPTY_RECORD),
        (None, RejectReason.TOMBSTONE),
        (b"x" * 70_000, RejectReason.PAYLOAD_TOO_LARGE),
        (encode_event(report(counts={"qr": -1})), RejectReason.NEGATIVE_COUNT),
        (encode_event({**report(), "type": "license.usage.report.v9"}), RejectReason.UNKNOWN_EVENT_TYPE),
    ],
    ids=str,
)
def test_what_is_wrong_in_itself_is_refused_again(value: bytes | None, reason: RejectReason) -> None:
    assert refused(look(value)) is reason


def test_a3_a_conflict_stays_one() -> None:
    assert refused(look(GOOD, reason="conflict")) is RejectReason.CONFLICT
    assert refused(look(GOOD, RECEIVED + 40 * DAY, reason="conflict")) is RejectReason.TOO_OLD


def test_a_request_for_leave_is_judged() -> None:
    event = authorization(auth_id="a", client_uuid="d", at=RECEIVED, project_id=PROJECT)
    assert look(encode_event(event), known={}).prospect is Prospect.JUDGED


def test_a_catalog_change_is_never_put_back() -> None:
    found = look(catalog_record(organization(item())).value, reason="invalid_schema")
    assert found.prospect is Prospect.APPLY
    assert "license apply" in found.text


@pytest.mark.parametrize(
    "fields", [{"place": Place(USAGE_ATTRIBUTED.name, 0, 1)}, {"key": None, "value": None, "reason": "tombstone"}]
)
def test_what_was_no_record_of_the_log_or_cannot_be_sent_is_impossible(fields: dict[str, Any]) -> None:
    found = forecast(reject(**({"value": GOOD} | fields)), ms(RECEIVED), KNOWN)
    assert found.prospect is Prospect.IMPOSSIBLE
    assert found.text.startswith("cannot be put back: ")
