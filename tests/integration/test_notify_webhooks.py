"""Signed webhooks over a real Kafka, to receivers that fail, hang and lie."""

from time import monotonic

import pytest

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.alerts import RecipientLists
from tests.integration.notify_stage import (
    Endless,
    Notifier,
    Receiver,
    breach,
    breaks_off,
    drops,
    hangs,
    hook,
    prepared,
    publish,
    says,
    trickles,
    until,
    usage_alert,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bootstrap(kafka: EmbeddedKafka) -> str:
    return prepared(kafka)


def test_w12_a_receiver_gets_every_event_of_its_organization_signed(bootstrap: str) -> None:
    recipients = RecipientLists(to=("boss@example.org",), bcc=("spy@example.org",))
    with Receiver() as receiver, Notifier(bootstrap, hook(receiver, "w1")):
        own = [breach(number, "w1") for number in range(30)]
        publish(bootstrap, [*own, breach(0, "w1-other"), b"no event", usage_alert(1, "w1", recipients)])
        until(lambda: len(receiver.requests) >= 31, "31 requests")
        documents = [request.verified() for request in receiver.requests]
        assert {document["id"] for document in documents} == {each.breach_id for each in own} | {"w1-alert-1"}
        assert {document["type"] for document in documents} == {"license.breach.v1", "license.usage.alert.v1"}
        assert set(receiver.ids.values()) == {1}
        assert all(b"example.org" not in request.body for request in receiver.requests)


def test_w12_what_fails_is_repeated_with_its_id_until_it_is_taken(bootstrap: str) -> None:
    elsewhere = Receiver()
    endless = Endless()
    script = [says(500), drops, says(302, location="http://127.0.0.1:9/elsewhere"), breaks_off, says(404), hangs]
    with elsewhere, Receiver(*script, trickles, endless) as receiver, Notifier(bootstrap, hook(receiver, "w2")):
        publish(bootstrap, [breach(1, "w2")])
        until(lambda: endless.sent, "the last behavior")
        publish(bootstrap, [breach(2, "w2")])
        until(lambda: len(receiver.ids) == 2, "the next event")
        first, second = receiver.ids
        assert receiver.ids == {first: 8, second: 1}
        assert len({request.verified()["id"] for request in receiver.requests}) == 2
        # The endless answer was 2xx, so it was taken, and the rest was not read.
        assert endless.sent < 16 * 1024 * 1024
        assert elsewhere.requests == []


def test_retry_after_is_honored(bootstrap: str) -> None:
    with Receiver(says(429, retry_after="3")) as receiver, Notifier(bootstrap, hook(receiver, "w3")):
        publish(bootstrap, [breach(1, "w3")])
        until(lambda: receiver.requests, "the first request")
        began = monotonic()
        until(lambda: len(receiver.requests) == 2, "the second request")
        assert monotonic() - began > 2.5


def test_an_error_page_with_200_is_believed(bootstrap: str) -> None:
    with Receiver(says(200, b"<html>Oops, an error</html>")) as receiver:
        with Notifier(bootstrap, hook(receiver, "w4")):
            publish(bootstrap, [breach(1, "w4"), breach(2, "w4")])
            until(lambda: len(receiver.ids) == 2, "both")
        assert set(receiver.ids.values()) == {1}


def test_410_ends_a_target_and_its_alerts_wait_for_a_restart(bootstrap: str) -> None:
    with Receiver(says(410)) as receiver:
        with Notifier(bootstrap, hook(receiver, "w5", concurrency=1)):
            publish(bootstrap, [breach(1, "w5")])
            until(lambda: receiver.requests, "the first request")
            publish(bootstrap, [breach(2, "w5")])
        assert len(receiver.requests) == 1
        with Notifier(bootstrap, hook(receiver, "w5")):
            until(lambda: len(receiver.ids) == 2, "both")
        assert sorted(receiver.ids.values()) == [1, 2]


def test_a_target_that_hangs_holds_up_nobody_else(bootstrap: str) -> None:
    with Receiver(then=hangs) as bad, Receiver() as good:
        slow = hook(bad, "w6", name="hook-slow", timeout_s=20)
        with Notifier(bootstrap, slow, hook(good, "w6")):
            publish(bootstrap, [breach(0, "w6")])
            until(lambda: bad.requests and good.requests, "both are asked")
            began = monotonic()
            publish(bootstrap, [breach(number, "w6") for number in range(1, 201)])
            until(lambda: len(good.ids) == 201, "all for the good one")
            assert monotonic() - began < 15


def test_a_restart_repeats_nothing_that_was_committed(bootstrap: str) -> None:
    with Receiver() as receiver:
        with Notifier(bootstrap, hook(receiver, "w7")):
            publish(bootstrap, [breach(number, "w7") for number in range(50)])
            until(lambda: len(receiver.ids) == 50, "all")
        with Notifier(bootstrap, hook(receiver, "w7")):
            publish(bootstrap, [breach(99, "w7")])
            until(lambda: len(receiver.ids) == 51, "the next one")
        assert set(receiver.ids.values()) == {1}


def test_what_was_delivered_beyond_a_stuck_event_is_not_repeated_after_a_restart(bootstrap: str) -> None:
    """The commit stays at the stuck one; its metadata say what is delivered beyond."""
    refuses = says(500)
    with Receiver() as receiver:
        receiver.judge = lambda request: refuses if b"w8-unlicensed_use-0" in request.body else None
        patient = hook(receiver, "w8", circuit_failures_max=100)
        publish(bootstrap, [breach(number, "w8") for number in range(5)])
        with Notifier(bootstrap, patient):
            until(lambda: len(receiver.ids) == 5, "all were tried")
        stuck = next(request.id for request in receiver.requests if b"w8-unlicensed_use-0" in request.body)
        tried = receiver.ids[stuck]
        receiver.judge = lambda request: None
        with Notifier(bootstrap, patient):
            until(lambda: receiver.ids[stuck] > tried, "the stuck one again")
        assert [count for key, count in receiver.ids.items() if key != stuck] == [1, 1, 1, 1]
