"""What is decoded and refused, to the last bound (domain, section 5)."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from licmeter.metering.acceptance import check_report
from licmeter.metering.authorization import Authorization
from licmeter.metering.catalog_checks import catalog_mistakes
from licmeter.metering.decoding import CatalogChange, decode, decode_by_contract
from licmeter.metering.duplicates import DictMemory
from licmeter.metering.items import DAY_MS
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.meter import count_refused
from licmeter.metering.organization import OrganizationState
from licmeter.metering.refused import Refused
from licmeter.metering.report import CONTENT_BYTES, IDENTITY_BYTES, Report
from licmeter.schemas.authorizations import AuthorizationData, authorization
from licmeter.schemas.catalog import catalog_event
from licmeter.schemas.outcomes import Outcome, RejectReason, UsageKind
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization, report
from tests.unit.metering.bench import MINUTE, Bench

DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}


def test_checks_2_and_3_a_zero_is_not_negative() -> None:
    bench = Bench(organization(item()))
    answer = bench.try_to_send(counts={"a": 0, "b": 1_000_001})
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail) == ("count_out_of_range", "b: 1000001 is above 1000000")
    answer = bench.try_to_send(counts={"a": 1_000_001, "b": -1})
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail) == ("negative_count", "b: -1")


def test_check_3_names_the_largest_count() -> None:
    answer = Bench(organization(item())).try_to_send(counts={"a": 1_000_001, "b": 2_000_000, "c": 5})
    assert isinstance(answer, Refused)
    assert answer.detail == "b: 2000000 is above 1000000"


def test_checks_2_and_3_a_huge_number_is_not_written_out() -> None:
    def detail(count: int) -> str:
        refusal = check_report(Report("1", "1-x", "A", "r1", 0, 0, {"a": count}), DEFAULT_LIMITS)
        return "" if refusal is None else refusal[1]

    assert detail(2**128 - 1) == "a: 340282366920938463463374607431768211455 is above 1000000"
    assert detail(2**128) == "a: a number of 129 bits is above 1000000"


def test_the_fast_way_and_the_contract_read_the_same_report() -> None:
    words = {"product": "dbr", "version": "9", "edition": "pro", "deployment_type": "server", "instances": 3}
    more = {
        "validation": {"kind": "domain", "value": "a.org"},
        "total": 1,
        "sent_at": SLOT,
        "usage_kind": UsageKind.RESERVATION,
    }
    for changes in ({}, words, more, words | more):
        fields: dict[str, Any] = {**changes}
        value = encode_event(report(**fields))
        key, at = ORGANIZATION.encode(), ms(RECEIVED)
        fast = decode(key, value, at, DEFAULT_LIMITS)
        assert isinstance(fast, Report), fast
        assert decode_by_contract(key, value, at, DEFAULT_LIMITS) == fast


def test_limits_of_section_14() -> None:
    assert asdict(DEFAULT_LIMITS) == {
        "count_max": 1_000_000,
        "report_bytes_max": 65_536,
        "catalog_bytes_max": 4_194_304,
        "future_ms": 300_000,
        "skew_ms": 86_400_000,
        "age_ms": 30 * 86_400_000,
        "duplicate_days": 32,
    }


def padded(event: dict[str, Any], size: int) -> bytes:
    return encode_event(event).ljust(size)


def decoded(value: bytes, key: bytes | None = ORGANIZATION.encode()) -> Any:
    return decode(key, value, ms(RECEIVED), Limits(report_bytes_max=8_000, catalog_bytes_max=16_000))


def test_only_a_catalog_may_be_larger_than_a_report_and_it_has_a_bound_too() -> None:
    catalog = catalog_event(organization(item()), event_id="c1", source="test", time=RECEIVED)
    assert isinstance(decoded(padded(catalog, 16_000)), CatalogChange)
    too_large = decoded(padded(catalog, 16_001))
    assert (too_large.reason, too_large.detail) == ("payload_too_large", "16001 bytes; a report has 8000")
    request = authorization(auth_id="a1", client_uuid="A", at=RECEIVED, project_id=PROJECT)
    assert isinstance(decoded(padded(request, 8_000)), Authorization)
    assert decoded(padded(request, 8_001)).reason == "payload_too_large"


def test_g2_g21_what_is_wrong_with_the_envelope_of_an_authorization() -> None:
    def refusal(key: bytes | None = ORGANIZATION.encode(), at: datetime = RECEIVED, **named: Any) -> Any:
        return decoded(encode_event(authorization(auth_id="a1", client_uuid="A", at=at, **named)), key)

    assert refusal().reason == "invalid_schema"
    assert refusal(None, project_id=PROJECT).reason == "missing_key"
    other = refusal(project_id="9-x")
    detail = f"the event is of organization 9, the key says {ORGANIZATION}"
    assert other == Refused(RejectReason.KEY_MISMATCH, detail)
    assert refusal(project_id=PROJECT, organization_id="9") == other
    assert refusal(organization_id="9") == other
    assert isinstance(refusal(organization_id=ORGANIZATION), Authorization)
    skewed = refusal(project_id=PROJECT, at=RECEIVED + 6 * MINUTE)
    detail = "the request's time is 360 s from the arrival"
    assert skewed == Refused(RejectReason.CLOCK_SKEW, detail, "A", PROJECT)


def test_a_catalog_names_its_organization_in_key_subject_and_document() -> None:
    event = catalog_event(organization(item()), event_id="c1", source="test", time=RECEIVED)
    assert decoded(encode_event(event), None).reason == "missing_key"
    assert decoded(encode_event(event), b"9").reason == "key_mismatch"
    assert decoded(encode_event(event | {"subject": "9"})).reason == "invalid_schema"


def test_g14_every_item_with_too_many_domains_is_named() -> None:
    fields = [{"kind": "domain", "value": host} for host in ("b.org", "x.a.org", "a.org")]
    items = [item(str(n), charge_way="per_domain", quota=n, validation_fields=fields) for n in (1, 2)]
    document = organization(item("9", validation_fields=fields), *items, item("8", quota=None, **DEVICES))
    (mistake,) = catalog_mistakes(document)
    path = "license_files[0].items[1].validation_fields"
    assert mistake == f"{path}: 2 different domains (a.org, b.org), the quota is 1"
    unlimited = organization(item(charge_way="per_domain", quota=None, validation_fields=fields))
    assert catalog_mistakes(unlimited)


def test_a1_g3_digests_have_their_sizes_and_fields() -> None:
    def request(**changes: Any) -> Authorization:
        fields: dict[str, Any] = {
            "organization_id": "1",
            "project_id": "1-x",
            "client_uuid": "A",
            "auth_id": "a1",
            "at_ms": 5,
            "received_ms": 6,
            "data": AuthorizationData(),
        }
        return Authorization(**(fields | changes))

    first = request()
    assert (len(first.identity()), len(first.content())) == (IDENTITY_BYTES, CONTENT_BYTES) == (16, 8)
    assert request(received_ms=7).content() == first.content()
    changes: list[dict[str, Any]] = [{"organization_id": "2"}, {"client_uuid": "B"}, {"auth_id": "a2"}]
    assert len({first.identity(), *(request(**change).identity() for change in changes)}) == 4
    changes = [{"project_id": None}, {"at_ms": 6}, {"data": AuthorizationData(product="dbr")}]
    assert len({first.content(), *(request(**change).content() for change in changes)}) == 4
    report = Report("1", "1-x", "A", "a1", 0, 0, {})
    assert (len(report.identity()), len(report.content())) == (16, 8)
    assert report.identity() != first.identity()


def test_a3_the_memory_is_inclusive() -> None:
    memory = DictMemory(32)
    memory.add(b"i", b"c", 100)
    assert [memory.get(b"i", day) for day in (100, 132, 133)] == [b"c", b"c", None]


def test_invariant_7_what_was_refused_is_counted_and_moves_the_clock() -> None:
    state = OrganizationState(ORGANIZATION)
    assert count_refused(state, 5_000) == []
    assert (state.outcomes[Outcome.REJECTED], state.updated_ms) == (1, 5_000)
    (fact,) = count_refused(
        state, 6_000, reason=RejectReason.FUTURE_SLOT, organization_id=ORGANIZATION, client_uuid="A"
    )
    assert (fact.late, fact.detail) == (False, "future_slot")
    assert count_refused(state, 6_000, reason=RejectReason.FUTURE_SLOT, organization_id=ORGANIZATION) == []
    assert (state.outcomes[Outcome.REJECTED], state.updated_ms) == (3, 6_000)
    (fact,) = count_refused(state, DAY_MS, reason=RejectReason.UNKNOWN_PROJECT, organization_id=ORGANIZATION)
    assert (fact.identity, fact.project_id) == (("", 1), None)


def test_invariant_7_every_report_moves_the_clock_and_one_count() -> None:
    bench = Bench(organization(item()))
    for minute, report_id, count in ((1, "r1", 1), (2, "r1", 1), (3, "r1", 2)):
        bench.send(SLOT + minute * MINUTE, report_id=report_id, counts={"qr": count})
        assert bench.state.updated_ms == ms(SLOT + minute * MINUTE)
    assert bench.state.outcomes == {"charged": 1, "uncharged": 0, "duplicate": 1, "rejected": 1}
    conflict = bench.send(report_id="r1", counts={"qr": 3})
    assert conflict.detail == "the client reported other content under this id before"
