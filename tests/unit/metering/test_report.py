"""The two digests of a report: equal for equal reports, and for no others."""

from typing import Any

import pytest

from licmeter.metering.decoding import decode
from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.report import CONTENT_BYTES, IDENTITY_BYTES, Report
from licmeter.schemas.reports import encode_event
from tests.support.build import ORGANIZATION, RECEIVED, ms, report


def made(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "organization_id": "300417",
        "project_id": "300417-kiosk",
        "client_uuid": "device-1",
        "report_id": "r1",
        "slot_s": 1_930_730_400,
        "received_ms": 0,
        "counts": {"qr": 1, "ean": 2},
    }
    return Report(**(fields | changes))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"client_uuid": "a", "report_id": "bc"}, {"client_uuid": "ab", "report_id": "c"}),
        ({"client_uuid": "a", "report_id": ""}, {"client_uuid": "", "report_id": "a"}),
        ({"report_id": "a", "organization_id": "1"}, {"report_id": "a1", "organization_id": ""}),
        ({"client_uuid": "é"}, {"client_uuid": "e\u0301"}),
        ({"client_uuid": "x" * 31}, {"client_uuid": "x" * 32}),
    ],
)
def test_other_ids_are_another_identity(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert made(**one).identity() != made(**other).identity()


def test_the_identity_is_nothing_but_the_ids() -> None:
    same = made(project_id=None, slot_s=0, received_ms=9, counts={}, product="x", sent_ms=1)
    assert same.identity() == made().identity()
    assert len(same.identity()) == IDENTITY_BYTES


def test_the_identity_is_the_same_with_every_release() -> None:
    # It is in the stores of running workers: another value would let every known report in again.
    assert made().identity().hex() == "5b5205283305f5e664ee7503dddb4224"


CHANGES: list[dict[str, Any]] = [
    {},
    {"project_id": None},
    {"project_id": "300417-kiosk2"},
    {"slot_s": 1_930_730_580},
    {"counts": {}},
    {"counts": {"qr": 1}},
    {"counts": {"qr": 2, "ean": 1}},
    {"counts": {"qr": 1, "ean": 200}},
    {"counts": {"qr": 1, "ean2": 2}},
    {"counts": {"qr": 1, "ean": 2, "ocr": 0}},
    {"product": "a"},
    {"version": "a"},
    {"edition": "a"},
    {"deployment_type": "a"},
    {"product": "a", "version": ""},
    {"product": "", "version": "a"},
    {"version": ""},
    {"version": "1"},
    {"instances": 1},
    {"validation": ("a", "bc")},
    {"validation": ("ab", "c")},
    {"usage_kind": "reservation"},
]


def test_every_other_content_has_another_digest() -> None:
    digests = {made(**changes).content() for changes in CHANGES}
    assert len(digests) == len(CHANGES)
    assert {len(digest) for digest in digests} == {CONTENT_BYTES}


@pytest.mark.parametrize(
    "same",
    [
        {"counts": {"ean": 2, "qr": 1}},
        {"sent_ms": 5},
        {"received_ms": 5},
        {"client_uuid": "x"},
        {"product": None},
    ],
)
def test_the_same_content_has_the_same_digest(same: dict[str, Any]) -> None:
    assert made(**same).content() == made().content()


def test_a_field_that_is_null_is_as_one_that_is_absent() -> None:
    first, second = report(), report()
    second["data"] |= {"product": None, "sent_at": RECEIVED, "attempt": 2, "usage_kind": None}
    second["organizationid"] = ORGANIZATION
    digests = set()
    for event in (first, second):
        decoded = decode(ORGANIZATION.encode(), encode_event(event), ms(RECEIVED), DEFAULT_LIMITS)
        assert isinstance(decoded, Report)
        digests.add((decoded.identity(), decoded.content()))
    assert len(digests) == 1


def test_the_digests_are_computed_once() -> None:
    kept = made()
    assert kept.identity() is kept.identity()
    assert kept.content() is kept.content()
