import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from licmeter.producers.gateway.authorizing import AuthorizationRequest, Authorizer, authorization_record
from licmeter.producers.gateway.problems import Conflict, Unavailable
from licmeter.schemas.verdicts import Verdict
from tests.support.build import RECEIVED


def verdict(outcome: str = "granted", auth_id: str = "a", **fields: Any) -> Verdict:
    base = {
        "organization_id": "300417",
        "client_uuid": "c",
        "auth_id": auth_id,
        "at": RECEIVED,
        "outcome": outcome,
        "source_partition": 0,
        "source_offset": 7,
    }
    return Verdict.model_validate(base | fields)


class Log:
    """Takes records, and answers them when it is told to."""

    def __init__(self, *answers: Verdict, timeout_s: float = 5.0) -> None:
        self.answers = list(answers)
        self.authorizer = Authorizer(self.publish, timeout_s=timeout_s)

    async def publish(self, key: bytes, values: list[bytes]) -> None:
        assert (key, values) == (b"300417", [b"record"])
        if self.answers:
            self.authorizer.note(self.answers.pop(0))

    async def ask(self, auth_id: str = "a") -> Verdict:
        return await self.authorizer.ask("300417", "c", auth_id, b"record")


async def test_the_answer_is_the_streams() -> None:
    granted = verdict(item_id="41")
    assert await Log(granted).ask() is granted


async def test_an_answer_to_somebody_else_is_none() -> None:
    log = Log(verdict(auth_id="other"), timeout_s=0.05)
    with pytest.raises(Unavailable) as silence:
        await log.ask()
    assert silence.value.code is not None
    assert silence.value.code.number == 100


async def test_a_repetition_has_the_answer_that_was_given_before() -> None:
    refused = verdict("refused", code="limit_exceeded")
    log = Log(refused, verdict("duplicate"))
    assert await log.ask() is refused
    assert await log.ask() is refused


async def test_an_answer_that_came_too_late_is_there_for_the_repetition() -> None:
    log = Log(timeout_s=0.05)
    with pytest.raises(Unavailable):
        await log.ask()
    granted = verdict()
    log.authorizer.note(granted)
    log.answers.append(verdict("duplicate"))
    assert await log.ask() is granted


@pytest.mark.parametrize("outcome", ["duplicate", "rejected"])
async def test_what_is_not_known_or_another_request_is_a_conflict(outcome: str) -> None:
    with pytest.raises(Conflict):
        await Log(verdict(outcome)).ask()


async def test_two_that_ask_the_same_at_once_have_one_answer() -> None:
    log = Log()
    first, second = asyncio.create_task(log.ask()), asyncio.create_task(log.ask())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    granted = verdict()
    log.authorizer.note(granted)
    assert await asyncio.gather(first, second) == [granted, granted]
    assert not log.authorizer._waiting


def test_the_instant_of_a_request_stays_that_of_the_first_time() -> None:
    authorizer = Log().authorizer
    request = AuthorizationRequest(client_uuid="c")
    later = RECEIVED + timedelta(seconds=5)
    assert authorizer.instant_of("300417", request, "a", RECEIVED) == RECEIVED
    assert authorizer.instant_of("300417", request, "a", later) == RECEIVED
    assert authorizer.instant_of("300417", request, "b", later) == later
    assert authorizer.instant_of("300418", request, "a", later) == later
    stated = AuthorizationRequest.model_validate_json(json.dumps({"client_uuid": "c", "at": RECEIVED.isoformat()}))
    assert authorizer.instant_of("300417", stated, "a", later) == RECEIVED


def test_a_record_holds_what_was_asked_and_no_answer() -> None:
    request = AuthorizationRequest.model_validate_json(
        '{"client_uuid":"c","feature":"qr","charge_way":"per_scan","validation":{"kind":"domain","value":"x"}}'
    )
    record = json.loads(
        authorization_record(request, project_id="300417-kiosk", auth_id="a", at=RECEIVED, password_ok=False)
    )
    assert record["data"] == {
        "feature": "qr",
        "charge_way": "per_scan",
        "validation": {"kind": "domain", "value": "x"},
        "password_ok": False,
    }
    assert (record["id"], record["source"], record["subject"]) == ("a", "c", "300417-kiosk")
