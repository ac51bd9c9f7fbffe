"""The real process: killed between deliveries, its dead letters replayed, its log free of secrets."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom
from time import sleep

import pytest

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.outcomes import BreachKind
from tests.integration.notify_stage import (
    SECRET,
    Mailbox,
    NotifierProcess,
    Receiver,
    breach,
    hook,
    mail,
    prepared,
    publish,
    says,
    smtp_server,
    until,
)

pytestmark = pytest.mark.integration
KILLS = 6


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """What a test starts ends with it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def bootstrap(kafka: EmbeddedKafka) -> str:
    return prepared(kafka)


def test_w12_killed_at_any_moment_every_alert_arrives_and_repeats_have_their_id(
    bootstrap: str, tmp_path: Path, processes: ExitStack
) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    random, count = Random(seed), 600
    mailbox = Mailbox()

    def slow(request: object) -> None:
        sleep(0.002)

    with smtp_server(mailbox) as port, Receiver() as receiver:
        receiver.judge = slow  # so that kills hit deliveries under way
        targets = hook(receiver, "p1"), mail(port, "p1", to="ops@example.org", digest_s=1)
        process = processes.enter_context(NotifierProcess(tmp_path, bootstrap, *targets))
        process.start()
        for number in range(KILLS):
            publish(bootstrap, [breach(each, "p1") for each in range(number * 100, number * 100 + 100)])
            have = len(receiver.ids)
            until(lambda have=have: len(receiver.ids) > have + random.randrange(80), "some deliveries")
            process.kill()
            process.start()
        until(lambda: len(receiver.ids) == count, f"all {count}", seconds=120)
        by_id = {request.id: request.verified()["id"] for request in receiver.requests}
        assert len(set(by_id.values())) == count
        repeats = sum(receiver.ids.values()) - count
        print(f"{repeats} repeats after {KILLS} kills")
        # Half a second of deliveries, at the most, for each kill.
        assert repeats < KILLS * 250
        told: dict[str, int] = {}

        def told_of() -> int:
            for got in list(mailbox.mails):
                words = got.part("plain")
                told[got.message["Message-ID"]] = int(words.split("Number: ")[1].split()[0].replace(",", ""))
            return sum(told.values())

        until(lambda: told_of() >= count, "all are told of by mail", seconds=60)
        process.stop()


def test_two_processes_share_a_target_and_lose_nothing_when_one_comes_or_goes(
    bootstrap: str, tmp_path: Path, processes: ExitStack
) -> None:
    organizations = [f"p4-{number}" for number in range(8)]  # over all partitions
    with Receiver() as receiver:
        target = hook(receiver, "p4", organizations=organizations)
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        first, second = (
            processes.enter_context(
                NotifierProcess(tmp_path / name, bootstrap, target, LICMETER_NOTIFY__INSTANCE_ID=name)
            )
            for name in ("one", "two")
        )
        sent = 0

        def send() -> None:
            nonlocal sent
            publish(bootstrap, [breach(sent + number, organizations[number % 8]) for number in range(200)])
            sent += 200

        def all_arrive() -> None:
            until(lambda: len(receiver.ids) == sent, f"all {sent}", seconds=90)

        first.start()
        send()
        all_arrive()
        second.start()
        send()
        all_arrive()
        until(lambda: "notify_assigned" in second.log.read_text(), "the second has partitions")
        send()
        all_arrive()
        first.kill()
        send()
        all_arrive()
        repeats = sum(receiver.ids.values()) - sent
        print(f"{repeats} repeats")
        assert repeats < 200
        second.stop()


def test_dead_letters_are_listed_and_replayed_once_each(bootstrap: str, tmp_path: Path, processes: ExitStack) -> None:
    with Receiver(then=says(503)) as receiver:
        target = hook(receiver, "p2", attempts_max=2, circuit_failures_max=1000)
        process = processes.enter_context(NotifierProcess(tmp_path, bootstrap, target))
        process.start()
        publish(bootstrap, [breach(number, "p2") for number in range(20)])
        query = ("--organization", "p2", "--target", "hook-p2")

        def letters() -> list[dict[str, object]]:
            return list(process.command("undelivered", "list", *query)["undelivered"])

        until(lambda: len(letters()) == 20, "20 letters")
        # The log goes on: what was given up holds up nothing.
        until(lambda: process.command("status", "--target", "hook-p2", code=1)["targets"][0]["lag"] == 0, "no lag")
        assert set(receiver.ids.values()) == {2}
        found = letters()
        assert {letter["reason"] for letter in found} == {"attempts_used_up"}
        assert {letter["detail"] for letter in found} == {"the receiver answered 503"}
        keys = set(receiver.ids)
        receiver.requests.clear()
        # A receiver that still fails: tried a few times, and nothing is lost.
        failed = process.command("undelivered", "replay", *query, code=1)
        assert len(failed["failed"]) == 20
        assert len(receiver.requests) == 5
        receiver.requests.clear()
        receiver.then = says(204)
        assert len(process.command("undelivered", "replay", "--dry-run", *query)["would_send"]) == 20
        assert receiver.requests == []
        done = process.command("undelivered", "replay", *query)
        assert set(done["delivered"]) == keys
        assert receiver.ids == dict.fromkeys(keys, 1)
        assert all(request.verified()["data"]["organization_id"] == "p2" for request in receiver.requests)
        assert letters() == []
        assert process.command("undelivered", "replay", *query) == {"delivered": [], "failed": []}
        process.stop()


def test_no_secret_is_in_the_log_at_any_level(bootstrap: str, tmp_path: Path, processes: ExitStack) -> None:
    secrets = ["very-secret-path", SECRET, SECRET.removeprefix("whsec_"), "PassWordOfMail", "TokenOfChat", "WordOfChat"]
    mailbox = Mailbox()
    with smtp_server(mailbox) as port, Receiver(then=says(500, b"very-secret-path")) as receiver:
        chat = {
            "name": "chat-p3",
            "kind": "apprise",
            "url": f"json://user:WordOfChat@127.0.0.1:{receiver.port}/TokenOfChat?+X-Key=TokenOfChat",
            "organizations": ["p3"],
            "digest_s": 0,
            "attempts_max": 2,
        }
        # The server offers no login, so this one always fails.
        smtp = {"host": "127.0.0.1", "port": port, "security": "none", "username": "u", "password": "PassWordOfMail"}
        post = mail(port, "p3", to="ops@example.org", digest_s=0, attempts_max=2, smtp=smtp)
        nowhere = hook(receiver, "p3", name="nowhere", url="http://127.0.0.1:9/very-secret-path", attempts_max=2)
        targets = hook(receiver, "p3", attempts_max=2), nowhere, post, chat
        process = processes.enter_context(NotifierProcess(tmp_path, bootstrap, *targets, LICMETER_LOG_LEVEL="DEBUG"))
        process.start()
        publish(bootstrap, [breach(1, "p3", BreachKind.QUOTA_REACHED)])

        def shown() -> str:
            return str(process.command("undelivered", "list", "--organization", "p3"))

        until(
            lambda: len(process.command("undelivered", "list", "--organization", "p3")["undelivered"]) == 4, "letters"
        )
        process.stop()
        log, letters = process.log.read_text(), shown()
        checked = str(process.command("--check"))
        assert log.count("notify_undelivered") == 4
        for secret in secrets:
            for text in (log, letters, checked):
                assert secret not in text, secret
