"""Items that are used on one web domain (domain, 6.6)."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from licmeter.metering.catalog_checks import catalog_mistakes
from licmeter.metering.domains import domain_key
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import ItemState, Outcome
from tests.support.build import RECEIVED, SLOT, item, organization
from tests.unit.metering.bench import DAY, MINUTE, Bench


def field(host: str) -> dict[str, str]:
    return {"kind": "domain", "value": host}


def domain_item(*hosts: str, **changes: Any) -> dict[str, Any]:
    fields = [field(host) for host in hosts]
    return item(charge_way="per_domain", validation_fields=fields, **({"quota": 1} | changes))


def visit(bench: Bench, host: str | None, client: str = "A", at: datetime = RECEIVED, count: int = 1) -> Outcome:
    """Count a report of an application on a host."""
    return bench.use(client, SLOT, at, validation=None if host is None else field(host), counts={"qr": count}).outcome


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("a.shop.example.org:8443", "example.org"),
        ("EXAMPLE.org.", "example.org"),
        ("example.org", "example.org"),
        ("www.example.co.uk", "example.co.uk"),
        ("other.co.uk", "other.co.uk"),
        ("one.github.io", "one.github.io"),
        ("deep.one.github.io:443", "one.github.io"),
        ("two.github.io", "two.github.io"),
        ("shop.bücher.example", "xn--bcher-kva.example"),
        ("SHOP.XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("localhost:3000", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:8080", "192.0.2.7"),
        ("[2001:DB8::1]:8080", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_o2_domain_key(host: str, key: str) -> None:
    assert domain_key(host) == key


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("one.apps.example.net", "one.apps.example.net"),
        ("deep.one.apps.example.net", "one.apps.example.net"),
        ("apps.example.net", "example.net"),
        ("www.example.net", "example.net"),
        ("one.notapps.example.net", "example.net"),
    ],
)
def test_o1_o2_a_configured_platform_suffix(host: str, key: str) -> None:
    assert domain_key(host, ("apps.example.net",)) == key


def test_o1_use_on_the_domain_and_its_sub_domains_is_unlimited() -> None:
    bench = Bench(organization(domain_item("example.org")))
    for number, host in enumerate(("example.org", "a.example.org", "B.A.EXAMPLE.ORG:8443") * 3):
        assert visit(bench, host, f"device-{number}", count=1_000_000) is Outcome.CHARGED
    counters = bench.counters()
    assert (counters.used, counters.attributed, counters.state) == (0, 9_000_000, ItemState.ACTIVE)
    assert bench.breaches == []


def test_o1_on_a_hosting_platform_the_sub_domain_is_the_domain() -> None:
    bench = Bench(organization(domain_item("one.github.io")))
    assert visit(bench, "one.github.io") is Outcome.CHARGED
    assert visit(bench, "two.github.io") is Outcome.UNCHARGED
    assert visit(bench, "github.io") is Outcome.UNCHARGED


def test_o1_a_platform_of_the_organization() -> None:
    bench = Bench(organization(domain_item("one.apps.example.net"), platform_suffixes=["apps.example.net"]))
    assert visit(bench, "x.one.apps.example.net") is Outcome.CHARGED
    assert visit(bench, "two.apps.example.net") is Outcome.UNCHARGED


def test_o3_the_quota_is_the_number_of_distinct_keys() -> None:
    two = domain_item("a.example.org", "b.example.org", "example.net", quota=2)
    assert catalog_mistakes(organization(two)) == []
    bench = Bench(organization(two))
    assert [visit(bench, host).value for host in ("x.example.org", "x.example.net", "example.com")] == [
        "charged",
        "charged",
        "uncharged",
    ]
    (mistake,) = catalog_mistakes(organization(two | {"quota": None}))
    assert mistake.endswith("2 different domains (example.net, example.org), the quota is 1")


def test_o3_an_item_without_a_domain_is_refused() -> None:
    with pytest.raises(ValidationError, match="names its domain"):
        organization(domain_item())


@pytest.mark.parametrize(
    ("host", "code"), [("shop.example.org", None), ("example.com", 114), (None, 114), ("example.org.evil.com", 114)]
)
def test_o3_code_114_outside_the_host_of_the_item(host: str | None, code: int | None) -> None:
    given = {} if host is None else {"validation": field(host)}
    answer = Bench(organization(domain_item("example.org"))).authorize(**given)
    assert (None if answer.code is None else answer.code.number) == code


@pytest.mark.parametrize(("host", "code"), [("shop.example.org", None), ("example.com", 103), (None, 103)])
def test_o3_code_103_outside_the_host_of_the_project(host: str | None, code: int | None) -> None:
    document = organization(item(), project={"validation_fields": [field("example.org")]})
    given = {} if host is None else {"validation": field(host)}
    answer = Bench(document).authorize(**given)
    assert (None if answer.code is None else answer.code.number) == code


@pytest.mark.parametrize("host", ["192.0.2.7", "localhost", "2001:db8::1"])
def test_o3_addresses_match_only_when_they_are_listed(host: str) -> None:
    assert visit(Bench(organization(domain_item("example.org"))), host) is Outcome.UNCHARGED
    listed = Bench(organization(domain_item("example.org", host, quota=2)))
    assert visit(listed, host) is Outcome.CHARGED
    assert visit(listed, "192.0.2.8") is Outcome.UNCHARGED


def test_o3_g13_a_report_without_a_host_does_not_match() -> None:
    bench = Bench(organization(domain_item("example.org")))
    assert visit(bench, None) is Outcome.UNCHARGED
    assert bench.kinds() == ["unlicensed_use"]


def test_o4_no_percent_no_grace_no_alert() -> None:
    bench = Bench(organization(domain_item("example.org")))
    for number in range(5):
        visit(bench, "example.org", str(number))
    counters = bench.counters()
    assert (counters.percent, counters.in_grace, counters.over, counters.state) == (None, 0, 0, ItemState.ACTIVE)
    assert bench.check(SLOT + 10 * MINUTE) is None


def test_o4_8_2_domain_refused_once_for_item_domain_key_and_day() -> None:
    bench = Bench(organization(domain_item("example.org")))
    for host in ("a.example.com", "B.example.com:80", "example.net"):
        visit(bench, host)
    visit(bench, "example.com", "another device")
    visit(bench, "example.com", at=SLOT + DAY)
    bench.authorize(validation=field("www.example.com"))  # the report has said so already
    said = [(fact.item_id, fact.detail) for fact in bench.breaches if fact.kind == "domain_refused"]
    assert said == [("41", "example.com"), ("41", "example.net"), ("41", "example.com")]


def test_o4_8_2_domain_refused_for_an_authorization() -> None:
    bench = Bench(organization(domain_item("example.org")))
    bench.authorize(validation=field("www.example.com"))
    visit(bench, "example.com")
    assert bench.kinds() == ["domain_refused", "unlicensed_use"]


def test_o4_g11_nobody_was_refused_when_another_item_took_the_use() -> None:
    bench = Bench(organization(domain_item("example.org"), item("scans")))
    assert visit(bench, "example.com") is Outcome.CHARGED
    assert bench.authorize(validation=field("example.com")).item_id == "scans"
    assert bench.breaches == []


def test_o3_instances_of_one_domain_are_one() -> None:
    document: Organization = organization(domain_item("example.org"))
    answer = Bench(document).authorize(validation=field("example.org"), requested_instances=2)
    assert answer.code is not None
    assert answer.code.number == 130
