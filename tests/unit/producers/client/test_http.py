"""What a server answers, whatever it is, becomes a `Delivery` or a `TransportError`: over real connections."""

import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from licmeter.producers.client.answers import Delivery, TransportError
from licmeter.producers.client.http import RETRY_AFTER_S_MAX, HttpTransport
from licmeter.producers.client.options import ClientOptions
from tests.support.usage_server import KEY, Answer, Events, UsageServer, accepted, fails, rejected

IDS = ["r-1", "r-2"]
EVENTS = [b'{"id":"%s","source":"d","data":{"counts":{"qr":1}}}' % name.encode() for name in IDS]


@pytest.fixture
def server() -> Iterator[UsageServer]:
    with UsageServer() as running:
        yield running


@pytest.fixture
async def transport(server: UsageServer) -> AsyncIterator[HttpTransport]:
    subject = HttpTransport(ClientOptions(url=server.url, license_key=KEY, request_timeout_s=2))
    yield subject
    await subject.close()


def results(*found: Any, status: int = 202) -> Callable[[Events], Answer]:
    return lambda _: Answer(status, {"results": list(found)})


async def test_accepted_reports_are_confirmed(server: UsageServer, transport: HttpTransport) -> None:
    server.default = lambda events: accepted(events, items=[{"item_id": "41", "state": "grace", "percent": "100.50"}])
    delivery = await transport.deliver(IDS, EVENTS)
    assert (delivery.confirmed, delivery.rejected, delivery.later) == (IDS, {}, {})
    assert [(item.item_id, item.state, item.percent) for item in delivery.items] == [("41", "grace", "100.50")] * 2
    assert server.units() == 2


@pytest.mark.parametrize("status", [202, 403, 422])
async def test_results_count_whatever_the_status(status: int, server: UsageServer, transport: HttpTransport) -> None:
    server.default = rejected("key_mismatch", status)
    delivery = await transport.deliver(IDS, EVENTS)
    assert delivery == Delivery(rejected=dict.fromkeys(IDS, "key_mismatch"))


@pytest.mark.parametrize("reason", ["future_slot", "clock_skew"])
async def test_what_a_wrong_clock_did_is_kept(reason: str, server: UsageServer, transport: HttpTransport) -> None:
    server.default = rejected(reason)
    assert await transport.deliver(IDS, EVENTS) == Delivery(later=dict.fromkeys(IDS, reason))


