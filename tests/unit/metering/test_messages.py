"""What breach events say, field by field (domain, 8.2)."""

from hashlib import blake2b
from typing import Any

from licmeter.metering.breaches import BreachFact, NoticeBook, breach_message
from licmeter.schemas.outcomes import BreachKind
from tests.support.build import ORGANIZATION, PROJECT, SLOT, item, organization
from tests.unit.metering.bench import DAY, MINUTE, Bench

DEVICES = {"charge_way": "per_device", "activity_period": "monthly"}
CONCURRENT = {"charge_way": "per_concurrent_device"}


def messages(bench: Bench) -> list[dict[str, Any]]:
    """Return what is said of each breach, without its hash."""
    found = [breach_message(fact).model_dump(mode="json", exclude_none=True) for fact in bench.breaches]
    return [{key: value for key, value in message.items() if key != "breach_id"} for message in found]


def test_8_2_device_refused_says_all() -> None:
    bench = Bench(organization(item(quota=5, **DEVICES)))
    for number in range(7):
        bench.use(f"device-{number}", received=SLOT + 9 * MINUTE)
    assert [message for message in messages(bench) if message["kind"] == "device_refused"] == [
        {
            "kind": "device_refused",
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
            "item_id": "41",
            "client_uuid": "device-6",
            "slot": "2031-03-08T10:09:00Z",
            "quota": 5,
            "limit": 6,
            "value": 6,
            "percent": "120.00",
            "late": True,
            "at": "2031-03-08T10:09:00Z",
        }
    ]


def test_8_2_a_gauge_crosses_at_its_contact_and_says_so() -> None:
    bench = Bench(organization(item(quota=1, **DEVICES)))
    bench.use("A", received=SLOT + 9 * MINUTE)
    said = {"value": 1, "quota": 1, "percent": "100.00", "limit": 1, "slot": "2031-03-08T10:09:00Z", "late": True}
    assert [{key: message[key] for key in said} for message in messages(bench)] == [said, said]


def test_8_2_domain_refused_says_all() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    bench = Bench(organization(item(quota=1, charge_way="per_domain", validation_fields=fields)))
    bench.send(SLOT + 9 * MINUTE, validation={"kind": "domain", "value": "www.b.org"})
    assert messages(bench)[0] == {
        "kind": "domain_refused",
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "item_id": "41",
        "slot": "2031-03-08T10:09:00Z",
        "late": True,
        "at": "2031-03-08T10:09:00Z",
        "detail": "b.org",
    }


def test_8_2_unlicensed_use_says_all() -> None:
    bench = Bench(organization(project={"item_ids": []}))
    bench.send(SLOT + 9 * MINUTE)
    assert messages(bench) == [
        {
            "kind": "unlicensed_use",
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
            "client_uuid": "device-1",
            "slot": "2031-03-08T10:00:00Z",
            "late": True,
            "at": "2031-03-08T10:09:00Z",
        }
    ]


def test_8_2_clock_skew_and_unknown_project_say_all() -> None:
    bench = Bench(organization(item()))
    bench.try_to_send(SLOT + 9 * MINUTE, sent_at=SLOT + 2 * DAY)
    bench.send(SLOT + 9 * MINUTE, project_id=f"{ORGANIZATION}-x")
    common = {"organization_id": ORGANIZATION, "slot": "2031-03-08T10:09:00Z", "late": True}
    common["at"] = "2031-03-08T10:09:00Z"
    assert messages(bench) == [
        {"kind": "clock_skew", "client_uuid": "device-1", "detail": "clock_skew"} | common,
        {"kind": "unknown_project", "project_id": f"{ORGANIZATION}-x"} | common,
    ]


def test_8_2_concurrency_says_all() -> None:
    bench = Bench(organization(item(quota=1, overuse_budget=2, **CONCURRENT)))
    for client in "ABC":
        bench.use(client, received=SLOT + 9 * MINUTE)
    common = {
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "item_id": "41",
        "slot": "2031-03-08T10:00:00Z",
        "quota": 1,
        "value": 2,
        "late": True,
        "at": "2031-03-08T10:09:00Z",
    }
    assert messages(bench) == [
        {"kind": "concurrency_exceeded", "limit": 1, "percent": "200.00"} | common,
        {"kind": "overuse_exhausted", "limit": 2, "percent": "100.00"} | common,
    ]
    assert (bench.slot().exceptions, bench.slot().total) == (2, 3)


def test_8_2_o4_only_a_domain_item_refuses_a_host() -> None:
    fields = [{"kind": "domain", "value": "a.org"}]
    bench = Bench(organization(item(validation_fields=fields)))
    assert bench.send(validation={"kind": "domain", "value": "b.org"}).outcome == "uncharged"
    assert bench.kinds() == ["unlicensed_use"]


def test_8_2_a8_the_id_is_the_same_in_every_version() -> None:
    fact = BreachFact("1", BreachKind.DEVICE_REFUSED, ("41", "é", 7), 0, 0)
    stated = '["1","device_refused","41","é",7]'.encode()
    assert fact.breach_id == blake2b(stated, digest_size=16).hexdigest()


def test_g12_notices_of_three_days_are_remembered() -> None:
    book = NoticeBook()
    assert [book.note(day, "x") for day in (10, 8, 7, 10, 8)] == [True, True, False, False, False]
    assert book.changed == [(10, "x"), (8, "x")]
    assert book.note(11, "x")
    assert set(book.days) == {10, 11}
    book.load(10, "y")
    assert not book.note(10, "y")
    assert (book.changed[2:], book.withheld) == ([(11, "x")], 0)
