"""Dead letters: notices that were given up, kept in `license.undelivered` until they are replayed.

The topic is compacted: a letter's key is the notice's, so giving up the same notice again replaces it, and a tombstone
takes it out when it was delivered after all.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import stamina
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ConfigDict

from licmeter.schemas.topics import LETTER_BYTES_MAX, LICENSE_UNDELIVERED
from licmeter.sinks.notify.notices import Notice

__all__ = ["Letter", "LetterBox", "letter_key", "parse_letter"]

_WRITE_WAIT_S_MAX: Final = 10.0


class Letter(BaseModel):
    """A notice that was given up, and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    notice: Notice
    reason: str
    detail: str
    attempts: int
    first_tried_at: datetime
    given_up_at: datetime

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return letter_key(self.notice)


def letter_key(notice: Notice) -> bytes:
    """Return organization, target and notice; a notice for some of its recipients has a letter of its own."""
    some = "" if notice.left is None else "-" + blake2b("\0".join(notice.left).encode(), digest_size=4).hexdigest()
    return f"{notice.organization_id}/{notice.target}/{notice.key}{some}".encode()


def parse_letter(value: bytes) -> Letter:
    """Read a record's value; raises `ValueError`."""
    return Letter.model_validate_json(value)


class LetterBox:
    """Writes dead letters and takes them out."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer: Any = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, acks="all", max_request_size=LETTER_BYTES_MAX
        )

    async def start(self) -> None:
        """Connect; raises `aiokafka.errors.KafkaError`."""
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise

    async def put(self, letter: Letter) -> None:
        """Return when the brokers have it; tries for ever, since without it the notice would be lost."""
        value = letter.model_dump_json().encode()
        async for attempt in stamina.retry_context(
            on=KafkaError, attempts=None, timeout=None, wait_initial=0.2, wait_max=_WRITE_WAIT_S_MAX
        ):
            with attempt:
                await self._producer.send_and_wait(LICENSE_UNDELIVERED.name, value=value, key=letter.key)

    async def remove(self, key: bytes) -> None:
        """Return when the brokers know that a letter is settled; raises `aiokafka.errors.KafkaError`."""
        await self._producer.send_and_wait(LICENSE_UNDELIVERED.name, value=None, key=key)

    async def stop(self) -> None:
        """Close the connection."""
        await self._producer.stop()