ODD: list[Any] = [
    None,
    7,
    {},
    {"id": "r-1"},
    {"id": "other", "outcome": "accepted"},
    {"outcome": "accepted"},
    {"id": "other", "outcome": "rejected", "reason": "conflict"},
    {"id": "r-1", "outcome": ["accepted"]},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_a_result_that_is_none_keeps_its_report(odd: Any, server: UsageServer, transport: HttpTransport) -> None:
    server.default = results(odd, {"id": "r-2", "outcome": "accepted"})
    delivery = await transport.deliver(IDS, EVENTS)
    assert (delivery.confirmed, list(delivery.later), delivery.rejected) == (["r-2"], ["r-1"], {})


@pytest.mark.parametrize("items", [None, 7, "x", [None], [{}], [{"item_id": ["41"], "state": "active"}]], ids=str)
async def test_items_that_are_none_do_no_harm(items: Any, server: UsageServer, transport: HttpTransport) -> None:
    server.default = lambda events: accepted(events, items=items)
    delivery = await transport.deliver(IDS, EVENTS)
    assert (delivery.confirmed, delivery.items) == (IDS, [])


FAILURES: dict[str, Callable[[Events], Answer]] = {
    "400": fails(400, {"title": "Bad"}),
    "401": fails(401),
    "403 without results": fails(403, {"detail": "the key was revoked"}),
    "413": fails(413),
    "422 without results": fails(422, {"detail": 7}),
    "429": fails(429, retry_after="7"),
    "500": fails(500, b"<html>"),
    "503": fails(503, retry_after="7"),
    "200": lambda events: Answer(200, accepted(events).body),
    "redirect": fails(307, location="/elsewhere"),
    "redirect to nowhere": fails(302, location="http://[::1"),
    "empty": fails(202),
    "html": fails(202, b"<html>"),
    "no UTF-8": fails(202, b'{"results": "\xff"}'),
    "deep": fails(202, b"[" * 100_000),
    "a list": fails(202, []),
    "no list": fails(202, {"results": {"r-1": 1}}),
    "too few": results({"id": "r-1", "outcome": "accepted"}),
    "too many": results(*({"id": name, "outcome": "accepted"} for name in [*IDS, "r-3"])),
    "not what it says": fails(202, b"no gzip", content_encoding="gzip"),
    "too long": fails(202, gzip.compress(bytes(20_000_000)), content_encoding="gzip"),
    "cut": lambda _: Answer(cut=True),
    "no HTTP": fails(202, b"", **{"\x00": "x"}),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_anything_else_is_a_failure(name: str, server: UsageServer, transport: HttpTransport) -> None:
    server.default = FAILURES[name]
    with pytest.raises(TransportError) as caught:
        await transport.deliver(IDS, EVENTS)
    assert caught.value.too_large == (name == "413")
    assert caught.value.retry_after_s == (7.0 if name in ("429", "503") else None)
    assert len(server.requests) == 1
    server.default = accepted
    assert (await transport.deliver(IDS, EVENTS)).confirmed == IDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("inf", RETRY_AFTER_S_MAX),
        ("1e999", RETRY_AFTER_S_MAX),
        ("nan", 0),
        (formatdate(1_000_060, usegmt=True), 60),
        (formatdate(900_000, usegmt=True), 0),
        ("soon", None),
        ("", None),
    ],
)
async def test_retry_after(text: str, seconds: float | None, server: UsageServer, transport: HttpTransport) -> None:
    server.default = fails(503, retry_after=text, date=formatdate(1_000_000, usegmt=True))
    with pytest.raises(TransportError) as caught:
        await transport.deliver(IDS, EVENTS)
    assert caught.value.retry_after_s == seconds


async def test_no_server_is_a_failure() -> None:
    transport = HttpTransport(ClientOptions(url="http://127.0.0.1:1", license_key=KEY))
    with pytest.raises(TransportError, match="ConnectError"):
        await transport.deliver(IDS, EVENTS)
    await transport.close()


async def test_a_server_that_never_ends_is_left(server: UsageServer) -> None:
    """Timeouts of single reads would not end it: it sends something now and then."""
    transport = HttpTransport(ClientOptions(url=server.url, license_key=KEY, request_timeout_s=0.3))
    server.default = lambda _: Answer(202, b"x" * 20, trickle_s=0.1)
    with pytest.raises(TransportError, match="TimeoutError"):
        await transport.deliver(IDS, EVENTS)
    await transport.close()


LEAVE = {"granted": True, "project_id": "p", "item_id": "41", "local_expires_at": "2031-03-11T10:02:11Z", "code": None}


async def test_leave_is_read(server: UsageServer, transport: HttpTransport) -> None:
    server.default = lambda _: Answer(200, LEAVE, keep=False)
    answer = await transport.authorize({"client_uuid": "d"})
    assert (answer.granted, answer.item_id, answer.code, str(answer.local_expires_at)) == (
        True,
        "41",
        None,
        "2031-03-11 10:02:11+00:00",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"granted": "yes"},
        {"local_expires_at": "soon"},
        {"local_expires_at": 5},
        {"local_expires_at": "2031-01-01"},
        {"code": 120},
    ],
    ids=str,
)
async def test_leave_that_does_not_follow_the_contract(
    change: dict[str, Any], server: UsageServer, transport: HttpTransport
) -> None:
    server.default = lambda _: Answer(200, LEAVE | change, keep=False)
    with pytest.raises(TransportError):
        await transport.authorize({"client_uuid": "d"})
